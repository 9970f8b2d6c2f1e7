//! An upstream that does what a test tells it, in place of the rules or of the scorer.
//!
//! It speaks HTTP/1.1 and HTTP/2 without TLS on one port, records what it received, and responds to each request by a
//! [`Script`]. Faults lie on the wire, below HTTP, so that they are the same for both protocols.

mod script;
mod wire;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::channel_body::{self, ChannelBody};
use script::Payload;
pub use script::{Cut, Gate, Script, compress, pieces};
use wire::{ConnectionCut, Wire};

/// Between the last byte before a cut and the cut, so that the peer has read what was sent and the fault is a broken
/// response rather than a lost one. Nothing waits for it but the fault itself.
const BEFORE_CUT: Duration = Duration::from_millis(30);

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// Its headers.
    pub headers: HeaderMap,
    /// What came of its body.
    pub body: Bytes,
    /// Its trailers, empty where it had none.
    pub trailers: HeaderMap,
    /// `true` if its body ended properly.
    pub whole: bool,
}

impl Received {
    /// A request that never arrived, with `body`: to compute the response to it.
    #[must_use]
    pub fn with_body(body: Bytes) -> Self {
        Self {
            method: Method::POST,
            path: String::new(),
            version: Version::HTTP_11,
            headers: HeaderMap::new(),
            body,
            trailers: HeaderMap::new(),
            whole: true,
        }
    }

    /// A header's value as text; empty where it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

type Handler = dyn Fn(&Received) -> Script + Send + Sync;

struct Policy {
    handler: Arc<Handler>,
    at_head: bool,
}

struct Shared {
    policy: Mutex<Policy>,
    received: Mutex<Vec<Received>>,
    keep: AtomicBool,
    hits: AtomicU64,
    open: AtomicU64,
}

impl Shared {
    fn received(&self) -> std::sync::MutexGuard<'_, Vec<Received>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn policy(&self) -> std::sync::MutexGuard<'_, Policy> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running upstream; dropping it closes its port and all its connections.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    _connections: JoinSet<()>,
}

impl Upstream {
    /// Starts on a free loopback port and responds by `handler`, once a request's body has ended.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(handler: impl Fn(&Received) -> Script + Send + Sync + 'static) -> anyhow::Result<Self> {
        Self::start_at("127.0.0.1:0".parse()?, handler).await
    }

    /// As [`Upstream::start`], at an address that was known before.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn start_at(
        address: SocketAddr,
        handler: impl Fn(&Received) -> Script + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("upstream at {address}"))?;
        let shared = Arc::new(Shared {
            policy: Mutex::new(Policy { handler: Arc::new(handler), at_head: false }),
            received: Mutex::default(),
            keep: AtomicBool::new(true),
            hits: AtomicU64::new(0),
            open: AtomicU64::new(0),
        });
        let address = listener.local_addr()?;
        let mut connections = JoinSet::new();
        connections.spawn(accept(listener, shared.clone()));
        Ok(Self { address, shared, _connections: connections })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers by `script` from now on.
    pub fn respond(&self, script: Script) {
        self.respond_with(move |_| script.clone());
    }

    /// Answers by `handler` from now on.
    pub fn respond_with(&self, handler: impl Fn(&Received) -> Script + Send + Sync + 'static) {
        *self.shared.policy() = Policy { handler: Arc::new(handler), at_head: false };
    }

    /// Answers by `script` from now on as soon as a request's headers are there, and reads its body meanwhile.
    pub fn respond_at_head(&self, script: Script) {
        *self.shared.policy() = Policy { handler: Arc::new(move |_| script.clone()), at_head: true };
    }

    /// Keeps no requests from now on, for load.
    pub fn forget_received(&self) {
        self.shared.keep.store(false, Ordering::Relaxed);
        self.shared.received().clear();
    }

    /// The requests so far, in the order of their heads.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.shared.received().clone()
    }

    /// The last request.
    ///
    /// # Errors
    /// When there was none.
    pub fn last(&self) -> anyhow::Result<Received> {
        self.shared.received().last().cloned().context("the upstream has received nothing")
    }

    /// How many requests came, kept or not.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.shared.hits.load(Ordering::Relaxed)
    }

    /// How many requests are under way.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.shared.open.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(serve(stream, shared.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // A refused option costs only speed.
    let _ = stream.set_nodelay(true);
    let connection_cut = Arc::new(ConnectionCut::default());
    let wire = TokioIo::new(Wire::new(stream, connection_cut.clone()));
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let (shared, connection_cut) = (shared.clone(), connection_cut.clone());
        async move { Ok::<_, Infallible>(response(request, shared, connection_cut).await) }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    let cut = async {
        connection_cut.cut.notified().await;
        tokio::time::sleep(BEFORE_CUT).await;
    };
    tokio::select! {
        _ = server.serve_connection(wire, service) => {}
        () = cut => {}
    }
}

