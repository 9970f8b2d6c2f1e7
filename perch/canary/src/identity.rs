//! A user's identity as the filter reads it, so that `explain` and the gateways agree.

/// Longest identity, in bytes, as in the filter (`filter/src/decision/identity.rs`).
pub const MAX_IDENTITY_BYTES: usize = 512;

/// The identity in the text of a header, cookie or claim: without the blanks around it. `None` if it is empty or too
/// long.
#[must_use]
pub fn usable(text: &[u8]) -> Option<&[u8]> {
    let text = text.trim_ascii();
    (1..=MAX_IDENTITY_BYTES).contains(&text.len()).then_some(text)
}
