//! `perch analyse`: which side is better, with proof.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use contract::analysis::{self, Analysis};
use contract::evidence::{self, Evidence};
use contract::names::Cohort;
use contract::switch::{RUNTIME_KEY, Share};
use perch::analysis::csv::{self, Table};
use perch::analysis::report::Report;
use perch::analysis::{html, text};
use perch::guard::clock::now_ms;
use perch::guard::plan::Plan;
use perch::guard::status::GuardStatus;

use super::gateways::Gateways;
use super::operator::Folder;
use super::scorer::At;
use super::terminal;

const EXAMPLES: &str = "\
Examples:
  perch analyse                                  everything that is kept
  perch analyse --since 2h --leave-out beta      the last two hours, without the beta cohort
  perch analyse --html report.html               a page with charts that needs nothing else
  perch analyse --csv pairs > pairs.csv          every pair of labels with its count

The sample ratio is held against the share that the gateways hold now, on users since the audit log says that the share
was last changed, and 20 seconds more (`settle_time` of the guard's plan), until which it is \"no data\"; without an audit
log (--folder) begin after that yourself.

Exit codes: 0 done, 1 it could not be done, 2 the command line is wrong, 3 sample ratio mismatch (after printing)";

/// Exit code of a sample ratio mismatch.
pub(crate) const MISMATCH: u8 = 3;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// How far to look back: 90m, 2h, 7d [default: everything that is kept, 30 days]
    #[arg(long, value_name = "SPAN", value_parser = span_ms)]
    since: Option<u64>,
    /// Cohorts to leave out
    #[arg(long, value_name = "COHORT", value_delimiter = ',', value_parser = cohort)]
    leave_out: Vec<Cohort>,
    /// The share that users should split by [default: what the gateways hold]
    #[arg(long, value_parser = super::canary::share)]
    share: Option<Share>,
    #[command(flatten)]
    scorer: At,
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
    /// Write a page with charts
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// `90s`, `45m`, `2h`, `7d` in milliseconds.
pub(crate) fn span_ms(text: &str) -> Result<u64, String> {
    let fault = || format!("{text:?} is no span of time: give e.g. 90s, 45m, 2h or 7d");
    let unit = text.chars().last().ok_or_else(fault)?;
    let ms = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return Err(fault()),
    };
    let count: u64 = text.strip_suffix(unit).and_then(|count| count.parse().ok()).ok_or_else(fault)?;
    count.checked_mul(ms).ok_or_else(fault)
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
        query.push((analysis::SINCE, now_ms().saturating_sub(span).to_string()));
    }
    if !options.leave_out.is_empty() {
        let names: Vec<&str> = options.leave_out.iter().map(|cohort| cohort.as_str()).collect();
        query.push((analysis::LEAVE_OUT, names.join(",")));
    }
    let mut found: Analysis = scorer.get(analysis::PATH, &query).await?;
    ensure!(
        found.version == analysis::VERSION,
        "the scorer's analysis is of version {}, this program reads {}: run perch and scorer of one release",
        found.version,
        analysis::VERSION
    );
    let standing =
        options.folder.path(&options.gateways).map(|folder| GuardStatus::read(&folder, now_ms())).transpose()?;
    let settled = standing.as_ref().map(settled_ms).transpose()?.flatten();
    if let Some(settled) = settled.filter(|settled| *settled > found.since_ms && options.share.is_none()) {
        // Before it users were given arms by another share.
        found.users = if settled < now_ms() {
            Some(scorer.get::<Evidence>(evidence::PATH, &[(evidence::SINCE, settled.to_string())]).await?.users)
        } else {
            None
        };
    }
    let wanted = match options.share {
        Some(share) => Some(share),
        None => held(&options.gateways).await,
    };
    let report = Report::of(found, wanted.map(Share::fraction));
    if let Some(file) = &options.html {
        std::fs::write(file, html::render(&report)).with_context(|| format!("writing {}", file.display()))?;
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else if let Some(table) = options.csv {
        print!("{}", csv::render(&report, table));
    } else if let Some(file) = &options.html {
        println!("written: {}", file.display());
    } else {
        print!("{}", text::render(&report, terminal::bold));
    }
    Ok(if report.ratio.is_some_and(|ratio| ratio.mismatch) { MISMATCH } else { 0 })
}

/// From when on every observation that arrives is of the share as it was last changed: observations of the share before
/// are on their way for a while, as the guard's plan knows (`settle_time`). `None` where no change is known.
fn settled_ms(standing: &GuardStatus) -> anyhow::Result<Option<u64>> {
    let Some(change) = &standing.last_change else { return Ok(None) };
    let plan = standing.report.as_ref().and_then(|report| report.plan.clone());
    let plan = plan.map_or_else(|| Plan::parse(""), Plan::check)?;
    Ok(Some(change.at_ms.saturating_add(plan.settle_ms)))
}

/// The share that all gateways hold; `None` where one does not answer or they differ, since then there is nothing to
/// split by.
async fn held(gateways: &Gateways) -> Option<Share> {
    let mut shares = Vec::new();
    for (_, admin) in gateways.clients().ok()? {
        let text = admin.runtime(RUNTIME_KEY).await.ok()?;
        shares.push(text.as_deref().and_then(Share::from_runtime).unwrap_or(Share::OFF));
    }
    let first = *shares.first()?;
    shares.iter().all(|share| *share == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_a_wrong_one_is_named() {
        assert_eq!(span_ms("90s"), Ok(90_000));
        assert_eq!(span_ms("2h"), Ok(7_200_000));
        for wrong in ["", "h", "2", "2 h", "-1h", "2w", "99999999999999999999d", "5€"] {
            assert!(span_ms(wrong).unwrap_err().contains("2h"), "{wrong}");
        }
    }
}