/// Counts a request as open until it is dropped, whichever way it ends.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        shared.hits.fetch_add(1, Ordering::Relaxed);
        shared.open.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn response(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    connection_cut: Arc<ConnectionCut>,
) -> Response<ChannelBody> {
    let open = Open::new(shared.clone());
    let (parts, body) = request.into_parts();
    let mut received = Received {
        method: parts.method,
        path: parts.uri.path_and_query().map_or_else(|| parts.uri.to_string(), ToString::to_string),
        version: parts.version,
        headers: parts.headers,
        body: Bytes::new(),
        trailers: HeaderMap::new(),
        whole: false,
    };
    let kept = shared.keep.load(Ordering::Relaxed).then(|| {
        let mut list = shared.received();
        list.push(received.clone());
        list.len() - 1
    });
    let (handler, at_head) = {
        let policy = shared.policy();
        (policy.handler.clone(), policy.at_head)
    };
    if at_head {
        let head = received.clone();
        tokio::spawn(async move { read(body, &mut received, kept, &shared).await });
        return run_script(handler(&head), connection_cut, open).await;
    }
    read(body, &mut received, kept, &shared).await;
    run_script(handler(&received), connection_cut, open).await
}

/// Reads the body to its end, and keeps what came even if it is not whole.
async fn read(mut body: Incoming, received: &mut Received, kept: Option<usize>, shared: &Shared) {
    let mut bytes = BytesMut::new();
    received.whole = loop {
        match body.frame().await {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => bytes.extend_from_slice(&data),
                Err(frame) => received.trailers = frame.into_trailers().unwrap_or_default(),
            },
        }
    };
    received.body = bytes.freeze();
    if let Some(at) = kept
        && let Some(slot) = shared.received().get_mut(at)
    {
        *slot = received.clone();
    }
}

async fn run_script(script: Script, connection_cut: Arc<ConnectionCut>, open: Open) -> Response<ChannelBody> {
    tokio::time::sleep(script.delay).await;
    if let Some(gate) = &script.gate {
        gate.passed().await;
    }
    if let Some((bytes, how)) = script.cut {
        connection_cut.cut_after(bytes, how);
        if bytes == 0 {
            std::future::pending::<()>().await;
        }
    }
    let mut response = Response::new(body(script.payload, &script.trailers, open));
    *response.status_mut() = http::StatusCode::from_u16(script.status).unwrap_or(http::StatusCode::OK);
    *response.headers_mut() = header_map(&script.headers);
    response
}

/// The body as frames. `open` goes with it, so that the request stays open until its response is read or given up.
fn body(payload: Payload, trailers: &[(String, String)], open: Open) -> ChannelBody {
    let trailers = header_map(trailers);
    if let (Payload::Whole(bytes), true) = (&payload, trailers.is_empty()) {
        return ChannelBody::whole(bytes.clone());
    }
    let (sender, body) = channel_body::channel();
    tokio::spawn(async move {
        let _open = open;
        let sent = match payload {
            Payload::Whole(bytes) => sender.send(Frame::data(bytes)).await,
            Payload::Pieces(pieces, pause) => {
                let mut sent = true;
                for piece in pieces {
                    tokio::time::sleep(pause).await;
                    sent = sender.send(Frame::data(piece)).await;
                    if !sent {
                        break;
                    }
                }
                sent
            }
            Payload::Endless(piece) => {
                while sender.send(Frame::data(piece.clone())).await {}
                false
            }
        };
        if sent && !trailers.is_empty() {
            sender.send(Frame::trailers(trailers)).await;
        }
    });
    body
}

