//! What the filter takes for a user's identity, so that what is said of a user here is what a gateway does.

/// Longest identity, in bytes, as in the filter (`filter/src/decision/identity.rs`).
pub const MAX_IDENTITY_BYTES: usize = 512;

/// The identity that the filter makes of a header's, a cookie's or a claim's text: without blanks around it. `None` where
/// it takes the text for none: empty, or too long.
#[must_use]
pub fn usable(text: &[u8]) -> Option<&[u8]> {
    let text = text.trim_ascii();
    (1..=MAX_IDENTITY_BYTES).contains(&text.len()).then_some(text)
}
