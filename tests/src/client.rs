//! A client that sees what the wire carries: HTTP/1.1 or HTTP/2, one connection, no redirects, no decompression.

use std::net::SocketAddr;

use anyhow::Context as _;
use bytes::Bytes;
use contract::headers;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::channel_body::ChannelBody;

/// The path that Perch intercepts unless it is told otherwise.
pub const PATH: &str = "/ml/suggestions";

/// HTTP without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    H1,
    /// HTTP/2 by prior knowledge.
    H2,
}

/// One connection. Requests on it go one after the other.
#[derive(Debug)]
pub struct Client {
    sender: Sender,
    address: SocketAddr,
    // Dropping it ends the connection, and with it whatever is half way.
    connection: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
enum Sender {
    H1(http1::SendRequest<ChannelBody>),
    H2(http2::SendRequest<ChannelBody>),
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nothing listens there or the handshake fails.
    pub async fn connect(address: SocketAddr, protocol: Protocol) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        let (sender, connection) = match protocol {
            Protocol::H1 => {
                let (sender, connection) = http1::handshake(io).await?;
                // Its fault, if any, is what `send` returns.
                (Sender::H1(sender), tokio::spawn(async move { drop(connection.await) }))
            }
            Protocol::H2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                (Sender::H2(sender), tokio::spawn(async move { drop(connection.await) }))
            }
        };
        Ok(Self { sender, address, connection })
    }

    /// Sends a request and reads its response to the end.
    ///
    /// # Errors
    /// When the connection breaks before the response is whole.
    pub async fn send(&mut self, request: Request<ChannelBody>) -> anyhow::Result<ClientResponse> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        let response = match &mut self.sender {
            Sender::H1(sender) => {
                if !parts.headers.contains_key("host") {
                    parts.headers.insert("host", self.address.to_string().parse()?);
                }
                parts.uri = path.parse()?;
                sender.ready().await?;
                sender.send_request(Request::from_parts(parts, body)).await?
            }
            Sender::H2(sender) => {
                parts.uri = format!("http://{}{path}", self.address).parse()?;
                sender.ready().await?;
                sender.send_request(Request::from_parts(parts, body)).await?
            }
        };
        let (parts, body) = response.into_parts();
        let body = body.collect().await.context("the answer's body broke off")?;
        let trailers = body.trailers().cloned();
        Ok(ClientResponse { status: parts.status, headers: parts.headers, body: body.to_bytes(), trailers })
    }

    /// Connects, sends one request, and reads its response to the end.
    ///
    /// # Errors
    /// As [`Client::connect`] and [`Client::send`].
    pub async fn once(
        address: SocketAddr,
        protocol: Protocol,
        request: Request<ChannelBody>,
    ) -> anyhow::Result<ClientResponse> {
        Self::connect(address, protocol).await?.send(request).await
    }
}

/// Names and values, sorted.
pub type Headers = Vec<(String, Vec<u8>)>;

/// A whole response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as encoded as it came.
    pub body: Bytes,
    /// Its trailers, if it had any.
    pub trailers: Option<HeaderMap>,
}

impl ClientResponse {
    /// A header's value as text; empty where it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The arm, by its header; empty where there is none.
    #[must_use]
    pub fn arm(&self) -> &str {
        self.header(headers::ARM)
    }

    /// The reason of a fallback; empty where there was none.
    #[must_use]
    pub fn fallback(&self) -> &str {
        self.header(headers::FALLBACK)
    }

    /// Status, headers and body as far as they are the application's: without Perch's own headers and those that every
    /// proxy adds.
    #[must_use]
    pub fn of_the_application(&self) -> (u16, Headers, &[u8]) {
        const ADDED: [&str; 6] =
            ["date", "server", "x-envoy-upstream-service-time", "transfer-encoding", "content-length", "connection"];
        let headers = self.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        let mut kept: Vec<_> =
            headers.filter(|(name, _)| !name.starts_with(headers::PREFIX) && !ADDED.contains(&name.as_str())).collect();
        kept.sort();
        (self.status.as_u16(), kept, &self.body)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("not JSON: {:?}", String::from_utf8_lossy(&self.body)))
    }
}

/// `POST /ml/suggestions` with `body` from `user`.
///
/// # Errors
/// When the user's name is not a header value.
pub fn suggest(user: &str, body: impl Into<Bytes>) -> anyhow::Result<Request<ChannelBody>> {
    let mut request = post(PATH, body)?;
    request.headers_mut().insert(headers::DEMO_IDENTITY, user.parse()?);
    Ok(request)
}

/// `POST` of JSON to `path`, without a user.
///
/// # Errors
/// When the path is none.
pub fn post(path: &str, body: impl Into<Bytes>) -> anyhow::Result<Request<ChannelBody>> {
    Ok(Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("content-type", "application/json")
        .body(ChannelBody::whole(body))?)
}

/// `GET` of `path`.
///
/// # Errors
/// When the path is none.
pub fn get(path: &str) -> anyhow::Result<Request<ChannelBody>> {
    Ok(Request::builder().method(Method::GET).uri(path).body(ChannelBody::whole(""))?)
}

/// The body that asks for suggestions on `transactions`.
#[must_use]
pub fn request_body(transactions: impl IntoIterator<Item = i64>) -> Bytes {
    let ids: Vec<i64> = transactions.into_iter().collect();
    serde_json::json!({"txn_ids": ids, "top_k": 3, "mode": "auto"}).to_string().into()
}
