//! Clients of a gateway: each with a request in flight all the time ([`ClientPool::closed_loop`]), or at a constant
//! rate ([`ClientPool::open_loop`]).

mod client;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::client::Client;
pub(crate) use self::client::{Protocol, Target};
use crate::latencies::Latencies;
use crate::machine;
use crate::traffic::Exchange;

/// Clients that stay connected after a phase at a constant rate, at most: more than a gateway needs that keeps up, and
/// few beside the thousands that one needs which stood still for a moment.
const MAX_IDLE: usize = 256;

/// Clients that stay connected from one phase to the next, as a gateway's clients do: a phase may be short, and must
/// not measure connections.
pub(crate) struct ClientPool {
    target: Target,
    exchanges: Arc<Vec<Exchange>>,
    idle: Arc<Mutex<Vec<Client>>>,
    /// Requests sent so far, so that a phase goes on with the next users.
    turn: usize,
}

impl ClientPool {
    /// # Errors
    /// When one cannot connect.
    pub(crate) async fn connect(target: Target, exchanges: Arc<Vec<Exchange>>, clients: usize) -> Result<Self> {
        let idle = Arc::new(Mutex::new(Client::several(target, clients).await?));
        Ok(Self { target, exchanges, idle, turn: 0 })
    }

    /// Sends every different request once, to fill caches before anything is measured.
    ///
    /// # Errors
    /// When a response is missing or is not a 200.
    pub(crate) async fn warm_up(&mut self) -> Result<()> {
        let mut client = Client::connect(self.target).await?;
        for turn in 0..self.exchanges.len() {
            client.send(&self.exchanges, turn).await.with_context(|| format!("sending to {}", self.target.address))?;
        }
        Ok(())
    }

    /// As fast as they can: each has a request in flight all the time.
    ///
    /// # Errors
    /// When a response is missing or is not a 200.
    pub(crate) async fn closed_loop(&mut self, length: Duration, latencies: &mut Latencies) -> Result<()> {
        let clients = std::mem::take(&mut *locked(&self.idle));
        let count = clients.len();
        let (begin, mut tasks) = (Instant::now(), JoinSet::new());
        for (number, mut client) in clients.into_iter().enumerate() {
            let (exchanges, mut turn) = (self.exchanges.clone(), self.turn + number);
            tasks.spawn(async move {
                let mut samples = Vec::new();
                while begin.elapsed() < length {
                    let sent = Instant::now();
                    let is_candidate = client.send(&exchanges, turn).await?;
                    samples.push((nanoseconds(sent), is_candidate));
                    turn += count;
                }
                anyhow::Ok((client, samples))
            });
        }
        let mut samples = Vec::new();
        while let Some(done) = tasks.join_next().await {
            let (client, some) = done??;
            locked(&self.idle).push(client);
            samples.extend(some);
        }
        self.turn += samples.len();
        latencies.record(&samples, begin.elapsed().as_secs_f64())
    }

    /// `rate` requests a second, evenly spaced, also while earlier ones are late. A latency counts from when its
    /// request was due, so that it includes the wait for a late predecessor (no coordinated omission). Returns `false`,
    /// and records nothing, where the last response came half a second late: the rate is too high, or the machine stood
    /// still.
    ///
    /// # Errors
    /// When a response is missing or is not a 200.
    pub(crate) async fn open_loop(&mut self, rate: f64, length: Duration, latencies: &mut Latencies) -> Result<bool> {
        let (due, mut dues) = mpsc::unbounded_channel();
        let requests = (rate * length.as_secs_f64()) as usize;
        let clock = std::thread::spawn(move || pace(rate, requests, &due));
        let mut tasks = JoinSet::new();
        let mut samples = Vec::with_capacity(requests);
        let begin = Instant::now();
        while let Some(due) = dues.recv().await {
            let client = locked(&self.idle).pop();
            let (idle, exchanges, turn, target) = (self.idle.clone(), self.exchanges.clone(), self.turn, self.target);
            tasks.spawn(async move {
                let mut client = match client {
                    Some(client) => client,
                    None => Client::connect(target).await?,
                };
                let is_candidate = client.send(&exchanges, turn).await?;
                let sample = (nanoseconds(due), is_candidate);
                locked(&idle).push(client);
                anyhow::Ok(sample)
            });
            self.turn += 1;
            while let Some(done) = tasks.try_join_next() {
                samples.push(done??);
            }
        }
        while let Some(done) = tasks.join_next().await {
            samples.push(done??);
        }
        let _ = clock.join();
        locked(&self.idle).truncate(MAX_IDLE);
        let seconds = begin.elapsed().as_secs_f64();
        ensure!(samples.len() == requests, "{} responses to {requests} requests", samples.len());
        let kept_up = seconds < length.as_secs_f64() * 1.05 + 0.5;
        if kept_up {
            latencies.record(&samples, seconds)?;
        }
        Ok(kept_up)
    }
}

fn locked(idle: &Mutex<Vec<Client>>) -> MutexGuard<'_, Vec<Client>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends the time at which each request is due, from a thread of its own: a runtime's timers count in milliseconds.
fn pace(rate: f64, requests: usize, due: &mpsc::UnboundedSender<Instant>) {
    machine::minimise_timer_slack();
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
