//! `stack up`: starts every part that does not run. Parts that run already are left running, also when another fails.

use std::path::Path;

use clap::Args;
use contract::ports::Part;
use contract::share;
use stack::error::name;
use stack::{Stack, validate};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Do not start Prometheus and Alertmanager
    #[arg(long)]
    no_monitoring: bool,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let mut stack = super::deployment()?.monitoring(!options.no_monitoring).prepare()?;
    let missing = stack.missing();
    for part in stack.parts() {
        let runs = stack.left_running(part).map(|process| format!("  runs already (pid {})", process.pid()));
        say!("  {:<14} {}{}", name(part), stack.url(part), runs.unwrap_or_default());
    }
    stack.check_ports(&missing)?;
    // A start value that is set takes precedence over the share that an earlier run left on disk; without one that
    // share stays.
    if std::env::var(share::START_VARIABLE).is_ok_and(|value| !value.is_empty()) {
        if missing.contains(&Part::Gateway) {
            stack.clear_persisted_share()?;
        } else {
            let variable = share::START_VARIABLE;
            say!("  the gateway runs already, so {variable} has no effect: set the share with `make canary-10`");
        }
    }
    validate::configurations(&stack)?;
    stack.start_missing().await?;
    show(&stack)?;
    match stack.share().await? {
        Some(share) => say!("  share        {share}; `make canary-10` changes it, `make down` stops everything"),
        None => {
            say!("  share        Envoy holds a value that is not a share, and treats it as off: run `make canary-0`")
        }
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
    say!("  token        {}  (needed to train, deploy or roll back a model)", token.display());
    if stack.parts().contains(&Part::Console) {
        say!("  console      {}  (sign in with the same token to make changes)", stack.url(Part::Console));
        let perch = command(&stack.program("perch"));
        say!("  rollout      {perch} ramp start; {perch} ramp status");
    }
    Ok(())
}

/// How a program is called from here: by its name where the search path leads to it, else by its path.
fn command(program: &Path) -> String {
    let real = |path: &Path| path.canonicalize().ok();
    let name = program.file_name().unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|found| found.is_file());
    if first.is_some_and(|found| real(&found) == real(program)) {
        return name.display().to_string();
    }
    let here = std::env::current_dir().ok().and_then(|here| program.strip_prefix(here).ok().map(Path::to_path_buf));
    here.as_deref().unwrap_or(program).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_on_no_path_is_called_by_its_own() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(command(&here.join("target/release/perch")), "target/release/perch");
        assert_eq!(command(Path::new("/nowhere/perch")), "/nowhere/perch");
    }
}
