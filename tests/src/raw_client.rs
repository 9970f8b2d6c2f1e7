//! A client below HTTP: bytes as a test deals them out, and connections that end where it wants.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bodies that ask for nothing the application could respond to.
pub const GARBAGE: [&str; 7] =
    ["not JSON", "", "{\"txn_ids\":[]}", "{\"txn_ids\":[\"bad\"]}", "{\"txn_ids\":null}", "[[[[[[[[", "\u{0}\u{1}"];

/// A plain TCP connection.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
}

impl RawClient {
    /// Connects.
    ///
    /// # Errors
    /// When nothing listens there.
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Writes `bytes` as they are.
    ///
    /// # Errors
    /// When the other side has gone.
    pub async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Writes `bytes` in pieces of `size` with a pause before each.
    ///
    /// # Errors
    /// When the other side has gone.
    pub async fn trickle(&mut self, bytes: &[u8], size: usize, pause: Duration) -> anyhow::Result<()> {
        for piece in bytes.chunks(size.max(1)) {
            tokio::time::sleep(pause).await;
            self.stream.write_all(piece).await?;
        }
        Ok(())
    }

    /// Reads at least `bytes`, less only if the other side ends first.
    ///
    /// # Errors
    /// When the connection is reset.
    pub async fn read(&mut self, bytes: usize) -> anyhow::Result<Vec<u8>> {
        let mut read = Vec::new();
        while read.len() < bytes && self.stream.read_buf(&mut read).await? > 0 {}
        Ok(read)
    }

    /// Reads until the other side closes.
    ///
    /// # Errors
    /// When the connection is reset.
    pub async fn read_to_end(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut read = Vec::new();
        self.stream.read_to_end(&mut read).await?;
        Ok(read)
    }

    /// Ends the connection by a TCP reset.
    ///
    /// # Errors
    /// When the system refuses the option.
    pub fn reset(self) -> anyhow::Result<()> {
        Ok(self.stream.set_zero_linger()?)
    }
}

/// The bytes of an HTTP/1.1 `POST` with a length; `connection: close`, so that the response ends with the connection.
#[must_use]
pub fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("POST {path} HTTP/1.1\r\nhost: perch\r\nconnection: close\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Body of an HTTP/1.1 response with a length or until the end; the head is dropped.
#[must_use]
pub fn body_of(response: &[u8]) -> Option<&[u8]> {
    let head = response.windows(4).position(|window| window == b"\r\n\r\n")?;
    response.get(head + 4..)
}
