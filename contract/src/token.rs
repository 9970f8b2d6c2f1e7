//! Bearer tokens that authorise changes. There are two, the operator's and Alertmanager's, each in a file of its own.
//!
//! A token is read from a file that only its owner may read, never from an argument or an environment variable, which every
//! process on the machine can list. The file holds one token per line, at most two, the current one first. So a token
//! is rotated without a gap: write the new one above the old one, restart `perch guard`, which reads its files when it
//! starts, give the new token to all callers, then delete the old line. The scorer needs no restart: its [`TokenFile`]
//! reads the file at each check.

use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Name of the operator's token file in the directory of a stack on one machine.
pub const OPERATOR_FILE: &str = "console-token";

/// Length of the shortest token, in characters. A shorter one could be guessed.
const SHORTEST: usize = 16;
/// Most tokens in a file: the current one, and the one before it.
const MOST: usize = 2;
/// Most bytes of a token file that are read.
const MOST_BYTES: u64 = 4 * 1024;

/// A token, and during a rotation the previous one. It is compared in constant time and never printed.
#[derive(Clone)]
pub struct Token {
    current: Vec<u8>,
    previous: Option<Vec<u8>>,
}

/// A token that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("reading the token {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Other users can read the file.
    #[error("the token file can be read by other users: `chmod 600 {}`", .0.display())]
    Open(PathBuf),
    /// The token is too short.
    #[error("a token of {0} characters can be guessed: give at least {SHORTEST}, e.g. from `openssl rand -hex 16`")]
    Short(usize),
    /// The file holds more tokens than a rotation needs.
    #[error("{0} tokens in one file: give the current one, and while it is rotated the one before it on a second line")]
    Many(usize),
}

impl Token {
    /// The tokens in `text`, one per line, without the white space around them.
    ///
    /// # Errors
    /// When there are more than two, or one is too short.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let checked = |line: &str| match line.len() {
            short if short < SHORTEST => Err(TokenError::Short(short)),
            _ => Ok(line.as_bytes().to_vec()),
        };
        let current = checked(lines.next().unwrap_or_default())?;
        let previous = lines.next().map(checked).transpose()?;
        match lines.count() {
            0 => Ok(Self { current, previous }),
            more => Err(TokenError::Many(MOST + more)),
        }
    }

    /// The content of the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, others than its owner can read it, or what it holds is not a token.
    pub fn from_file(path: &Path) -> Result<Self, TokenError> {
        let unreadable = |source| TokenError::Unreadable { path: path.to_path_buf(), source };
        let file = fs::File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(TokenError::Open(path.to_path_buf()));
        }
        let mut text = String::new();
        file.take(MOST_BYTES).read_to_string(&mut text).map_err(unreadable)?;
        Self::new(&text)
    }

    /// Returns `true` if `shown` is the token, or the previous one. Takes as long for a wrong token as for the right
    /// one.
    #[must_use]
    pub fn is(&self, shown: &str) -> bool {
        let previous = self.previous.as_ref().is_some_and(|token| same(token, shown.as_bytes()));
        same(&self.current, shown.as_bytes()) | previous
    }

    /// The current token's bytes, to present or to sign with.
    #[must_use]
    pub fn current(&self) -> &[u8] {
        &self.current
    }
}

/// Compares every byte of `shown`, whichever of them differ, so that the time reveals nothing about the secret.
fn same(secret: &[u8], shown: &[u8]) -> bool {
    let lengths = u8::from(secret.len() != shown.len());
    let differences = shown.iter().zip(secret.iter().cycle()).fold(lengths, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differences) == 0
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A token file that is read at each use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFile(PathBuf);

impl TokenFile {
    /// The token in the file at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The token as the file holds it now.
    ///
    /// # Errors
    /// As [`Token::from_file`].
    pub fn read(&self) -> Result<Token, TokenError> {
        Token::from_file(&self.0)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// The token in the value of an `authorization` header, if it is a bearer token.
#[must_use]
pub fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn only_the_token_itself_is_the_token() {
        let token = Token::new(" 0123456789abcdef\n").unwrap();
        assert!(token.is("0123456789abcdef"));
        for wrong in
            ["", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF", "0123456789abcdef0123456789abcdef"]
        {
            assert!(!token.is(wrong), "{wrong}");
        }
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn a_token_that_others_can_read_or_guess_is_refused_with_the_fix() {
        let (_folder, path) = file("0123456789abcdef\n", 0o644);
        assert!(Token::from_file(&path).unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Token::from_file(&path).unwrap().is("0123456789abcdef"));
        assert!(Token::new("short").unwrap_err().to_string().contains("5 characters"));
        assert!(Token::new("").unwrap_err().to_string().contains("0 characters"));
    }

    #[test]
    fn a_rotation_accepts_the_token_before_until_its_line_is_gone() {
        let (_folder, path) = file("old-token-0123456\n", 0o600);
        let tokens = TokenFile::new(&path);
        assert!(tokens.read().unwrap().is("old-token-0123456"));
        fs::write(&path, "new-token-0123456\nold-token-0123456\n").unwrap();
        let both = tokens.read().unwrap();
        assert!(both.is("new-token-0123456") && both.is("old-token-0123456"));
        assert_eq!(both.current(), b"new-token-0123456");
        fs::write(&path, "new-token-0123456\n").unwrap();
        assert!(!tokens.read().unwrap().is("old-token-0123456"));
        assert!(matches!(Token::new(&"0123456789abcdef\n".repeat(3)), Err(TokenError::Many(3))));
    }

    #[test]
    fn a_bearer_token_is_found_whatever_the_case_of_its_scheme() {
        assert_eq!(bearer("bearer abc"), Some("abc"));
        assert_eq!(bearer("Bearer  abc"), Some("abc"));
        assert_eq!((bearer("Basic abc"), bearer("abc")), (None, None));
    }
}
