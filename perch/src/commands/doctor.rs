//! `perch doctor`: checks a deployment.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use clients::{Admin, ClientError, Scrape, error_chain};
use contract::share::{self, RUNTIME_KEY};
use perch::doctor::{Finding, Gateway, Level, fleet, gateway};
use reqwest::Client;
use serde_json::Value;

use super::gateways::{Gateways, UNREACHABLE_FIX};
use super::{scorer, terminal};

const EXAMPLES: &str = "\
Examples:
  perch doctor
  perch doctor --gateway http://10.0.0.4:9901 --gateway http://10.0.0.5:9901 --scorer http://10.0.0.6:8020
  perch doctor --json | jq '.[] | select(.level == \"error\")'

Each finding is `ok`, `unknown` (the check has no data), `warn` or `error`.

Exit codes: 0 no finding is an error, 1 failure, 2 wrong usage, 3 a finding is an error";

/// Exit code when a finding is an error.
const ERROR: u8 = 3;
/// The check whether other machines reach the admin interface.
const ADMIN_EXPOSURE: &str = "admin reachable from outside";
/// Timeout of each request.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    gateways: Gateways,
    #[command(flatten)]
    scorer: scorer::ScorerUrl,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<u8> {
    let http = Client::builder().timeout(TIMEOUT).no_proxy().build()?;
    let mut findings = Vec::new();
    let mut settings = Vec::new();
    for (url, admin) in options.gateways.clients()? {
        match GatewayState::read(&admin).await {
            Err(error) => findings.push(Finding::of(
                Level::Error,
                "gateway",
                &url,
                format!("it does not respond ({})", error_chain(&error)),
                UNREACHABLE_FIX,
            )),
            Ok(state) => {
                findings.push(Finding::ok("gateway", &url, "it responds"));
                let GatewayState { dump, runtime, scrape } = &state;
                findings.extend(gateway::check(Gateway { url: &url, dump, runtime, scrape }));
                findings.extend(check_admin_exposure(&url).await);
                findings.push(fleet::check_clock(&url, clock(&http, &format!("{url}/ready")).await));
                settings.push(fleet::GatewaySettings::of(&url, dump, share::runtime_value(runtime, RUNTIME_KEY)));
                findings.extend(check_clusters(&url, &admin).await);
            }
        }
    }
    findings.extend(fleet::check_same_settings(&settings));
    findings.extend(check_scorer(options, &http).await?);
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        findings.iter().for_each(print);
    }
    Ok(if worst == Level::Error { ERROR } else { 0 })
}

fn print(finding: &Finding) {
    let mark = match finding.level {
        Level::Ok => "ok     ".to_owned(),
        Level::Unknown => "unknown".to_owned(),
        Level::Warn => terminal::bold("warn   "),
        Level::Error => terminal::red("error  "),
    };
    let place = if finding.place.is_empty() { String::new() } else { format!("  [{}]", finding.place) };
    println!("{mark} {:<28} {}{place}", finding.check, finding.found);
    if !finding.fix.is_empty() {
        println!("{:<36} → {}", "", finding.fix);
    }
}

/// The state that a gateway reports.
struct GatewayState {
    dump: Value,
    runtime: Value,
    scrape: Scrape,
}

impl GatewayState {
    async fn read(admin: &Admin) -> Result<Self, ClientError> {
        let json = |text: String| serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Self {
            dump: json(admin.get("/config_dump").await?),
            runtime: json(admin.get("/runtime").await?),
            scrape: admin.scrape().await?,
        })
    }
}

/// Checks whether other machines can reach the admin interface: for a local one, by this machine's own address.
async fn check_admin_exposure(url: &str) -> Option<Finding> {
    let authority = url.strip_prefix("http://")?;
    let local: SocketAddr = authority.replace("localhost", "127.0.0.1").parse().ok()?;
    if !local.ip().is_loopback() {
        return Some(Finding::of(
            Level::Warn,
            ADMIN_EXPOSURE,
            url,
            "it is reachable at an address that is not loopback, and every client that reaches it can set the share",
            "allow it from operators' machines only, or bind it to 127.0.0.1",
        ));
    }
    // Connecting a UDP socket sends nothing, but selects the address by which this machine reaches others.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let own = SocketAddr::new(socket.local_addr().ok()?.ip(), local.port());
    let reached = tokio::time::timeout(Duration::from_secs(1), tokio::net::TcpStream::connect(own)).await;
    Some(match reached {
        Ok(Ok(_)) => Finding::of(
            Level::Error,
            ADMIN_EXPOSURE,
            url,
            format!("it is reachable at {own}, and every client that reaches it can set the share"),
            "bind `admin` to 127.0.0.1 in Envoy's configuration",
        ),
        _ => Finding::ok(ADMIN_EXPOSURE, url, format!("it is not reachable at {own}")),
    })
}

/// The clock of the server at `url` minus this machine's, in seconds, from the date of its response.
async fn clock(http: &Client, url: &str) -> Option<i64> {
    let response = http.get(url).send().await.ok()?;
    let date = response.headers().get("date")?.to_str().ok()?;
    let theirs = httpdate::parse_http_date(date).ok()?;
    let seconds = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    };
    Some(seconds(theirs) - seconds(SystemTime::now()))
}

/// Checks that the gateway has a healthy scorer in each of its clusters.
async fn check_clusters(url: &str, admin: &Admin) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (cluster, consequence) in [
        ("perch_scorer_live", "canary users get the baseline"),
        ("perch_scorer_observe", "baseline and candidate are not compared"),
    ] {
        findings.push(match admin.healthy(cluster).await {
            Ok(true) => Finding::ok("scorer seen", url, format!("{cluster} has a healthy host")),
            Ok(false) => Finding::of(
                Level::Error,
                "scorer seen",
                url,
                format!("{cluster} has no healthy host: {consequence}"),
                "start the scorer, or correct the cluster's address",
            ),
            Err(error) => Finding::of(
                Level::Unknown,
                "scorer seen",
                url,
                format!("no data on {cluster} ({})", error_chain(&error)),
                "run this again when the gateway responds to GET /clusters",
            ),
        });
    }
    findings
}

async fn check_scorer(options: &Options, http: &Client) -> anyhow::Result<Vec<Finding>> {
    let scorer = options.scorer.client()?;
    let url = scorer.url();
    let Ok(ready) = scorer.readiness().await else {
        let fix = "start it (`make up` starts one here), or correct --scorer URL";
        return Ok(vec![Finding::of(Level::Error, "scorer", url, "it does not respond", fix)]);
    };
    let mut findings = fleet::check_scorer(url, &ready, env!("CARGO_PKG_VERSION"));
    findings.push(fleet::check_clock(url, clock(http, &format!("{url}/healthz")).await));
    Ok(findings)
}
