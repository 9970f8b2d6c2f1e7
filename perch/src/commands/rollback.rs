//! `perch rollback`: everybody gets the rules' answers, from the next request on, and the guard keeps it so.

use anyhow::Context;
use guard_runtime::clock::now_ms;
use serde_json::json;

use super::operator::Moving;

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Options {
    #[command(flatten)]
    moving: Moving,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Needs no running guard. One that runs, or is started later, stays at 0% until `perch ramp resume` or `perch ramp start`.

Examples:
  perch rollback --reason 'fuel is labelled as groceries'
  perch rollback --gateway http://10.0.0.4:9901 --gateway http://10.0.0.5:9901

Exit codes:
  0  every gateway holds 0%
  1  one was not reached (the others hold 0%), or it could not be written down; the message says which";

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let moving = &options.moving;
    let urls = moving.urls()?;
    moving.hand()?.roll_back(now_ms(), &moving.voice.reason).await.context("rolling back")?;
    if options.json {
        println!("{}", json!({"to": 0.0, "gateways": urls, "warnings": moving.warnings()}));
        return Ok(());
    }
    println!("0% on every gateway; the guard keeps it so until `perch ramp resume`");
    for warning in moving.warnings() {
        println!("  {warning}");
    }
    Ok(())
}
