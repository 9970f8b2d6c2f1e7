//! What a call was answered with, and bodies in pieces.
#![allow(unsafe_code)]

use filter::pairs;

use crate::abi::{Bytes, Header};

/// What a call was answered with, as Envoy shows it for the time of a hook.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) headers: &'a [Header],
    chunks: &'a [Bytes],
}

impl<'a> Received<'a> {
    /// # Safety
    /// All that they lead to is readable for `'a`.
    pub(crate) const unsafe fn new(headers: &'a [Header], chunks: &'a [Bytes]) -> Self {
        Self { headers, chunks }
    }

    /// The body's bytes.
    pub(crate) fn length(self) -> usize {
        // SAFETY: readable, as `new` was promised.
        self.chunks.iter().map(|chunk| unsafe { chunk.read() }.len()).sum()
    }

    /// The headers into `out`, which is cleared.
    pub(crate) fn write_headers(self, out: &mut Vec<u8>) {
        // SAFETY: readable, as `new` was promised.
        pairs::write_each(out, self.headers.iter().map(|header| unsafe { header.read() }));
    }

    /// Appends the body's first `length` bytes.
    pub(crate) fn write_body(self, length: usize, out: &mut Vec<u8>) {
        // SAFETY: readable, as `new` was promised.
        append(self.chunks.iter().map(|chunk| unsafe { chunk.read() }), length, out);
    }
}

/// Appends the first `length` bytes of `chunks`, or all, if there are fewer.
pub(crate) fn append<'a>(chunks: impl Iterator<Item = &'a [u8]>, mut length: usize, out: &mut Vec<u8>) {
    for chunk in chunks {
        let part = chunk.get(..length).unwrap_or(chunk);
        out.extend_from_slice(part);
        length -= part.len();
    }
}