fn header_map(pairs: &[(String, String)]) -> HeaderMap {
    pairs
        .iter()
        .filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Client, Protocol, get, post};
    use crate::eventually::eventually;

    const BOTH: [Protocol; 2] = [Protocol::H1, Protocol::H2];

    #[tokio::test]
    async fn it_responds_by_script_and_records_requests() {
        for protocol in BOTH {
            let upstream = Upstream::start(|_| Script::json(203, r#"{"a":1}"#).header("x-a", "b")).await.unwrap();
            let response = Client::once(upstream.address(), protocol, post("/p?q", "body").unwrap()).await.unwrap();
            assert_eq!((response.status.as_u16(), response.header("x-a")), (203, "b"));
            assert_eq!(&response.body[..], br#"{"a":1}"#);
            let received = upstream.last().unwrap();
            assert_eq!((received.path.as_str(), &received.body[..], received.whole), ("/p?q", &b"body"[..], true));
        }
    }

    #[tokio::test]
    async fn a_cut_before_the_headers_in_them_and_in_the_body_breaks_the_response() {
        for protocol in BOTH {
            for how in [Cut::Reset, Cut::Close] {
                for bytes in [0, 12, 2_000] {
                    let upstream = Upstream::start(move |_| Script::new(200, vec![b'a'; 9_000]).cut_after(bytes, how));
                    let upstream = upstream.await.unwrap();
                    let response = Client::once(upstream.address(), protocol, get("/").unwrap()).await;
                    assert!(response.is_err(), "{protocol:?} {how:?} after {bytes}: {response:?}");
                    assert_eq!(upstream.hits(), 1);
                }
            }
        }
    }

    #[tokio::test]
    async fn pieces_and_trailers_arrive() {
        for protocol in BOTH {
            let script = Script::new(200, "0123456789").trickled(3, Duration::ZERO).trailer("x-end", "yes");
            let upstream = Upstream::start(move |_| script.clone()).await.unwrap();
            let mut request = get("/").unwrap();
            if protocol == Protocol::H1 {
                // HTTP/1.1 sends trailers only to those who say that they take them.
                request.headers_mut().insert("te", "trailers".parse().unwrap());
            }
            let response = Client::once(upstream.address(), protocol, request).await.unwrap();
            assert_eq!(&response.body[..], b"0123456789");
            assert!(response.header("content-length").is_empty());
            if protocol == Protocol::H2 {
                assert_eq!(response.trailers.unwrap().get("x-end").unwrap(), "yes");
            }
        }
    }

    #[tokio::test]
    async fn a_gate_holds_a_response_and_a_client_that_leaves_ends_its_request() {
        let gate = Gate::closed();
        let held = gate.clone();
        let upstream = Upstream::start(move |_| Script::new(200, "").gated(&held)).await.unwrap();
        let address = upstream.address();
        let leaves = tokio::spawn(async move { Client::once(address, Protocol::H2, get("/").unwrap()).await });
        let open = |count| {
            let upstream = &upstream;
            eventually("open requests", move || async move {
                anyhow::ensure!(upstream.open() == count, "{} are", upstream.open());
                Ok(())
            })
        };
        open(1).await.unwrap();
        leaves.abort();
        open(0).await.unwrap();
        gate.open();
        assert!(Client::once(address, Protocol::H2, get("/").unwrap()).await.is_ok());
    }

    #[tokio::test]
    async fn an_endless_body_goes_on_until_its_reader_leaves() {
        let upstream = Upstream::start(|_| Script::new(200, vec![b'a'; 1000]).endless()).await.unwrap();
        let mut raw = crate::raw_client::RawClient::connect(upstream.address()).await.unwrap();
        raw.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert!(raw.read(1_000_000).await.unwrap().len() >= 1_000_000);
        drop(raw);
        eventually("the request ends", || async {
            anyhow::ensure!(upstream.open() == 0, "it is open");
            Ok(())
        })
        .await
        .unwrap();
    }
}
