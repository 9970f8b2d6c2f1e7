//! One client with one request in flight at a time: a connection of its own, or a stream on one.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use contract::headers;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::traffic::{Exchange, USERS};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    H1,
    H2,
}

/// A server's address and protocol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
}

enum Sender {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

pub(crate) struct Client {
    sender: Sender,
    target: Target,
}

/// Clients that share an HTTP/2 connection.
const STREAMS: usize = 8;

impl Client {
    /// `count` clients: each with a connection of its own over HTTP/1.1, eight to a connection over HTTP/2.
    pub(crate) async fn several(target: Target, count: usize) -> Result<Vec<Self>> {
        let mut clients: Vec<Self> = Vec::with_capacity(count);
        while clients.len() < count {
            let shared = match clients.last().map(|client| &client.sender) {
                Some(Sender::H2(sender)) if !clients.len().is_multiple_of(STREAMS) => Some(Sender::H2(sender.clone())),
                _ => None,
            };
            clients.push(match shared {
                Some(sender) => Self { sender, target },
                None => Self::connect(target).await?,
            });
        }
        Ok(clients)
    }

    pub(crate) async fn connect(target: Target) -> Result<Self> {
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        let sender = match target.protocol {
            Protocol::H1 => {
                let (sender, connection) = http1::handshake(io).await?;
                tokio::spawn(connection);
                Sender::H1(sender)
            }
            Protocol::H2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                tokio::spawn(connection);
                Sender::H2(sender)
            }
        };
        Ok(Self { sender, target })
    }

    /// Sends the next request and reads the response to its end. Returns `true` if it is the candidate's.
    pub(crate) async fn send(&mut self, exchanges: &[Exchange], turn: usize) -> Result<bool> {
        let exchange = exchanges.get(turn % exchanges.len().max(1)).context("no requests")?;
        let uri = match self.target.protocol {
            Protocol::H1 => exchange.path.clone(),
            Protocol::H2 => format!("http://{}{}", self.target.address, exchange.path),
        };
        let mut request = Request::post(uri)
            .header("content-type", "application/json")
            .header("user-agent", "bench")
            .header(headers::DEMO_IDENTITY, format!("user-{}", turn % USERS));
        if self.target.protocol == Protocol::H1 {
            request = request.header("host", "gateway");
        }
        let request = request.body(Full::new(exchange.body.clone()))?;
        let response = match &mut self.sender {
            Sender::H1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::H2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        read(response).await
    }
}

async fn read(response: Response<Incoming>) -> Result<bool> {
    let (head, mut body) = response.into_parts();
    // The beginning of an error's body says why.
    let mut error_body = Vec::new();
    while let Some(frame) = body.frame().await {
        if let (false, Ok(data)) = (head.status == 200, frame?.into_data()) {
            error_body.extend(data.iter().take(200_usize.saturating_sub(error_body.len())));
        }
    }
    ensure!(head.status == 200, "the response has status {}: {}", head.status, String::from_utf8_lossy(&error_body));
    Ok(head.headers.get(headers::ARM) == Some(&HeaderValue::from_static("candidate")))
}
