//! `perch analyse`: compares baseline and candidate on live traffic.

use std::path::PathBuf;

use anyhow::Context;
use contract::analysis;
use contract::names::Cohort;
use contract::share::{RUNTIME_KEY, Share};
use guard::plan::Plan;
use guard::plan::duration::TimeSpan;
use guard_runtime::clock::now_ms;
use guard_runtime::status::GuardStatus;
use report::analysis::csv::{self, Table};
use report::analysis::report::Report;
use report::analysis::{html, text};

use super::args::share;
use super::gateways::Gateways;
use super::operator::Folder;
use super::scorer::ScorerUrl;
use super::terminal;

const EXAMPLES: &str = "\
Examples:
  perch analyse                                  everything that the scorer keeps (30 days)
  perch analyse --since 2h --leave-out beta      the last two hours, without the beta cohort
  perch analyse --html report.html               a self-contained page with charts
  perch analyse --csv pairs > pairs.csv          every pair of labels with its count

The sample ratio check compares the fraction of users in the candidate arm with the share that the gateways hold. It
begins to count users when the plan's `settle_time` (20 seconds) has passed since the last change of the share in the
audit log; until then it is \"no data\". Without an audit log (--folder), choose --since after that change.

Exit codes: 0 success, 1 failure, 2 wrong usage, 3 sample ratio mismatch (the report is printed anyway)";

/// Exit code of a sample ratio mismatch.
pub(crate) const MISMATCH: u8 = 3;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Length of the period up to now: 90m, 2h, 7d [default: everything that the scorer keeps, 30 days]
    #[arg(long, value_name = "SPAN")]
    since: Option<TimeSpan>,
    /// Cohorts to leave out, separated by commas: beta, opt_out, or none. Attention: `none` is the users who are in no
    /// cohort, i.e. almost all
    #[arg(long, value_name = "COHORT", value_delimiter = ',', value_parser = cohort)]
    leave_out: Vec<Cohort>,
    /// Share to check the sample ratio against: 10%, 0.5%, or off [default: the share that the gateways hold]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    share: Option<Share>,
    #[command(flatten)]
    scorer: ScorerUrl,
    #[command(flatten)]
    gateways: Gateways,
    #[command(flatten)]
    folder: Folder,
    /// Print JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print one table as CSV
    #[arg(long, value_name = "TABLE")]
    csv: Option<Table>,
    /// Write a self-contained page with charts
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn cohort(name: &str) -> Result<Cohort, String> {
    match analysis::left_out(name).map_err(|error| error.to_string())?.as_slice() {
        [cohort] => Ok(*cohort),
        _ => Err("give the name of a cohort".to_owned()),
    }
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<u8> {
    let scorer = options.scorer.client()?;
    let mut query = Vec::new();
    if let Some(span) = options.since {
        query.push((analysis::SINCE, now_ms().saturating_sub(span.as_ms()).to_string()));
    }
    if !options.leave_out.is_empty() {
        let names: Vec<&str> = options.leave_out.iter().map(|cohort| cohort.as_str()).collect();
        query.push((analysis::LEAVE_OUT, names.join(",")));
    }
    let mut found = scorer.analysis(&query).await?;
    let status =
        options.folder.path(&options.gateways).map(|folder| GuardStatus::read(&folder, now_ms())).transpose()?;
    let settled = status.as_ref().map(settled_ms).transpose()?.flatten();
    if let Some(settled) = settled.filter(|settled| *settled > found.since_ms && options.share.is_none()) {
        // Earlier, users were assigned to arms by another share.
        found.users = if settled < now_ms() { Some(scorer.evidence(settled).await?.users) } else { None };
    }
    let wanted = match options.share {
        Some(share) => Some(share),
        None => common_share(&options.gateways).await,
    };
    let report = Report::of(found, wanted.map(Share::fraction));
    if let Some(file) = &options.html {
        std::fs::write(file, html::render(&report)?).with_context(|| format!("writing {}", file.display()))?;
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else if let Some(table) = options.csv {
        print!("{}", csv::render(&report, table));
    } else if let Some(file) = &options.html {
        println!("wrote {}", file.display());
    } else {
        print!("{}", text::render(&report, terminal::bold));
    }
    Ok(if report.ratio.is_some_and(|ratio| ratio.mismatch) { MISMATCH } else { 0 })
}

/// The moment from which every arriving observation belongs to the current share: earlier observations arrive for up to
/// the plan's `settle_time` after the change. `None` if no change is known.
fn settled_ms(status: &GuardStatus) -> anyhow::Result<Option<u64>> {
    let Some(change) = &status.last_change else { return Ok(None) };
    let plan = status.report.as_ref().and_then(|report| report.plan.clone());
    let plan = plan.map_or_else(|| Plan::parse(""), Plan::check)?;
    Ok(Some(change.at_ms.saturating_add(plan.settle_ms)))
}

/// The share that all gateways hold; `None` if one does not respond or they differ, since no split is then expected.
async fn common_share(gateways: &Gateways) -> Option<Share> {
    let mut shares = Vec::new();
    for (_, admin) in gateways.clients().ok()? {
        let text = admin.runtime(RUNTIME_KEY).await.ok()?;
        shares.push(text.as_deref().and_then(Share::from_runtime).unwrap_or(Share::OFF));
    }
    let first = *shares.first()?;
    shares.iter().all(|share| *share == first).then_some(first)
}
