//! `perch replay`: a recorded request log against both sides, before any canary.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use contract::percent::Percent;
use contract::ports::Part;
use guard_runtime::clock::now_ms;
use report::analysis::report::Report;
use report::analysis::{html, text};
use report::replay::Tally;
use report::replay::line::Recorded;
use report::replay::sides::Sides;
use contract::response::ResponseSchema;
use serde_json::json;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt as _, BufReader};
use tokio::task::JoinSet;

use super::gateways::local;
use super::{scorer, terminal};

const EXAMPLES: &str = "\
The log has one request a line, as JSON:
  {\"body\": {\"txn_ids\": [88, 89]}, \"user\": \"user-42\"}     the body may also be a text; user is optional and only tells
                                                         users apart, so that intervals count users, not requests
  {\"txn_ids\": [88, 89]}                                    or the body itself

Examples:
  perch replay requests.jsonl
  perch replay requests.jsonl --rules http://app.test:8010 --concurrency 16
  zcat requests.jsonl.gz | perch replay - --json > replay.json
  perch replay requests.jsonl --html replay.html

The application is asked as a client would ask it, without the client's headers: name an instance that may be asked.

Exit codes: 0 done, 1 nothing could be compared, 2 the command line is wrong, 3 some requests could not be compared";

/// Exit code when some requests could not be compared.
const SOME_FAILED: u8 = 3;
/// A line longer than this is no request, in bytes.
const LONGEST_LINE: usize = 4 * 1024 * 1024;
/// How often progress is shown.
const PROGRESS: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The log, `-` for standard input
    file: PathBuf,
    /// The application [default: the local rules backend]
    #[arg(long, value_name = "URL", env = "PERCH_RULES_URL")]
    rules: Option<String>,
    /// The scorer
    #[command(flatten)]
    scorer: scorer::At,
    /// The intercepted path, at which both answer
    #[arg(long, value_name = "PATH", default_value = "/ml/suggestions")]
    path: String,
    /// Requests under way at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    concurrency: u16,
    /// Time of one answer
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = super::args::span_ms)]
    deadline: u64,
    /// Only so many requests of the log
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// How answers are read, as in the filter's configuration [default: that of /ml/suggestions]
    #[arg(long, value_name = "JSON", value_parser = schema)]
    answer: Option<ResponseSchema>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write a page with charts
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn schema(text: &str) -> Result<ResponseSchema, String> {
    let schema: ResponseSchema = serde_json::from_str(text).map_err(|error| error.to_string())?;
    schema.check().map_err(|error| error.to_string())?;
    Ok(schema)
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<u8> {
    let base = options.rules.as_ref().map_or_else(|| local(Part::Rules), |url| Ok(url.clone()))?;
    let rules = format!("{}{}", base.trim_end_matches('/'), options.path);
    let model = format!("{}{}", options.scorer.client()?.url(), options.path);
    let deadline = Duration::from_millis(options.deadline);
    let sides = Sides::new(&rules, &model, deadline, options.answer.clone().unwrap_or_default())?;
    let began = now_ms();
    let file = if options.file.as_os_str() == "-" { Path::new("/dev/stdin") } else { options.file.as_path() };
    let log = tokio::fs::File::open(file).await.with_context(|| format!("reading the log {}", file.display()))?;
    let tally = replay(options, &sides, BufReader::new(log)).await?;
    let counts = &tally.counts;
    if counts.answered == 0 {
        let reasons: Vec<String> =
            counts.failed.iter().map(|(reason, times)| format!("{reason} ({times} times)")).collect();
        ensure!(!reasons.is_empty(), "the log {} has no request", options.file.display());
        bail!("nothing could be compared: {}; asked were {rules} and {model}", reasons.join(", "));
    }
    let report = Report::of(tally.analysis(began, now_ms()), None);
    if let Some(file) = &options.html {
        std::fs::write(file, html::render(&report)).with_context(|| format!("writing {}", file.display()))?;
    }
    if options.json {
        let figures = json!({"requests": counts, "items": report.items, "agreement": report.agreement,
            "kappa": report.kappa, "labels": report.labels, "disagreements": report.disagreements, "pairs": report.pairs});
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print!("{}", text::compared(&report, terminal::bold));
        println!("\n{} requests compared, {} items on one side only", counts.answered, counts.unpaired);
        for (reason, times) in &counts.failed {
            println!("{}", terminal::red(&format!("{times} not compared: {reason}")));
        }
    }
    Ok(if counts.failures() > 0 { SOME_FAILED } else { 0 })
}

async fn replay(options: &Options, sides: &Sides, mut log: impl AsyncBufRead + Unpin) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let mut under_way = JoinSet::new();
    let mut progress = Progress::new(options.json);
    let (mut number, mut taken) = (0_u64, 0_u64);
    let mut line = String::new();
    while options.limit.is_none_or(|limit| taken < limit) {
        line.clear();
        number += 1;
        // No more of it than is allowed is ever held, and a line's end.
        let mut rest = (&mut log).take(LONGEST_LINE as u64 + 2);
        let read = rest.read_line(&mut line).await.with_context(|| format!("line {number} of the log"))?;
        if read == 0 {
            break;
        }
        ensure!(line.len() <= LONGEST_LINE, "line {number} of the log is over 4 MiB: is it one request a line?");
        let recorded = Recorded::parse(&line).with_context(|| format!("line {number} of the log"))?;
        let Some(recorded) = recorded else { continue };
        taken += 1;
        if under_way.len() >= usize::from(options.concurrency) {
            land(&mut tally, &mut under_way, sides).await;
            progress.show(&tally);
        }
        let sides = sides.clone();
        under_way.spawn(async move { (recorded.user.clone(), sides.ask(&recorded.body).await) });
    }
    while !under_way.is_empty() {
        land(&mut tally, &mut under_way, sides).await;
        progress.show(&tally);
    }
    progress.end();
    Ok(tally)
}

type Asked = (Option<String>, Result<(Vec<contract::response::Item>, Vec<contract::response::Item>), String>);

/// Takes one answer in.
async fn land(tally: &mut Tally, under_way: &mut JoinSet<Asked>, sides: &Sides) {
    match under_way.join_next().await {
        Some(Ok((user, Ok((rules, model))))) => tally.add(user.as_deref(), &rules, &model, sides.schema()),
        Some(Ok((_, Err(reason)))) => tally.failed(reason),
        Some(Err(_)) => tally.failed("perch: a request was cut short".to_owned()),
        None => {}
    }
}

/// A line on the terminal that is written over.
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
            tally.counts.answered,
            tally.counts.failures()
        );
    }

    fn end(&self) {
        if self.shown.is_some() {
            eprint!("\r\u{1b}[K");
        }
    }
}
