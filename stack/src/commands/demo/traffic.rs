//! The users: each requests suggestions for a few transactions, at a moderate rate. The number of requests in flight is
//! bounded, so that on a busy machine the rate falls instead of every latency growing.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::headers;
use reqwest::Client;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const MAX_IN_FLIGHT: usize = 24;
const ITEMS: u64 = 3;

/// Whose response a client was given, by its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Served {
    /// The baseline, for a user outside of the canary.
    Baseline,
    /// The candidate.
    Candidate,
    /// The baseline, for a user in the canary, with the reason.
    Fallback(String),
}

/// One request's outcome as the client sees it.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    /// The user's number.
    pub(crate) user: u32,
    /// Microseconds from sending to the last byte.
    pub(crate) micros: u64,
    /// Whose response it was, or what went wrong.
    pub(crate) outcome: Result<Served, String>,
}

/// The users, their pace and their client.
#[derive(Debug, Clone)]
pub(crate) struct Traffic {
    http: Client,
    pub(crate) users: u32,
    requests: u32,
    rate: u32,
    transactions: u64,
}

impl Traffic {
    pub(crate) fn new(users: u32, requests: u32, rate: u32, transactions: u64) -> anyhow::Result<Self> {
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { http, users, requests, rate, transactions })
    }

    /// How many requests [`Traffic::drive`] sends.
    pub(crate) fn total(&self) -> u32 {
        self.users.saturating_mul(self.requests)
    }

    /// The identity of user `number`, as the demo's store names its users.
    pub(crate) fn identity(number: u32) -> String {
        format!("user-{:04}", u64::from(number) + 1)
    }

    /// Sends `requests` requests for every user, in mixed order. `along` is called with the number of requests sent so
    /// far.
    pub(crate) async fn drive(
        &self,
        gateway: &str,
        label: &str,
        mut along: impl AsyncFnMut(u32) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<Reply>> {
        let url: Arc<str> = format!("{gateway}/ml/suggestions").into();
        let room = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
        let mut in_flight = JoinSet::new();
        let mut replies = Vec::new();
        let total = self.total();
        let began = Instant::now();
        for sent in 0..total {
            along(sent).await?;
            tokio::time::sleep_until((began + self.due(sent)).into()).await;
            let permit = Arc::clone(&room).acquire_owned().await?;
            let (traffic, url) = (self.clone(), Arc::clone(&url));
            in_flight.spawn(async move {
                let reply = traffic.send(&url, mixed(sent, total, traffic.users), sent).await;
                drop(permit);
                reply
            });
            while let Some(reply) = in_flight.try_join_next() {
                replies.push(reply?);
            }
            progress(label, sent, total);
        }
        while let Some(reply) = in_flight.join_next().await {
            replies.push(reply?);
        }
        progress(label, total, total);
        Ok(replies)
    }

    fn due(&self, sent: u32) -> Duration {
        Duration::from_secs_f64(f64::from(sent) / f64::from(self.rate))
    }

    /// One request of `user`; `turn` chooses the transactions.
    pub(crate) async fn send(&self, url: &str, user: u32, turn: u32) -> Reply {
        let first = u64::from(user).wrapping_mul(7_919).wrapping_add(u64::from(turn).wrapping_mul(104_729));
        let ids: Vec<u64> =
            (0..ITEMS.min(self.transactions)).map(|step| (first + step) % self.transactions + 1).collect();
        let began = Instant::now();
        let outcome = self.exchange(url, user, &ids).await;
        Reply { user, micros: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX), outcome }
    }

    async fn exchange(&self, url: &str, user: u32, ids: &[u64]) -> Result<Served, String> {
        let body = serde_json::json!({ "txn_ids": ids, "top_k": 3, "mode": "auto" }).to_string();
        let response = self
            .http
            .post(url)
            .header(headers::DEMO_IDENTITY, Self::identity(user))
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .map_err(|error| format!("no response: {error:?}"))?;
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (arm, fallback) = (header(headers::ARM), header(headers::FALLBACK));
        let bytes = response.bytes().await.map_err(|error| format!("incomplete response: {error:?}"))?;
        if status != reqwest::StatusCode::OK {
            return Err(format!("status {status}"));
        }
        let items = contract::response::read(&bytes, &contract::response::ResponseSchema::default())
            .map_err(|fault| fault.to_string())?;
        if items.len() != ids.len() {
            return Err(format!("{} items for {} transactions", items.len(), ids.len()));
        }
        match (arm.as_deref(), fallback) {
            (Some("candidate"), None) => Ok(Served::Candidate),
            (Some("baseline"), Some(reason)) => Ok(Served::Fallback(reason)),
            // The backend itself and a plain Envoy name no arm.
            (Some("baseline") | None, None) => Ok(Served::Baseline),
            (arm, fallback) => Err(format!("arm {arm:?} with fallback {fallback:?}")),
        }
    }
}

/// The users in mixed order: a stride that shares no factor with their number visits each once a round.
fn mixed(sent: u32, total: u32, users: u32) -> u32 {
    debug_assert!(total >= users);
    let mut stride = users * 5 / 8 + 1;
    while gcd(stride, users) != 1 {
        stride += 1;
    }
    let at = u64::from(sent) * u64::from(stride) % u64::from(users);
    u32::try_from(at).unwrap_or(0)
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// On a terminal a line that grows; elsewhere nothing, a log does not need it.
fn progress(label: &str, done: u32, total: u32) {
    if !std::io::stderr().is_terminal() || !(done.is_multiple_of(100) || done == total) {
        return;
    }
    let percent = u64::from(done) * 100 / u64::from(total.max(1));
    eprint!("\r\x1b[K  {label} {percent}%");
    if done == total {
        eprint!("\r\x1b[K");
    }
    let _ = std::io::stderr().flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_sends_as_many_requests_as_every_other() {
        let (users, rounds) = (100, 3);
        let mut sent_by = vec![0; users as usize];
        for number in 0..users * rounds {
            sent_by[mixed(number, users * rounds, users) as usize] += 1;
        }
        assert!(sent_by.iter().all(|times| *times == rounds));
    }
}
