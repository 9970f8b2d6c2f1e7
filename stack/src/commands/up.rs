//! `stack up`: everything starts, or nothing stays.

use clap::Args;
use contract::ports::Part;
use contract::switch;
use stack::error::name;
use stack::{Stack, validate};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Without Prometheus and Alertmanager
    #[arg(long)]
    no_monitoring: bool,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let mut stack = super::deployment()?.monitoring(!options.no_monitoring).prepare()?;
    stack.refuse_second()?;
    for part in stack.parts() {
        say!("  {:<14} {}", name(part), stack.url(part));
    }
    stack.check_ports()?;
    // A start value that is asked for goes before what an earlier run left on disk; without one the share survives.
    if std::env::var(switch::START_VARIABLE).is_ok_and(|value| !value.is_empty()) {
        stack.clear_runtime()?;
    }
    validate::configurations(&stack)?;
    stack.start().await?;
    show(&stack)?;
    match stack.share().await? {
        Some(share) => say!("  the share    {share} now; `make canary-10` moves it, `make down` stops everything"),
        None => say!("  the share    is none that Envoy can honour, which it treats as off: `make canary-0`"),
    }
    stack.leave_running();
    Ok(())
}

fn show(stack: &Stack) -> anyhow::Result<()> {
    let gateway = stack.gateway_url();
    say!("up; logs in {}", stack.run().display());
    say!("  suggestions  curl -X POST {gateway}/ml/suggestions -H 'content-type: application/json' \\");
    say!("                    -H 'x-user-id: 42' -d '{{\"txn_ids\": [88], \"mode\": \"auto\"}}'");
    say!("  metrics      curl -s {gateway}/metrics");
    if stack.parts().contains(&Part::Prometheus) {
        say!("  Prometheus   {}", stack.url(Part::Prometheus));
    }
    let token = stack.console_token()?;
    say!("  the token    {}  (what trains, deploys or rolls back a model asks for it)", token.display());
    if stack.parts().contains(&Part::Console) {
        say!("  console      {}  (to act there: the same token)", stack.url(Part::Console));
        say!("  a ramp       perch ramp start; perch ramp status");
    }
    Ok(())
}
