//! `stack render`: the gateway's configuration alone, or all configurations of a deployment (for containers).

use std::path::PathBuf;

use clap::Args;
use stack::launch;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Write every part's configuration, with the runtime's disk layer, under DIR/run; without it Envoy's is printed
    #[arg(long, value_name = "DIR")]
    all: Option<PathBuf>,
    /// Without Perch's filter: a plain proxy on the same routes
    #[arg(long)]
    plain: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut builder = super::deployment()?;
    if options.plain {
        builder = builder.no_filter();
    }
    let Some(dir) = &options.all else {
        say!("{}", builder.prepare()?.gateway_config()?.trim_end());
        return Ok(());
    };
    let stack = builder.dir(dir).prepare()?;
    for part in stack.parts() {
        if let Some(path) = launch::configure(&stack, part)? {
            say!("{}", path.display());
        }
    }
    Ok(())
}
