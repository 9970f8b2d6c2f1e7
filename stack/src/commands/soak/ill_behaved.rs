//! Clients that send garbage, upload slowly, or leave before their response.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Between two clients of one lane.
const PAUSE: Duration = Duration::from_millis(250);
/// A slow upload takes this long, in [`PIECES`] pieces.
const SLOW: Duration = Duration::from_secs(8);
const PIECES: u32 = 16;
const GARBAGE: [&str; 7] =
    ["not JSON", "", "{\"txn_ids\":[]}", "{\"txn_ids\":[\"bad\"]}", "{\"txn_ids\":null}", "[[[[[[[[", "\u{0}\u{1}"];
const GOOD: &str = "{\"txn_ids\":[88],\"mode\":\"auto\"}";
/// Lanes, each with one client at a time.
const LANES: [Kind; 18] = {
    let mut lanes = [Kind::Slow; 18];
    lanes[0] = Kind::Garbage;
    lanes[1] = Kind::Disconnects;
    lanes
};

#[derive(Debug, Clone, Copy)]
enum Kind {
    Garbage,
    Disconnects,
    Slow,
}

/// How the clients' connections have ended so far.
type Counts = Arc<Mutex<BTreeMap<&'static str, u64>>>;

/// Ill-behaved clients, which run until [`IllBehaved::finish`].
pub(crate) struct IllBehaved {
    lanes: JoinSet<()>,
    counts: Counts,
}

impl IllBehaved {
    pub(crate) fn start(gateway: SocketAddr) -> Self {
        let (mut lanes, counts) = (JoinSet::new(), Counts::default());
        for (lane, kind) in LANES.into_iter().enumerate() {
            let counts = Arc::clone(&counts);
            lanes.spawn(async move {
                for turn in lane.. {
                    let outcome = kind.visit(gateway, turn).await.unwrap_or("could not connect, or were cut off");
                    *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(outcome).or_default() += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        Self { lanes, counts }
    }

    /// Ends them and lists how their connections have ended.
    pub(crate) async fn finish(mut self) -> String {
        self.lanes.shutdown().await;
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
    }
}

impl Kind {
    async fn visit(self, gateway: SocketAddr, turn: usize) -> std::io::Result<&'static str> {
        let mut client = TcpStream::connect(gateway).await?;
        let garbage = GARBAGE.get(turn % GARBAGE.len()).copied().unwrap_or_default();
        let body = if matches!(self, Self::Garbage) { garbage } else { GOOD };
        let head = format!(
            "POST /ml/suggestions HTTP/1.1\r\nhost: perch\r\ncontent-type: application/json\r\n\
             {}: ill-{turn}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            contract::headers::DEMO_IDENTITY,
            body.len()
        );
        match self {
            Self::Disconnects => {
                client.write_all(head.as_bytes()).await?;
                let cut = if turn.is_multiple_of(3) { body.len() / 2 } else { body.len() };
                client.write_all(body.get(..cut).unwrap_or_default().as_bytes()).await?;
                // At once, or while application and candidate work at it.
                tokio::time::sleep(Duration::from_millis(turn as u64 % 4)).await;
                client.set_zero_linger()?;
                Ok("left before their response")
            }
            Self::Slow => {
                let whole = [head, body.to_owned()].concat();
                for piece in whole.as_bytes().chunks(whole.len().div_ceil(PIECES as usize)) {
                    tokio::time::sleep(SLOW / PIECES).await;
                    client.write_all(piece).await?;
                }
                client.read_to_end(&mut Vec::new()).await?;
                Ok("uploaded slowly and were served")
            }
            Self::Garbage => {
                client.write_all([head, body.to_owned()].concat().as_bytes()).await?;
                client.read_to_end(&mut Vec::new()).await?;
                Ok("sent garbage and had a response")
            }
        }
    }
}
