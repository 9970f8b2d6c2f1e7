//! Decides which requests are intercepted.
//!
//! Applications read `//ml/suggestions`, `/ml%2Fsuggestions` and `/ml/%73uggestions` as the same path, so they are
//! intercepted too; the request itself passes on as the client wrote it. The gateway resolves dot segments
//! (`normalize_path`).

use super::heads::RequestHead;

/// The method and the path, without query, of the requests that are intercepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intercept {
    /// The method, e.g. `POST`.
    pub method: String,
    /// The path, which begins with `/` and has no repeated slashes or escapes.
    pub path: String,
}

impl Intercept {
    /// Returns `true` if `path` is the intercepted one, with any query and in any spelling.
    #[must_use]
    pub fn is_path(&self, path: &[u8]) -> bool {
        let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
        path == self.path.as_bytes() || self.is_other_spelling(path)
    }

    fn is_other_spelling(&self, path: &[u8]) -> bool {
        let otherwise = path.contains(&b'%') || path.windows(2).any(|pair| pair == b"//");
        otherwise && canonical(path) == self.path.as_bytes()
    }

    /// Returns `true` if `method` is the intercepted one.
    #[must_use]
    pub fn is_method(&self, method: &[u8]) -> bool {
        method == self.method.as_bytes()
    }

    /// Returns `true` if the request is intercepted. An upgrade (e.g. to WebSocket) has no response to compare.
    #[must_use]
    pub fn takes(&self, head: &RequestHead<'_>) -> bool {
        self.is_method(head.method) && self.is_path(head.path) && !head.upgrade
    }
}

/// The path without escapes, and with one slash in place of several.
fn canonical(path: &[u8]) -> Vec<u8> {
    let digit = |at: usize| path.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(byte) = path.get(at) {
        let escaped = (*byte == b'%').then(|| Some((digit(at + 1)?, digit(at + 2)?))).flatten();
        let byte = escaped.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()).unwrap_or(*byte);
        at += if escaped.is_some() { 3 } else { 1 };
        if byte != b'/' || out.last() != Some(&b'/') {
            out.push(byte);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(method: &str, path: &str) -> bool {
        let rule = Intercept { method: "POST".into(), path: "/ml/suggestions".into() };
        rule.takes(&RequestHead { method: method.as_bytes(), path: path.as_bytes(), ..RequestHead::default() })
    }

    #[test]
    fn the_query_is_not_part_of_the_path() {
        assert!(takes("POST", "/ml/suggestions"));
        assert!(takes("POST", "/ml/suggestions?a=/x?y"));
        for other in ["/ml/suggestions/", "/ml/suggestion", "/ml/suggestions/feedback", "/", "", "?", "/ML/suggestions"]
        {
            assert!(!takes("POST", other), "{other}");
        }
    }

    #[test]
    fn another_spelling_of_the_path_is_intercepted_too() {
        for same in [
            "//ml/suggestions",
            "/ml//suggestions?a=//",
            "/ml%2Fsuggestions",
            "/ml/%2fsuggestions",
            "/%6dl/suggestions",
        ] {
            assert!(takes("POST", same), "{same}");
        }
        for other in
            ["/ml%252Fsuggestions", "/ml%2", "/ml/suggestions%3Fa", "/ml/suggestions//", "%", "/ml%zzsuggestions"]
        {
            assert!(!takes("POST", other), "{other}");
        }
    }

    #[test]
    fn other_methods_and_upgrades_pass() {
        for other in ["GET", "HEAD", "OPTIONS", "post", ""] {
            assert!(!takes(other, "/ml/suggestions"), "{other}");
        }
        let rule = Intercept { method: "GET".into(), path: "/live".into() };
        let upgrade = RequestHead { method: b"GET", path: b"/live", upgrade: true, ..RequestHead::default() };
        assert!(!rule.takes(&upgrade));
    }
}
