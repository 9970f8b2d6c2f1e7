//! Feeds the scorer as gateways do: batches in the frame protocol, over HTTP/2. Two cores cannot run several gateways,
//! a scorer and a load; what a gateway sends is known, so it can be sent without one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use contract::batch_result::BatchResult;
use contract::bucket::Bucket;
use contract::frame::{self, Encoding, NOT_TIMED, Observation};
use contract::names::{Arm, Cohort, NotCompared};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::traffic::{Exchange, Kind};

/// Batches that a gateway has in flight when it sends as fast as the scorer responds.
const IN_FLIGHT: usize = 2;

/// The observations that are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) kind: Kind,
    pub(super) gateways: usize,
    /// Observations in a batch.
    pub(super) batch: usize,
    /// Different users.
    pub(super) users: usize,
    /// Different transactions.
    pub(super) transactions: usize,
}

/// The sum of the batch results.
#[derive(Debug, Default, Clone)]
pub(crate) struct FeedResult {
    pub(super) observations: u64,
    pub(super) items: u64,
    pub(super) compared: u64,
    pub(super) not_compared: BTreeMap<NotCompared, u64>,
    pub(super) seconds: f64,
}

impl FeedResult {
    pub(super) fn rate(&self) -> f64 {
        self.observations as f64 / self.seconds
    }

    fn add(&mut self, result: &BatchResult) {
        self.observations += u64::from(result.observations);
        self.compared += u64::from(result.agree_true) + u64::from(result.agree_false);
        self.items += result.items();
        for (reason, items) in &result.not_compared {
            *self.not_compared.entry(*reason).or_default() += u64::from(*items);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.observations += other.observations;
        self.items += other.items;
        self.compared += other.compared;
        self.seconds += other.seconds;
        for (reason, items) in &other.not_compared {
            *self.not_compared.entry(*reason).or_default() += items;
        }
    }
}

/// Makes a load's batches.
struct Batches {
    load: Load,
    exchanges: Vec<Exchange>,
}

/// Batches made so far, over all loads: a load continues with the next users.
static MADE: AtomicUsize = AtomicUsize::new(0);

impl Load {
    /// Exchanges in which every transaction comes once.
    fn batches(self) -> Arc<Batches> {
        let requests = (self.transactions / self.kind.items).max(1);
        Arc::new(Batches { load: self, exchanges: (0..requests).map(|number| self.kind.exchange(number)).collect() })
    }
}

impl Batches {
    /// The next batch, with the next transactions and users.
    fn next(&self) -> Bytes {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let mut bytes = Vec::with_capacity(self.load.batch * (self.load.kind.bytes + frame::RECORD_OVERHEAD));
        frame::start(&mut bytes, "");
        for index in number * self.load.batch..(number + 1) * self.load.batch {
            let Some(exchange) = self.exchanges.get(index % self.exchanges.len().max(1)) else { continue };
            // Spread over all 64 bits, as a hash is.
            let user = (index % self.load.users) as u64;
            let observation = Observation {
                assigned: Arm::Baseline,
                served: Arm::Baseline,
                fallback: false,
                bucket: Some(Bucket(user.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
                cohort: Cohort::Ordinary,
                status: 200,
                duration_us: 900,
                baseline_us: 800,
                candidate_us: NOT_TIMED,
                encoding: Encoding::Identity,
                baseline: &exchange.response,
                candidate: None,
            };
            frame::append(&mut bytes, &observation);
        }
        Bytes::from(bytes)
    }
}

/// Sends batches as fast as the scorer responds.
///
/// # Errors
/// When a batch has no result, or the scorer shed some of it.
pub(super) async fn closed_loop(scorer: SocketAddr, load: Load, length: Duration) -> Result<FeedResult> {
    let batches = load.batches();
    let (begin, mut tasks) = (Instant::now(), JoinSet::new());
    for _ in 0..load.gateways {
        let sender = connect(scorer).await?;
        for _ in 0..IN_FLIGHT {
            let (mut sender, batches) = (sender.clone(), batches.clone());
            tasks.spawn(async move {
                let mut result = FeedResult::default();
                while begin.elapsed() < length {
                    result.add(&send(&mut sender, scorer, batches.next()).await?);
                }
                anyhow::Ok(result)
            });
        }
    }
    gathered(tasks, begin).await
}

/// Sends `rate` observations a second, each gateway's batches evenly spaced, also while earlier ones are late.
///
/// # Errors
/// As [`closed_loop`].
pub(super) async fn open_loop(
    scorer: SocketAddr,
    load: Load,
    rate: f64,
    length: Duration,
) -> Result<(u64, FeedResult)> {
    let batches = load.batches();
    let between = Duration::from_secs_f64((load.batch * load.gateways) as f64 / rate);
    let (begin, mut tasks, mut sent) = (Instant::now(), JoinSet::new(), 0);
    for gateway in 0..load.gateways {
        let sender = connect(scorer).await?;
        let count = (length.as_secs_f64() / between.as_secs_f64()) as usize;
        sent += (count * load.batch) as u64;
        let batches = batches.clone();
        tasks.spawn(async move {
            let mut in_flight = JoinSet::new();
            for number in 0..count {
                let due = begin + between.mul_f64(number as f64 + gateway as f64 / load.gateways as f64);
                tokio::time::sleep_until(due.into()).await;
                let (mut sender, batches) = (sender.clone(), batches.clone());
                in_flight.spawn(async move { send(&mut sender, scorer, batches.next()).await });
            }
            let mut result = FeedResult::default();
            while let Some(done) = in_flight.join_next().await {
                result.add(&done??);
            }
            anyhow::Ok(result)
        });
    }
    Ok((sent, gathered(tasks, begin).await?))
}

async fn gathered(mut tasks: JoinSet<Result<FeedResult>>, begin: Instant) -> Result<FeedResult> {
    let mut all = FeedResult::default();
    while let Some(done) = tasks.join_next().await {
        all.merge(&done??);
    }
    all.seconds = begin.elapsed().as_secs_f64();
    let shed = all.not_compared.get(&NotCompared::Shed).copied().unwrap_or(0);
    ensure!(
        shed == 0,
        "the scorer shed {shed} items, so the cost of an observation cannot be measured: lower the load"
    );
    Ok(all)
}

async fn connect(scorer: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(scorer).await?;
    stream.set_nodelay(true)?;
    // As wide as Envoy's own window, so that a batch is not cut into round trips.
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1 << 24)
        .initial_connection_window_size(1 << 24)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn send(sender: &mut SendRequest<Full<Bytes>>, scorer: SocketAddr, batch: Bytes) -> Result<BatchResult> {
    let request = Request::post(format!("http://{scorer}{}", frame::PATH))
        .header("content-type", frame::CONTENT_TYPE)
        .body(Full::new(batch))?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    ensure!(status == 200, "sending a batch: the scorer responded with {status}: {}", String::from_utf8_lossy(&body));
    Ok(serde_json::from_slice(&body)?)
}
