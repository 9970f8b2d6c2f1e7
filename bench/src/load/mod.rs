//! Clients: as fast as they can ([`Crowd::saturate`]), or at a constant rate ([`Crowd::steady`]).

mod client;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::client::Client;
pub(crate) use self::client::{Protocol, Target};
use crate::figures;
use crate::machine;
use crate::traffic::Exchange;

/// What clients saw.
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
    /// What a phase saw after this one.
    fn and(&mut self, samples: &[(u64, bool)], seconds: f64) {
        for (ns, model) in samples {
            self.all.push(*ns);
            if *model { self.model.push(*ns) } else { self.rules.push(*ns) }
        }
        self.sort();
        self.seconds += seconds;
    }

    /// What was seen at another time.
    pub(crate) fn add(&mut self, other: Self) {
        self.all.extend(other.all);
        self.model.extend(other.model);
        self.rules.extend(other.rules);
        self.sort();
        self.seconds += other.seconds;
    }

    fn sort(&mut self) {
        for list in [&mut self.all, &mut self.model, &mut self.rules] {
            list.sort_unstable();
        }
    }

    pub(crate) fn rate(&self) -> f64 {
        self.all.len() as f64 / self.seconds
    }

    /// In µs.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        figures::percentile(&self.all, share) / 1e3
    }
}

/// Most clients that stay connected after a phase at a constant rate: more than any needs whose gateway keeps up, few beside
/// the thousands that one needs which stood still for a moment.
const KEPT: usize = 256;

/// Clients that stay connected from one phase to the next, as a gateway's clients do: a phase may be short, and must not be
/// about connections.
pub(crate) struct Crowd {
    target: Target,
    exchanges: Arc<Vec<Exchange>>,
    idle: Arc<Mutex<Vec<Client>>>,
    /// Requests asked so far, so that a phase goes on with the next users.
    turn: usize,
}

impl Crowd {
    /// # Errors
    /// When one cannot connect.
    pub(crate) async fn connect(target: Target, exchanges: Arc<Vec<Exchange>>, clients: usize) -> Result<Self> {
        let idle = Arc::new(Mutex::new(Client::several(target, clients).await?));
        Ok(Self { target, exchanges, idle, turn: 0 })
    }

    /// Every different request once, for what has to be there before anything is measured.
    ///
    /// # Errors
    /// When an answer is missing or is not a 200.
    pub(crate) async fn once(&mut self) -> Result<()> {
        let mut client = Client::connect(self.target).await?;
        for turn in 0..self.exchanges.len() {
            client.ask(&self.exchanges, turn).await.with_context(|| format!("asking {}", self.target.address))?;
        }
        Ok(())
    }

    /// As fast as they can: each has a request under way all the time.
    ///
    /// # Errors
    /// When an answer is missing or is not a 200.
    pub(crate) async fn saturate(&mut self, length: Duration, seen: &mut Seen) -> Result<()> {
        let clients = std::mem::take(&mut *locked(&self.idle));
        let count = clients.len();
        let (begin, mut tasks) = (Instant::now(), JoinSet::new());
        for (number, mut client) in clients.into_iter().enumerate() {
            let (exchanges, mut turn) = (self.exchanges.clone(), self.turn + number);
            tasks.spawn(async move {
                let mut samples = Vec::new();
                while begin.elapsed() < length {
                    let sent = Instant::now();
                    let model = client.ask(&exchanges, turn).await?;
                    samples.push((nanoseconds(sent), model));
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
        seen.and(&samples, begin.elapsed().as_secs_f64());
        Ok(())
    }

    /// `rate` requests a second, evenly spaced, whatever becomes of the earlier ones. A latency counts from when its
    /// request was due, so that a request which had to wait for its turn says so (no coordinated omission). `false`, and
    /// nothing seen, where the last answer came half a second late: the rate is too high, or the machine stood still.
    ///
    /// # Errors
    /// When an answer is missing or is not a 200.
    pub(crate) async fn steady(&mut self, rate: f64, length: Duration, seen: &mut Seen) -> Result<bool> {
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
                let model = client.ask(&exchanges, turn).await?;
                let sample = (nanoseconds(due), model);
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
        locked(&self.idle).truncate(KEPT);
        let seconds = begin.elapsed().as_secs_f64();
        ensure!(samples.len() == requests, "{} answers to {requests} requests", samples.len());
        let kept_up = seconds < length.as_secs_f64() * 1.05 + 0.5;
        if kept_up {
            seen.and(&samples, seconds);
        }
        Ok(kept_up)
    }
}

fn locked(idle: &Mutex<Vec<Client>>) -> MutexGuard<'_, Vec<Client>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
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
