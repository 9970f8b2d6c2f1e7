//! `perch replay`: compares baseline and candidate on recorded requests.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use contract::percent::Percent;
use contract::ports::Part;
use contract::response::ResponseSchema;
use guard::plan::duration::TimeSpan;
use guard_runtime::clock::now_ms;
use report::analysis::report::Report;
use report::analysis::{html, text};
use report::replay::Tally;
use report::replay::arms::Arms;
use report::replay::line::Recorded;
use serde_json::json;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt as _, BufReader};
use tokio::task::JoinSet;

use super::gateways::local;
use super::{scorer, terminal};

const EXAMPLES: &str = "\
The log has one request per line, as JSON:
  {\"body\": {\"txn_ids\": [88, 89]}, \"user\": \"user-42\"}     body: the request's body, as JSON or as a string;
                                                         user: optional, so that intervals count users, not requests
  {\"txn_ids\": [88, 89]}                                 or the body alone

Examples:
  perch replay requests.jsonl
  perch replay requests.jsonl --baseline http://app.test:8010 --concurrency 16
  zcat requests.jsonl.gz | perch replay - --json > replay.json
  perch replay requests.jsonl --html replay.html

Perch sends the recorded bodies to the application without the clients' headers: name an instance on which that is safe.

Exit codes: 0 success, 1 failure or nothing compared, 2 wrong usage, 3 some requests could not be compared";

/// Exit code when some requests could not be compared.
const SOME_FAILED: u8 = 3;
/// Longest line of the log, in bytes.
const LONGEST_LINE: usize = 4 * 1024 * 1024;
/// Time between two updates of the progress line.
const PROGRESS: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The log, `-` for standard input
    file: PathBuf,
    /// URL of the application [default: the local demo application]
    #[arg(long, value_name = "URL", env = "PERCH_BASELINE_URL")]
    baseline: Option<String>,
    #[command(flatten)]
    scorer: scorer::ScorerUrl,
    /// The intercepted path, which application and scorer both serve
    #[arg(long, value_name = "PATH", default_value = "/ml/suggestions")]
    path: String,
    /// Number of concurrent requests
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    concurrency: u16,
    /// Timeout of one response
    #[arg(long, value_name = "SPAN", default_value = "10s")]
    deadline: TimeSpan,
    /// Number of requests to read from the log [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Fields of a response, as `response` in the filter's configuration [default: those of /ml/suggestions]
    #[arg(long, value_name = "JSON", value_parser = schema)]
    response: Option<ResponseSchema>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write a self-contained page with charts
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn schema(text: &str) -> Result<ResponseSchema, String> {
    let schema: ResponseSchema = serde_json::from_str(text).map_err(|error| error.to_string())?;
    schema.check().map_err(|error| error.to_string())?;
    Ok(schema)
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<u8> {
    let base = options.baseline.as_ref().map_or_else(|| local(Part::Rules), |url| Ok(url.clone()))?;
    let baseline = format!("{}{}", base.trim_end_matches('/'), options.path);
    let candidate = format!("{}{}", options.scorer.client()?.url(), options.path);
    let deadline = Duration::from_millis(options.deadline.as_ms());
    let arms = Arms::new(&baseline, &candidate, deadline, options.response.clone().unwrap_or_default())?;
    let began = now_ms();
    let file = if options.file.as_os_str() == "-" { Path::new("/dev/stdin") } else { options.file.as_path() };
    let log = tokio::fs::File::open(file).await.with_context(|| format!("reading the log {}", file.display()))?;
    let tally = replay(options, &arms, BufReader::new(log)).await?;
    let counts = &tally.counts;
    if counts.compared == 0 {
        let reasons: Vec<String> =
            counts.failed.iter().map(|(reason, times)| format!("{reason} ({times} times)")).collect();
        ensure!(!reasons.is_empty(), "the log {} has no requests", options.file.display());
        bail!("no request could be compared: {} (called {baseline} and {candidate})", reasons.join(", "));
    }
    let report = Report::of(tally.analysis(began, now_ms()), None);
    if let Some(file) = &options.html {
        std::fs::write(file, html::render(&report)?).with_context(|| format!("writing {}", file.display()))?;
    }
    if options.json {
        let figures = json!({"requests": counts, "items": report.items, "agreement": report.agreement,
            "kappa": report.kappa, "labels": report.labels, "disagreements": report.disagreements, "pairs": report.pairs});
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print!("{}", text::compared(&report, terminal::bold));
        println!("\n{} requests compared, {} items in one response only", counts.compared, counts.unpaired);
        for (reason, times) in &counts.failed {
            println!("{}", terminal::red(&format!("{times} not compared: {reason}")));
        }
    }
    Ok(if counts.failures() > 0 { SOME_FAILED } else { 0 })
}

async fn replay(options: &Options, arms: &Arms, mut log: impl AsyncBufRead + Unpin) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let mut in_flight = JoinSet::new();
    let mut progress = Progress::new(options.json);
    let (mut number, mut taken) = (0_u64, 0_u64);
    let mut line = String::new();
    while options.limit.is_none_or(|limit| taken < limit) {
        line.clear();
        number += 1;
        // Never reads more than the longest line and its end.
        let mut rest = (&mut log).take(LONGEST_LINE as u64 + 2);
        let read = rest.read_line(&mut line).await.with_context(|| format!("reading line {number} of the log"))?;
        if read == 0 {
            break;
        }
        ensure!(line.len() <= LONGEST_LINE, "line {number} of the log is over 4 MiB; write one request per line");
        let recorded = Recorded::parse(&line).with_context(|| format!("reading line {number} of the log"))?;
        let Some(recorded) = recorded else { continue };
        taken += 1;
        if in_flight.len() >= usize::from(options.concurrency) {
            land(&mut tally, &mut in_flight, arms).await;
            progress.show(&tally);
        }
        let arms = arms.clone();
        in_flight.spawn(async move { (recorded.user.clone(), arms.call(&recorded.body).await) });
    }
    while !in_flight.is_empty() {
        land(&mut tally, &mut in_flight, arms).await;
        progress.show(&tally);
    }
    progress.end();
    Ok(tally)
}

/// A request's user, and both responses or the reason why they cannot be compared.
type Outcome = (Option<String>, Result<(Vec<contract::response::Item>, Vec<contract::response::Item>), String>);

/// Waits for one request, and adds its outcome.
async fn land(tally: &mut Tally, in_flight: &mut JoinSet<Outcome>, arms: &Arms) {
    match in_flight.join_next().await {
        Some(Ok((user, Ok((baseline, candidate))))) => tally.add(user.as_deref(), &baseline, &candidate, arms.schema()),
        Some(Ok((_, Err(reason)))) => tally.failed(reason),
        Some(Err(_)) => tally.failed("perch: a request was cancelled".to_owned()),
        None => {}
    }
}

/// A line on the terminal that is overwritten.
struct Progress {
    shown: Option<Instant>,
    wanted: bool,
}

impl Progress {
    fn new(quiet: bool) -> Self {
        Self { shown: None, wanted: !quiet && std::io::stderr().is_terminal() }
    }

    fn show(&mut self, tally: &Tally) {
        if !self.wanted || self.shown.is_some_and(|at| at.elapsed() < PROGRESS) {
            return;
        }
        self.shown = Some(Instant::now());
        let agreement =
            tally.agreement().map_or_else(|| "no data".to_owned(), |value| format!("{:.1}", Percent(value)));
        eprint!(
            "\r\u{1b}[K{} compared, {} failed, agreement {agreement}",
            tally.counts.compared,
            tally.counts.failures()
        );
    }

    fn end(&self) {
        if self.shown.is_some() {
            eprint!("\r\u{1b}[K");
        }
    }
}
