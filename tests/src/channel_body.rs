//! A body that is fed while it is sent, or cut off in the middle: for trickling, endless and half-way sides.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// The feeding end.
#[derive(Debug, Clone)]
pub struct Feed(mpsc::Sender<Frame<Bytes>>);

impl Feed {
    /// Sends a frame as soon as the one before is taken; `false` when the reader is gone.
    pub async fn send(&self, frame: Frame<Bytes>) -> bool {
        self.0.send(frame).await.is_ok()
    }

    /// Sends `bytes`; `false` when the reader is gone.
    pub async fn data(&self, bytes: impl Into<Bytes>) -> bool {
        self.send(Frame::data(bytes.into())).await
    }
}

/// The body: either whole, with a length, or fed frame by frame until every [`Feed`] is dropped.
#[derive(Debug)]
pub enum ChannelBody {
    /// In one piece, with a length.
    Whole(Option<Bytes>),
    /// From a [`Feed`].
    Fed(mpsc::Receiver<Frame<Bytes>>),
}

impl ChannelBody {
    /// A body of known length.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()).filter(|bytes| !bytes.is_empty()))
    }
}

/// A fed body and its feed.
#[must_use]
pub fn channel() -> (Feed, ChannelBody) {
    let (sender, receiver) = mpsc::channel(1);
    (Feed(sender), ChannelBody::Fed(receiver))
}

impl Body for ChannelBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Fed(receiver) => receiver.poll_recv(cx).map(|frame| frame.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Fed(_) => SizeHint::default(),
        }
    }
}
