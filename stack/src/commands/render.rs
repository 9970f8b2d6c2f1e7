//! `stack render`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where to write it; `-` prints it
    #[arg(long, default_value = "-")]
    out: PathBuf,
    /// Without Perch's filters: a plain proxy on the same routes
    #[arg(long)]
    plain: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut builder = super::deployment()?;
    if options.plain {
        builder = builder.no_filter();
    }
    let text = builder.prepare()?.gateway_config()?;
    if options.out.as_os_str() == "-" {
        print!("{text}");
        return Ok(());
    }
    stack::parts::write(&options.out, &text).with_context(|| format!("writing {}", options.out.display()))
}
