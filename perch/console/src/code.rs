//! Codes that only who has the operator's token can make; the token itself is [`contract::token`]'s.

use std::fmt;

use contract::token::Token;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// A code that is either shown or checked.
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

    /// Is `hex` this code? In constant time.
    pub(super) fn is(self, hex: &str) -> bool {
        let tag = |text: &[u8]| keyed(b"perch code").chain_update(text).finalize();
        tag(self.hex().as_bytes()) == tag(hex.as_bytes())
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of every length; the type cannot say so.
    Hmac::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_holds_for_its_parts_and_purpose_alone() {
        let token = Token::new("0123456789abcdef").unwrap();
        let code = Code::of(&token, "a", &["x", "y"]).hex();
        assert!(Code::of(&token, "a", &["x", "y"]).is(&code));
        assert!(!Code::of(&token, "b", &["x", "y"]).is(&code));
        assert!(!Code::of(&token, "a", &["xy", ""]).is(&code));
        assert!(!Code::of(&Token::new("another-token-16").unwrap(), "a", &["x", "y"]).is(&code));
    }
}
