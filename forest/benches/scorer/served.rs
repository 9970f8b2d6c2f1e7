//! End to end: one suggestion, HTTP in to HTTP out, by the scorer as it ships, against what its parts cost: the model
//! alone, and a request that does nothing.
//!
//! The scorer has one thread and a core of its own, this program the other core, one connection, one request at a time.
//! The store is a file with some thousand transactions; a user's transactions are read from it once and then kept in
//! the scorer's cache, as for any user who comes back. What the first request of a user takes is reported by itself.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engines::Engine;
use crate::machine;
use crate::measure::{self, Cache, Case};

const ROUNDS: usize = 5;
const REQUESTS: usize = 2_000;
const USERS: &str = "200";
/// The store has more: half a user's usual number for each.
const TRANSACTIONS: usize = 3_000;

/// Microseconds, the medians of the rounds' medians; `p99` is that of their 99th percentiles.
pub(crate) struct EndToEnd {
    champion: String,
    trees: u64,
    model: f64,
    empty: f64,
    request: f64,
    p99: f64,
    first: f64,
    /// The rounds' quickest and slowest median of the request.
    spread: (f64, f64),
}

impl EndToEnd {
    /// Measures `program`, or else the scorer that `make build` made.
    pub(crate) fn measure(program: Option<&str>) -> Result<EndToEnd> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let champion = root.join("models/registry").join(
            fs::read_to_string(root.join("models/registry/champion"))
                .context("models/registry has no champion: `make model` trains one")?
                .trim(),
        );
        let manifest: Value = serde_json::from_slice(&fs::read(champion.join("manifest.json"))?)?;
        let width = number(&manifest, "/feature_schema/width").context("the manifest's width")?.try_into()?;
        let rows = rows(&champion)?;
        let mut model = Engine::served(&champion.join("model.onnx"), width)?;

        let mut scorer = Scorer::start(&root, program)?;
        let first = measure::median(scorer.first_requests()?);
        let (mut models, mut empties, mut requests, mut slow) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let case = Case { trees: 0, batch: 1, cache: Cache::Warm };
            models.push(measure::median(model.time_calls(case, &rows, 0.2)?));
            empties.push(measure::median(scorer.time_calls(REQUESTS, |_| EMPTY.to_owned())?));
            let calls = scorer.time_calls(REQUESTS, suggestion)?;
            slow.push(measure::quantile(calls.clone(), 0.99));
            requests.push(measure::median(calls));
        }
        let spread = (bound(&requests, f64::min), bound(&requests, f64::max));
        Ok(EndToEnd {
            champion: manifest.get("version").and_then(Value::as_str).unwrap_or_default().to_owned(),
            trees: number(&manifest, "/model/trees").unwrap_or(0),
            model: measure::median(models),
            empty: measure::median(empties),
            request: measure::median(requests),
            p99: measure::median(slow),
            first,
            spread,
        })
    }

    /// The request over the sum of its parts.
    pub(crate) fn ratio(&self) -> f64 {
        (self.request / (self.model + self.empty) * 1e4).round() / 1e4
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "champion": self.champion,
            "trees": self.trees,
            "model_us": self.model,
            "empty_request_us": self.empty,
            "suggestion_us": self.request,
            "suggestion_p99_us": self.p99,
            "suggestion_spread_us": [self.spread.0, self.spread.1],
            "first_suggestion_of_a_user_us": self.first,
        })
    }

    pub(crate) fn line(&self) -> String {
        format!(
            "one suggestion, HTTP in to HTTP out, p50: {:.1} µs ({:.1} to {:.1}), p99: {:.1} µs, {:.2} × its parts (model of {} trees {:.1} µs, \
             empty request {:.1} µs); a user's first, read from the store: {:.0} µs",
            self.request,
            self.spread.0,
            self.spread.1,
            self.p99,
            self.ratio(),
            self.trees,
            self.model,
            self.empty,
            self.first,
        )
    }
}

fn number(manifest: &Value, pointer: &str) -> Option<u64> {
    manifest.pointer(pointer)?.as_u64()
}

