//! `perch rollback`: sets the share to 0% on every gateway (in force within two seconds), until an operator resumes.

use anyhow::Context;
use guard_runtime::clock::now_ms;
use serde_json::json;

use super::operator::ShareOptions;

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Options {
    #[command(flatten)]
    change: ShareOptions,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
This works without a running guard. A guard that is running or started later stays at 0% until `perch ramp resume` or
`perch ramp start`. A rollout that is resumed starts again from 0%: the guard measures agreement again, then follows the
plan.

Examples:
  perch rollback --reason 'fuel is labelled as groceries'
  perch rollback --gateway http://10.0.0.4:9901 --gateway http://10.0.0.5:9901

Exit codes:
  0  every gateway holds 0%
  1  a gateway was not reached (the others hold 0%), or the audit log could not be written; the message names it
  2  wrong usage";

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let change = &options.change;
    let urls = change.urls()?;
    change.manual_override()?.roll_back(now_ms(), &change.attribution.reason).await.context("rolling back to 0%")?;
    if options.json {
        println!("{}", json!({"to": 0.0, "gateways": urls, "warnings": change.warnings()}));
        return Ok(());
    }
    println!("0% on every gateway; the guard stays at 0% until `perch ramp resume`");
    for warning in change.warnings() {
        println!("  {warning}");
    }
    Ok(())
}
