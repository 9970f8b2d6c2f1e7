//! Clients: as fast as they can ([`saturate`]), or at a constant rate ([`steady`]).

mod client;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::client::Client;
pub(crate) use self::client::{Protocol, Target};
use crate::figures;
use crate::machine;
use crate::traffic::Exchange;

/// What the clients of a phase saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// ns of each answer, sorted.
    pub(crate) all: Vec<u64>,
    /// Those that the model gave.
    pub(crate) model: Vec<u64>,
    /// Those that the rules gave.
    pub(crate) rules: Vec<u64>,
    pub(crate) seconds: f64,
}

impl Seen {
    fn new(samples: &[(u64, bool)], seconds: f64) -> Self {
        let sorted = |keep: &dyn Fn(bool) -> bool| {
            let mut some: Vec<u64> = samples.iter().filter(|(_, model)| keep(*model)).map(|(ns, _)| *ns).collect();
            some.sort_unstable();
            some
        };
        Self { all: sorted(&|_| true), model: sorted(&|model| model), rules: sorted(&|model| !model), seconds }
    }

    pub(crate) fn rate(&self) -> f64 {
        self.all.len() as f64 / self.seconds
    }

    /// In µs.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        figures::percentile(&self.all, share) / 1e3
    }
}

/// `clients` clients, each with a request under way all the time.
///
/// # Errors
/// When an answer is missing or is not a 200.
pub(crate) async fn saturate(
    target: Target,
    exchanges: &Arc<Vec<Exchange>>,
    clients: usize,
    length: Duration,
) -> Result<Seen> {
    let connected = Client::several(target, clients).await?;
    let (begin, mut tasks) = (Instant::now(), JoinSet::new());
    for (number, mut client) in connected.into_iter().enumerate() {
        let exchanges = exchanges.clone();
        tasks.spawn(async move {
            let (mut samples, mut turn) = (Vec::new(), number);
            while begin.elapsed() < length {
                let sent = Instant::now();
                let model = client.ask(&exchanges, turn).await?;
                samples.push((nanoseconds(sent), model));
                turn += clients;
            }
            anyhow::Ok(samples)
        });
    }
    let mut samples = Vec::new();
    while let Some(done) = tasks.join_next().await {
        samples.extend(done??);
    }
    Ok(Seen::new(&samples, begin.elapsed().as_secs_f64()))
}

/// `rate` requests a second, evenly spaced, whatever becomes of the earlier ones. A latency counts from when its request
/// was due, so that a request which had to wait for its turn says so (no coordinated omission).
///
/// # Errors
/// When an answer is missing or is not a 200, or the clients cannot keep the rate.
pub(crate) async fn steady(
    target: Target,
    exchanges: &Arc<Vec<Exchange>>,
    rate: f64,
    length: Duration,
) -> Result<Seen> {
    let pool = Arc::new(Mutex::new(Client::several(target, 16).await?));
    let (due, mut dues) = mpsc::unbounded_channel();
    let requests = (rate * length.as_secs_f64()) as usize;
    let clock = std::thread::spawn(move || pace(rate, requests, &due));
    let (mut tasks, mut turn) = (JoinSet::new(), 0);
    let mut samples = Vec::with_capacity(requests);
    let begin = Instant::now();
    while let Some(due) = dues.recv().await {
        let idle = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (pool, exchanges) = (pool.clone(), exchanges.clone());
        tasks.spawn(async move {
            let mut client = match idle {
                Some(client) => client,
                None => Client::connect(target).await?,
            };
            let model = client.ask(&exchanges, turn).await?;
            let sample = (nanoseconds(due), model);
            pool.lock().unwrap_or_else(PoisonError::into_inner).push(client);
            anyhow::Ok(sample)
        });
        turn += 1;
        while let Some(done) = tasks.try_join_next() {
            samples.push(done??);
        }
    }
    while let Some(done) = tasks.join_next().await {
        samples.push(done??);
    }
    let _ = clock.join();
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(samples.len() == requests, "{} answers to {requests} requests", samples.len());
    ensure!(seconds < length.as_secs_f64() * 1.05 + 0.5, "{rate:.0} requests a second cannot be kept up");
    Ok(Seen::new(&samples, seconds))
}

/// Says when each request is due, from a thread of its own: a runtime's timers count in milliseconds.
fn pace(rate: f64, requests: usize, due: &mpsc::UnboundedSender<Instant>) {
    machine::punctual();
    let begin = Instant::now();
    for request in 0..requests {
        let at = begin + Duration::from_secs_f64(request as f64 / rate);
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        if due.send(at).is_err() {
            return;
        }
    }
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Asks once, for what has to be there before anything is measured.
///
/// # Errors
/// When an answer is missing or is not a 200.
pub(crate) async fn once(target: Target, exchanges: &Arc<Vec<Exchange>>) -> Result<()> {
    let mut client = Client::connect(target).await?;
    for turn in 0..exchanges.len() {
        client.ask(exchanges, turn).await.with_context(|| format!("asking {}", target.address))?;
    }
    Ok(())
}