fn bound(values: &[f64], pick: fn(f64, f64) -> f64) -> f64 {
    values.iter().copied().reduce(pick).unwrap_or(f64::NAN)
}

/// The reference rows of a version, one after the other.
fn rows(folder: &Path) -> Result<Vec<f32>> {
    let reference: Value = serde_json::from_slice(&fs::read(folder.join("reference.json"))?)?;
    let rows = reference.get("rows").and_then(Value::as_array).context("reference rows")?;
    #[allow(clippy::cast_possible_truncation)] // they were f32 values
    let value = |value: &Value| value.as_f64().map_or(f32::NAN, |value| value as f32);
    Ok(rows.iter().filter_map(Value::as_array).flatten().map(value).collect())
}

const EMPTY: &str = "GET /healthz HTTP/1.1\r\nhost: scorer\r\n\r\n";

fn suggestion(number: usize) -> String {
    // Coprime to the number of transactions, so that users come in no order.
    let id = 1 + number * 1_237 % TRANSACTIONS;
    let body = format!("{{\"txn_ids\":[{id}],\"top_k\":3,\"mode\":\"auto\"}}");
    format!(
        "POST /ml/suggestions HTTP/1.1\r\nhost: scorer\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

struct Scorer {
    process: Child,
    stream: BufReader<TcpStream>,
    _folder: TempDir,
}

impl Scorer {
    fn start(root: &Path, scorer: Option<&str>) -> Result<Scorer> {
        let folder = tempfile::tempdir()?;
        let store = format!("sqlite://{}", folder.path().join("perch.sqlite").display());
        let program = |name: &str| -> Result<PathBuf> {
            let path = root.join("target/release").join(name);
            ensure!(path.exists(), "{} is missing: `make build` makes it", path.display());
            Ok(path)
        };
        let seeded =
            Command::new(program("rules-backend")?).args(["seed", "--users", USERS, "--store", &store]).output()?;
        ensure!(seeded.status.success(), "seeding a store: {}", String::from_utf8_lossy(&seeded.stderr));
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = Command::new("taskset")
            .args(["-c", &machine::other_core()])
            .arg(scorer.map_or_else(|| program("shadow-scorer"), |path| Ok(PathBuf::from(path)))?)
            .args(["--listen", &address.to_string(), "--store", &store, "--live-threads", "1", "--role", "live"])
            .arg("--registry")
            .arg(root.join("models/registry"))
            .stderr(Stdio::null())
            .spawn()
            .context("taskset does not start")?;
        // From here on dropping ends it.
        let mut scorer = Scorer { process, stream: BufReader::new(connect(address)?), _folder: folder };
        scorer.time_calls(200, |_| EMPTY.to_owned())?;
        Ok(scorer)
    }

    /// Microseconds of each of `count` requests, one after the other.
    fn time_calls(&mut self, count: usize, request: impl Fn(usize) -> String) -> Result<Vec<f64>> {
        (0..count).map(|number| self.once(&request(number))).collect()
    }

    /// Microseconds of requests that nearly all are the first about their user: few of many.
    fn first_requests(&mut self) -> Result<Vec<f64>> {
        self.time_calls(40, suggestion)
    }

    fn once(&mut self, request: &str) -> Result<f64> {
        let begin = Instant::now();
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (mut line, mut length) = (String::new(), 0);
        self.stream.read_line(&mut line)?;
        ensure!(line.starts_with("HTTP/1.1 200 "), "the scorer responded with {line:?}");
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let head = line.trim_end().to_ascii_lowercase();
            if head.is_empty() {
                break;
            }
            if let Some(value) = head.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let took = begin.elapsed().as_secs_f64() * 1e6;
        ensure!(request == EMPTY || body.windows(8).any(|part| part == b"\"label\":"), "a response without a label");
        Ok(took)
    }
}

impl Drop for Scorer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// As soon as it listens, within ten seconds.
fn connect(address: SocketAddr) -> Result<TcpStream> {
    let begin = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if begin.elapsed() > Duration::from_secs(10) => {
                return Err(error).context("the scorer does not listen");
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
