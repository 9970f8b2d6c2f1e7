//! Message authentication codes keyed by the operator's token ([`contract::token`]).

use std::fmt;

use contract::token::Token;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// A code, to be issued or verified.
pub(super) struct Code(Hmac<Sha256>);

impl Code {
    /// The code over `parts` for one `purpose`.
    pub(super) fn of(token: &Token, purpose: &'static str, parts: &[&str]) -> Self {
        let mut mac = keyed(token.current());
        for part in std::iter::once(&purpose).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        Self(mac)
    }

    /// Its 64 hex digits.
    pub(super) fn hex(self) -> String {
        use fmt::Write as _;
        self.0.finalize().into_bytes().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Returns `true` if `hex` is this code; takes constant time.
    pub(super) fn verify(self, hex: &str) -> bool {
        let tag = |text: &[u8]| keyed(b"perch code").chain_update(text).finalize();
        tag(self.hex().as_bytes()) == tag(hex.as_bytes())
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // HMAC accepts keys of every length, which the type cannot express.
    Hmac::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_valid_for_its_parts_and_purpose_only() {
        let token = Token::new("0123456789abcdef").unwrap();
        let code = Code::of(&token, "a", &["x", "y"]).hex();
        assert!(Code::of(&token, "a", &["x", "y"]).verify(&code));
        assert!(!Code::of(&token, "b", &["x", "y"]).verify(&code));
        assert!(!Code::of(&token, "a", &["xy", ""]).verify(&code));
        assert!(!Code::of(&Token::new("another-token-16").unwrap(), "a", &["x", "y"]).verify(&code));
    }
}
