//! A secret that a caller must show: the operator's, and Alertmanager's.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Fewest characters: what is shorter can be guessed.
const SHORTEST: usize = 16;

/// A token. It is compared in constant time and never shown.
#[derive(Clone)]
pub struct Token(Vec<u8>);

/// A token that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its file cannot be read.
    #[error("reading the token {}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read its file.
    #[error("others can read a secret: `chmod 600 {}`", .0.display())]
    Open(PathBuf),
    /// It can be guessed.
    #[error("a token of {0} characters can be guessed: give at least {SHORTEST}, e.g. from `openssl rand -hex 16`")]
    Short(usize),
}

impl Token {
    /// `text` without the white space around it.
    ///
    /// # Errors
    /// When it is too short.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.len() < SHORTEST { Err(TokenError::Short(text.len())) } else { Ok(Self(text.as_bytes().to_vec())) }
    }

    /// The content of the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, others than its owner can read it, or what it holds is too short.
    pub fn from_file(path: &Path) -> Result<Self, TokenError> {
        let unreadable = |source| TokenError::Unreadable { path: path.to_path_buf(), source };
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(TokenError::Open(path.to_path_buf()));
        }
        Self::new(&fs::read_to_string(path).map_err(unreadable)?)
    }

    /// Is this the token? Takes as long for a wrong one as for the right one.
    #[must_use]
    pub fn is(&self, shown: &str) -> bool {
        // Tags of equal length are compared, so that not even the token's length can be measured.
        let tag = |text: &[u8]| keyed(b"perch token").chain_update(text).finalize();
        tag(&self.0) == tag(shown.as_bytes())
    }

    /// A code over `parts` that only who has the token can make, for one `purpose`.
    pub(super) fn code(&self, purpose: &'static str, parts: &[&str]) -> Code {
        let mut mac = keyed(&self.0);
        for part in std::iter::once(&purpose).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        Code(mac)
    }
}

/// A code that is either shown or checked.
pub(super) struct Code(Hmac<Sha256>);

impl Code {
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

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_the_token() {
        let token = Token::new(" 0123456789abcdef\n").unwrap();
        assert!(token.is("0123456789abcdef"));
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF"] {
            assert!(!token.is(wrong), "{wrong}");
        }
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn a_code_holds_for_its_parts_and_purpose_alone() {
        let token = Token::new("0123456789abcdef").unwrap();
        let code = token.code("a", &["x", "y"]).hex();
        assert!(token.code("a", &["x", "y"]).is(&code));
        assert!(!token.code("b", &["x", "y"]).is(&code));
        assert!(!token.code("a", &["xy", ""]).is(&code));
        assert!(!Token::new("another-token-16").unwrap().code("a", &["x", "y"]).is(&code));
    }

    #[test]
    fn what_can_be_read_or_guessed_is_refused_with_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "0123456789abcdef\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Token::from_file(&path).unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Token::from_file(&path).unwrap().is("0123456789abcdef"));
        assert!(Token::new("short").unwrap_err().to_string().contains("5 characters"));
    }
}
