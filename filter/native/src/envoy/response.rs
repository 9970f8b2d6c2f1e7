//! What a call was answered with, and bodies in pieces.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use filter::pairs::Pairs;

use crate::abi::{Bytes, Header};

/// As many headers as most messages have at most.
pub(crate) const FEW_HEADERS: usize = 32;
/// As many pieces as most bodies come in at most.
pub(crate) const FEW_PIECES: usize = 8;

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

    /// Shows the headers to `read`.
    pub(crate) fn headers<T>(self, read: impl FnOnce(Pairs<'_>) -> T) -> T {
        // SAFETY: readable, as `new` was promised.
        unsafe { shown(self.headers, read) }
    }

    /// Appends the body's first `length` bytes.
    pub(crate) fn write_body(self, length: usize, out: &mut Vec<u8>) {
        // SAFETY: readable, as `new` was promised.
        append(self.chunks.iter().map(|chunk| unsafe { chunk.read() }), length, out);
    }
}

/// Shows headers to `read`, where they lie. Those of most messages are so few that no memory need be asked for.
///
/// # Safety
/// All that they lead to is readable until `read` is done.
pub(crate) unsafe fn shown<T>(headers: &[Header], read: impl FnOnce(Pairs<'_>) -> T) -> T {
    let mut few = [const { MaybeUninit::<(&[u8], &[u8])>::uninit() }; FEW_HEADERS];
    if headers.len() <= FEW_HEADERS {
        for (place, header) in few.iter_mut().zip(headers) {
            // SAFETY: as the caller says.
            place.write(unsafe { header.read() });
        }
        // SAFETY: so many are written, and live as long as the list.
        return read(Pairs::listed(unsafe { std::slice::from_raw_parts(few.as_ptr().cast(), headers.len()) }));
    }
    // SAFETY: as the caller says.
    let list: Vec<_> = headers.iter().map(|header| unsafe { header.read() }).collect();
    read(Pairs::listed(&list))
}

/// Appends the first `length` bytes of `chunks`, or all, if there are fewer. How many it lacks then.
pub(crate) fn append<'a>(chunks: impl Iterator<Item = &'a [u8]>, mut length: usize, out: &mut Vec<u8>) -> usize {
    for chunk in chunks {
        let part = chunk.get(..length).unwrap_or(chunk);
        out.extend_from_slice(part);
        length -= part.len();
    }
    length
}
