//! `perch doctor`: is this deployment as it should be?

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use clients::{Admin, ClientError, Scrape, in_words};
use contract::share::{self, RUNTIME_KEY};
use perch::doctor::{Finding, Gateway, Level, fleet, gateway};
use reqwest::Client;
use serde_json::Value;

use super::gateways::{Gateways, MEND};
use super::{scorer, terminal};

const EXAMPLES: &str = "\
Examples:
  perch doctor
  perch doctor --gateway http://10.0.0.4:9901 --gateway http://10.0.0.5:9901 --scorer http://10.0.0.6:8020
  perch doctor --json | jq '.[] | select(.level == \"bad\")'

Exit codes: 0 nothing is bad, 1 the program itself failed, 2 the command line is wrong, 3 something is bad";

/// Exit code when something is bad.
const BAD: u8 = 3;
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    gateways: Gateways,
    #[command(flatten)]
    scorer: scorer::At,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<u8> {
    let http = Client::builder().timeout(TIMEOUT).no_proxy().build()?;
    let mut findings = Vec::new();
    let mut alike = Vec::new();
    for (url, admin) in options.gateways.clients()? {
        match Said::by(&admin).await {
            Err(error) => findings.push(Finding::of(
                Level::Bad,
                "gateway",
                &url,
                format!("does not answer ({})", in_words(&error)),
                MEND,
            )),
            Ok(said) => {
                findings.push(Finding::ok("gateway", &url, "answers"));
                let Said { dump, runtime, scrape } = &said;
                findings.extend(gateway::judge(Gateway { url: &url, dump, runtime, scrape }));
                findings.extend(from_outside(&url).await);
                findings.push(fleet::clock(&url, clock(&http, &format!("{url}/ready")).await));
                alike.push(fleet::Alike::of(&url, dump, share::runtime_value(runtime, RUNTIME_KEY)));
                findings.extend(scorer_seen(&url, &admin).await);
            }
        }
    }
    findings.extend(fleet::alike(&alike));
    findings.extend(of_scorer(options, &http).await?);
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        findings.iter().for_each(print);
    }
    Ok(if worst == Level::Bad { BAD } else { 0 })
}

fn print(finding: &Finding) {
    let mark = match finding.level {
        Level::Ok => "ok  ".to_owned(),
        Level::Unknown => "?   ".to_owned(),
        Level::Warn => terminal::bold("warn"),
        Level::Bad => terminal::red("BAD "),
    };
    let place = if finding.place.is_empty() { String::new() } else { format!("  [{}]", finding.place) };
    println!("{mark}  {:<16} {}{place}", finding.check, finding.found);
    if !finding.mend.is_empty() {
        println!("      {:<16} → {}", "", finding.mend);
    }
}

/// What a gateway says of itself.
struct Said {
    dump: Value,
    runtime: Value,
    scrape: Scrape,
}

impl Said {
    async fn by(admin: &Admin) -> Result<Self, ClientError> {
        let read = |text: String| serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Self {
            dump: read(admin.get("/config_dump").await?),
            runtime: read(admin.get("/runtime").await?),
            scrape: admin.scrape().await?,
        })
    }
}

/// Can the admin interface be reached at this machine's own address, and so from outside? Only where it is on this machine.
async fn from_outside(url: &str) -> Option<Finding> {
    let authority = url.strip_prefix("http://")?;
    let local: SocketAddr = authority.replace("localhost", "127.0.0.1").parse().ok()?;
    if !local.ip().is_loopback() {
        return Some(Finding::of(
            Level::Warn,
            "admin outside",
            url,
            "it was reached at an address that is not loopback",
            "whoever reaches it moves the share: allow it from operators' machines only, or bind it to 127.0.0.1",
        ));
    }
    // A UDP socket that is connected sends nothing, and tells by which address this machine would speak to others.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let own = SocketAddr::new(socket.local_addr().ok()?.ip(), local.port());
    let reached = tokio::time::timeout(Duration::from_secs(1), tokio::net::TcpStream::connect(own)).await;
    Some(match reached {
        Ok(Ok(_)) => Finding::of(
            Level::Bad,
            "admin outside",
            url,
            format!("it can be reached at {own}"),
            "bind `admin` to 127.0.0.1 in Envoy's configuration",
        ),
        _ => Finding::ok("admin outside", url, format!("it cannot be reached at {own}")),
    })
}

/// The other's clock minus ours, in seconds, from an answer's date.
async fn clock(http: &Client, url: &str) -> Option<i64> {
    let answer = http.get(url).send().await.ok()?;
    let date = answer.headers().get("date")?.to_str().ok()?;
    let theirs = httpdate::parse_http_date(date).ok()?;
    let seconds = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    };
    Some(seconds(theirs) - seconds(SystemTime::now()))
}

/// Does the gateway reach the scorer?
async fn scorer_seen(url: &str, admin: &Admin) -> Vec<Finding> {
    let mut findings = Vec::new();
    for cluster in ["perch_scorer_live", "perch_scorer_observe"] {
        findings.push(match admin.healthy(cluster).await {
            Ok(true) => Finding::ok("scorer seen", url, format!("{cluster} has a healthy host")),
            _ => Finding::of(
                Level::Bad,
                "scorer seen",
                url,
                format!("{cluster} has no healthy host: canary users get the rules"),
                "start the scorer, or correct the cluster's address",
            ),
        });
    }
    findings
}

async fn of_scorer(options: &Options, http: &Client) -> anyhow::Result<Vec<Finding>> {
    let scorer = options.scorer.client()?;
    let url = scorer.url();
    let Ok(ready) = scorer.readiness().await else {
        let mend = "start it (`make up` does here), or name it with --scorer URL";
        return Ok(vec![Finding::of(Level::Bad, "scorer", url, "does not answer", mend)]);
    };
    let mut findings = fleet::scorer(url, &ready, env!("CARGO_PKG_VERSION"));
    findings.push(fleet::clock(url, clock(http, &format!("{url}/healthz")).await));
    Ok(findings)
}
