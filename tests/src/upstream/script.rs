//! What an upstream responds with: a response as it should be, and one fault more on the way.

use std::time::Duration;

use anyhow::Context as _;
use async_compression::tokio::bufread::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use bytes::Bytes;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;

/// How a connection ends that ends too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// TCP reset.
    Reset,
    /// TCP close, as a process does that exits in an orderly way.
    Close,
}

/// The body of a response.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// In one piece, with a length.
    Whole(Bytes),
    /// In pieces with a pause before each; no length is told.
    Pieces(Vec<Bytes>, Duration),
    /// The same piece again and again until the reader goes away.
    Endless(Bytes),
}

/// One scripted response.
#[derive(Debug, Clone)]
pub struct Script {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) payload: Payload,
    pub(crate) trailers: Vec<(String, String)>,
    pub(crate) delay: Duration,
    pub(crate) gate: Option<Gate>,
    pub(crate) cut: Option<(usize, Cut)>,
}

impl Script {
    /// `status` with `body`, and nothing said about its type.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            payload: Payload::Whole(body.into()),
            trailers: Vec::new(),
            delay: Duration::ZERO,
            gate: None,
            cut: None,
        }
    }

    /// `status` with a JSON body.
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status, body).header("content-type", "application/json")
    }

    /// Never responds; the request stays open until the other side gives up.
    #[must_use]
    pub fn never() -> Self {
        Self::new(200, "").gated(&Gate::closed())
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a trailer; the body then goes without a length.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Waits before the headers.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Waits before the headers until `gate` is open.
    #[must_use]
    pub fn gated(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// The body in pieces of `size` bytes, with `pause` before each, without a length.
    #[must_use]
    pub fn trickled(mut self, size: usize, pause: Duration) -> Self {
        if let Payload::Whole(body) = &self.payload {
            self.payload = Payload::Pieces(pieces(body, size), pause);
        }
        self
    }

    /// The body repeats until the reader goes away.
    #[must_use]
    pub fn endless(mut self) -> Self {
        if let Payload::Whole(body) = &self.payload {
            self.payload = Payload::Endless(body.clone());
        }
        self
    }

    /// The connection ends after `bytes` more bytes on the wire, framing included: 0 is before the headers, a dozen is
    /// inside them, and headers of a few hundred bytes leave the rest for the body.
    #[must_use]
    pub fn cut_after(mut self, bytes: usize, how: Cut) -> Self {
        self.cut = Some((bytes, how));
        self
    }

    /// The body compressed by `encoding` (`gzip`, `br`, `zstd` or `deflate`), with its header.
    ///
    /// # Errors
    /// When the encoding is none of these.
    pub async fn compressed(mut self, encoding: &str) -> anyhow::Result<Self> {
        if let Payload::Whole(body) = &self.payload {
            self.payload = Payload::Whole(compress(body, encoding).await?);
        }
        Ok(self.header("content-encoding", encoding))
    }
}

/// `body` compressed by `encoding` (`gzip`, `br`, `zstd` or `deflate`).
///
/// # Errors
/// When the encoding is none of these.
pub async fn compress(body: &[u8], encoding: &str) -> anyhow::Result<Bytes> {
    let mut out = Vec::new();
    match encoding {
        "gzip" => GzipEncoder::new(body).read_to_end(&mut out).await,
        "br" => BrotliEncoder::new(body).read_to_end(&mut out).await,
        "zstd" => ZstdEncoder::new(body).read_to_end(&mut out).await,
        "deflate" => ZlibEncoder::new(body).read_to_end(&mut out).await,
        other => anyhow::bail!("{other:?} is not an encoding that this upstream supports"),
    }
    .with_context(|| format!("compressing by {encoding}"))?;
    Ok(out.into())
}

/// `body` in pieces of at most `size` bytes.
#[must_use]
pub fn pieces(body: &Bytes, size: usize) -> Vec<Bytes> {
    let mut rest = body.clone();
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        pieces.push(rest.split_to(size.max(1).min(rest.len())));
    }
    pieces
}

/// Holds responses back until it is opened, so that a test decides the order of events and never a clock.
#[derive(Debug, Clone)]
pub struct Gate {
    open: std::sync::Arc<watch::Sender<bool>>,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn closed() -> Self {
        Self { open: std::sync::Arc::new(watch::Sender::new(false)) }
    }

    /// Lets everything through, now and later.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    pub(crate) async fn passed(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_put_together_are_the_body() {
        let body = Bytes::from_static(b"0123456789");
        for size in [0, 1, 3, 10, 11] {
            assert_eq!(pieces(&body, size).concat(), body);
        }
        assert!(pieces(&Bytes::new(), 4).is_empty());
    }

    #[tokio::test]
    async fn every_encoding_shortens_a_long_body() {
        for encoding in ["gzip", "br", "zstd", "deflate"] {
            assert!(compress(&[b'a'; 10_000], encoding).await.unwrap().len() < 1_000, "{encoding}");
        }
        assert!(compress(b"a", "rot13").await.is_err());
    }
}
