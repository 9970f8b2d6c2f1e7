//! The response to a call, and bodies in pieces, where Envoy keeps them.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use filter::pairs::Pairs;
use filter::plugin::host::{CallResponse, Refused};

use crate::abi::{self, Bytes, Header};

/// As many headers as most messages have at most.
pub(crate) const FEW_HEADERS: usize = 32;
/// As many pieces as most bodies come in at most.
pub(crate) const FEW_PIECES: usize = 8;

/// The response to a call, as Envoy shows it for the time of a hook.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Response<'a> {
    headers: &'a [Header],
    chunks: &'a [Bytes],
}

impl<'a> Response<'a> {
    /// # Safety
    /// `count` headers and `chunks_count` chunks, and all that they lead to, are readable and unchanged for `'a`.
    pub(crate) const unsafe fn new(
        (headers, count): (*const Header, usize),
        (chunks, chunks_count): (*const Bytes, usize),
    ) -> Self {
        // SAFETY: as the caller says.
        unsafe { Self { headers: abi::slice(headers, count), chunks: abi::slice(chunks, chunks_count) } }
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

impl CallResponse for Response<'_> {
    fn length(&self) -> usize {
        // SAFETY: readable, as `new` was promised.
        self.chunks.iter().map(|chunk| unsafe { chunk.read() }.len()).sum()
    }

    fn headers<T>(&self, _: &mut Vec<u8>, read: impl FnOnce(Pairs<'_>) -> T) -> Result<T, Refused> {
        Ok(Response::headers(*self, read))
    }

    fn body(&self, length: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        self.write_body(length, out);
        Ok(())
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

/// Shows `see` the `count` values that `fill` writes at the address it is given; `None` when it says that it could not.
/// A list of at most `FEW` stands on the stack.
///
/// # Safety
/// When `fill` says that it could, it has written them all.
pub(crate) unsafe fn listed<T: Copy, R, const FEW: usize>(
    count: usize,
    fill: impl FnOnce(*mut T) -> bool,
    see: impl FnOnce(&[T]) -> R,
) -> Option<R> {
    if count <= FEW {
        let mut list = [const { MaybeUninit::<T>::uninit() }; FEW];
        return fill(list.as_mut_ptr().cast()).then(|| {
            // SAFETY: so many are written, as the caller says, and live as long as the list.
            see(unsafe { std::slice::from_raw_parts(list.as_ptr().cast(), count) })
        });
    }
    // SAFETY: as the caller says.
    unsafe { listed_apart(count, fill, see) }
}

/// As [`listed`], of a list in memory that is asked for.
///
/// # Safety
/// As [`listed`].
#[cold]
unsafe fn listed_apart<T: Copy, R>(
    count: usize,
    fill: impl FnOnce(*mut T) -> bool,
    see: impl FnOnce(&[T]) -> R,
) -> Option<R> {
    let mut list = Vec::with_capacity(count);
    fill(list.as_mut_ptr()).then(|| {
        // SAFETY: there is room for them, and they are written, as the caller says.
        unsafe { list.set_len(count) };
        see(&list)
    })
}
