//! Memory that receives the host's data.
//!
//! During a host call the host allocates memory in the module (`malloc`), writes into it, and returns the address
//! through the call's out pointers. So that a body needs no allocation and no second copy, a call first offers the
//! spare room of the buffer that is to hold the data; `malloc` hands out that room if it suffices and else makes a new
//! allocation, which the call then copies from and frees.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::cell::Cell;

thread_local! {
    /// Address and length of the offered room; length 0 for none.
    static OFFER: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// A new allocation of exactly `size` bytes; null if there is no memory, which the host accepts.
fn allocate(size: usize) -> *mut u8 {
    match Layout::array::<u8>(size) {
        // SAFETY: the size is not 0.
        Ok(layout) if size > 0 => unsafe { std::alloc::alloc(layout) },
        _ => std::ptr::null_mut(),
    }
}

/// Allocates memory for the host. The name is the ABI's.
#[unsafe(export_name = "malloc")]
extern "C" fn malloc(size: usize) -> *mut u8 {
    let (address, room) = OFFER.take();
    if (1..=room).contains(&size) { std::ptr::with_exposed_provenance_mut(address) } else { allocate(size) }
}

/// Makes a host call that returns data through two out pointers, and appends the data to `out`. `room` is how many
/// bytes to offer. `call` gets the out pointers and returns the host's status.
pub(super) fn receive(
    out: &mut Vec<u8>,
    room: usize,
    call: impl FnOnce(*mut *mut u8, *mut usize) -> u32,
) -> Result<(), u32> {
    out.reserve(room);
    let spare = out.spare_capacity_mut();
    let offered = spare.as_mut_ptr().expose_provenance();
    OFFER.set((offered, spare.len()));
    let mut data: *mut u8 = std::ptr::null_mut();
    let mut length: usize = 0;
    let status = call(&raw mut data, &raw mut length);
    OFFER.set((0, 0));
    if status != 0 {
        return Err(status);
    }
    if data.is_null() || length == 0 {
        return Ok(());
    }
    if data.expose_provenance() == offered && length <= out.capacity() - out.len() {
        // SAFETY: `malloc` handed out the room behind the buffer's last byte, which the buffer owns and nothing else
        // borrows while this function holds it mutably; the host wrote `length` bytes there, and they fit (checked
        // above), so the bytes up to the new length are initialised.
        unsafe { out.set_len(out.len() + length) };
    } else {
        // SAFETY: the address came from `allocate` during this call, which made an allocation of `length` bytes (the
        // host asks for exactly what it then reports) of the layout that a vector of that capacity has; the host wrote
        // all of it and keeps no pointer, so a vector may own it, copy it out and free it.
        let received = unsafe { Vec::from_raw_parts(data, length, length) };
        out.extend_from_slice(&received);
    }
    Ok(())
}
