//! Many clients at once, each of which looks at every response.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, ensure};
use contract::response::{self, ResponseSchema};

use crate::client::{Client, Protocol, request_body, suggest};

/// Items that each request asks for.
pub const ITEMS: u64 = 2;

/// What the clients saw.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Answers, all of them 200 and whole.
    pub responses: u64,
    /// Of these, from the model.
    pub model: u64,
    /// Of the others, for a user in the canary.
    pub fallbacks: u64,
}

/// A load under way.
pub struct Load {
    clients: tokio::task::JoinSet<anyhow::Result<Tally>>,
    begun: Arc<AtomicU64>,
    requests: u64,
}

impl Load {
    /// Starts `requests` requests of as many users as there are requests, from `connections` clients, for transactions
    /// from 1 to `transactions`.
    #[must_use]
    pub fn start(address: SocketAddr, requests: u64, connections: u64, transactions: i64) -> Self {
        let begun = Arc::new(AtomicU64::new(0));
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..connections {
            let protocol = if number % 2 == 0 { Protocol::H1 } else { Protocol::H2 };
            clients.spawn(client(address, protocol, begun.clone(), requests, transactions));
        }
        Self { clients, begun, requests }
    }

    /// Waits until `part` in `of` of the requests are begun.
    ///
    /// # Errors
    /// When the load has ended before, i.e. a client gave up.
    pub async fn reaches(&mut self, part: u64, of: u64) -> anyhow::Result<()> {
        while self.begun.load(Ordering::Relaxed) * of < self.requests * part {
            if self.clients.is_empty() {
                anyhow::bail!("all clients have given up");
            }
            if let Some(Ok(Err(error))) = self.clients.try_join_next() {
                return Err(error);
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Waits for the rest.
    ///
    /// # Errors
    /// When a client saw anything but 200 with a whole response.
    pub async fn finish(mut self) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        while let Some(client) = self.clients.join_next().await {
            let client = client??;
            tally.responses += client.responses;
            tally.model += client.model;
            tally.fallbacks += client.fallbacks;
        }
        Ok(tally)
    }
}

async fn client(
    address: SocketAddr,
    protocol: Protocol,
    begun: Arc<AtomicU64>,
    requests: u64,
    transactions: i64,
) -> anyhow::Result<Tally> {
    let mut client = Client::connect(address, protocol).await?;
    let mut tally = Tally::default();
    loop {
        let number = begun.fetch_add(1, Ordering::Relaxed);
        if number >= requests {
            return Ok(tally);
        }
        let first = i64::try_from(number)? % (transactions - 1) + 1;
        let request = suggest(&format!("user-{number}"), request_body([first, first + 1]))?;
        let response = client.send(request).await.with_context(|| format!("request {number}"))?;
        ensure!(response.status == 200, "request {number}: {}", response.status);
        let items = response::read(&response.body, &ResponseSchema::default())
            .with_context(|| format!("request {number}: {:?}", String::from_utf8_lossy(&response.body)))?;
        ensure!(items.len() as u64 == ITEMS, "request {number}: {} items", items.len());
        tally.responses += 1;
        tally.model += u64::from(response.arm() == "candidate");
        tally.fallbacks += u64::from(!response.fallback().is_empty());
    }
}
