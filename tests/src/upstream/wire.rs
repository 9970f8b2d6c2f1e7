//! A connection that can be cut at a byte.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::script::Cut;

/// Cuts its connection once the bytes it still allows are written.
#[derive(Debug, Default)]
pub(super) struct ConnectionCut {
    left: Mutex<Option<(usize, Cut)>>,
    pub(super) cut: Notify,
}

impl ConnectionCut {
    /// Allows `bytes` more, then cuts.
    pub(super) fn cut_after(&self, bytes: usize, how: Cut) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some((bytes, how));
        if bytes == 0 {
            self.cut.notify_one();
        }
    }

    pub(super) fn how(&self) -> Option<Cut> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).map(|(_, how)| how)
    }

    fn allowed(&self) -> Option<usize> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).map(|(left, _)| left)
    }

    fn written(&self, bytes: usize) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((left, _)) = left.as_mut() {
            *left = left.saturating_sub(bytes);
            if *left == 0 {
                self.cut.notify_one();
            }
        }
    }
}

/// A TCP connection under [`ConnectionCut`].
pub(super) struct Wire {
    stream: TcpStream,
    connection_cut: Arc<ConnectionCut>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, connection_cut: Arc<ConnectionCut>) -> Self {
        Self { stream, connection_cut }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.connection_cut.how() == Some(Cut::Reset) {
            // Fails only where the peer is gone already.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let allowed = self.connection_cut.allowed();
        // Nothing more may be written: the connection's task is being told, and drops this.
        if allowed == Some(0) {
            return Poll::Pending;
        }
        let end = allowed.map_or(buf.len(), |allowed| allowed.min(buf.len()));
        let written = Pin::new(&mut self.stream).poll_write(cx, buf.get(..end).unwrap_or(buf));
        if let Poll::Ready(Ok(bytes)) = written {
            self.connection_cut.written(bytes);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
