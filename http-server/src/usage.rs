//! Which connections are closed for the sake of others.
//!
//! Once three quarters of the connections are taken, an HTTP/1.1 connection is closed after its current request, and one
//! without a request after [`SHORT_IDLE_LIMIT`]. Gateways use few h2c connections, which may be idle for
//! [`GATEWAY_IDLE_LIMIT`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Version;
use tokio::sync::Semaphore;

/// Longest time without a request on an HTTP/1.1 connection while few connections are left.
const SHORT_IDLE_LIMIT: Duration = Duration::from_secs(1);
/// The same for h2c, which gateways use: closing such a connection can cost the gateway a request.
const GATEWAY_IDLE_LIMIT: Duration = Duration::from_secs(10);

/// Whether a connection is in use, and whether few others are left.
pub(crate) struct Usage {
    room: Arc<Semaphore>,
    /// Fewer connections than this are few.
    few: usize,
    /// Longest time until the first request.
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
struct State {
    /// Requests without a response yet.
    in_flight: usize,
    /// HTTP version of the last request, if there was one.
    version: Option<Version>,
    /// When `in_flight` last changed.
    since: Instant,
}

/// A request without a response yet; counted until dropped.
pub(crate) struct InFlight {
    pub(crate) usage: Arc<Usage>,
}

impl InFlight {
    pub(crate) fn begin(usage: Arc<Usage>, version: Version) -> Self {
        let mut state = usage.state();
        *state = State { in_flight: state.in_flight + 1, version: Some(version), since: Instant::now() };
        drop(state);
        Self { usage }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.usage.state();
        *state = State { in_flight: state.in_flight.saturating_sub(1), since: Instant::now(), ..*state };
    }
}

impl Usage {
    pub(crate) fn new(room: Arc<Semaphore>, few: usize, patience: Duration) -> Self {
        let state = Mutex::new(State { in_flight: 0, version: None, since: Instant::now() });
        Self { room, few, patience, state }
    }

    /// Completes once the connection has been idle for longer than allowed.
    pub(crate) async fn idle_for_too_long(&self) {
        let patience = self.patience;
        loop {
            tokio::time::sleep(SHORT_IDLE_LIMIT.min(patience)).await;
            let State { in_flight, version, since } = *self.state();
            let limit = match (version, self.few_are_left()) {
                // Until the first request the protocol is unknown, so none of its timeouts applies.
                (None, false) => patience,
                (None, true) => SHORT_IDLE_LIMIT.min(patience),
                (Some(_), false) => continue,
                (Some(Version::HTTP_2), true) => GATEWAY_IDLE_LIMIT,
                (Some(_), true) => SHORT_IDLE_LIMIT,
            };
            if in_flight == 0 && since.elapsed() >= limit {
                return;
            }
        }
    }

    /// Returns `true` if few more connections are allowed.
    pub(crate) fn few_are_left(&self) -> bool {
        self.room.available_permits() < self.few
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
