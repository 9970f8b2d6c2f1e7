//! Is a request one of those that Perch is about? Envoy's matcher asks the same question before the filter is called;
//! this is for gateways that put the filter on all routes, and keeps a matcher that is too wide from doing harm.

use contract::names::Outcome;

use super::heads::RequestHead;

/// The method and the path, without query, of the requests that are intercepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intercept {
    /// As on the wire, e.g. `POST`.
    pub method: String,
    /// Begins with `/`, compared whole and as the client wrote it.
    pub path: String,
}

impl Intercept {
    /// Is it that path, whatever its query?
    #[must_use]
    pub fn is_path(&self, path: &[u8]) -> bool {
        path.split(|byte| *byte == b'?').next() == Some(self.path.as_bytes())
    }

    /// Is it that method?
    #[must_use]
    pub fn is_method(&self, method: &[u8]) -> bool {
        method == self.method.as_bytes()
    }

    /// `None` for a request that is intercepted, else why it is not. An upgrade (WebSocket and the like) is no request
    /// with an answer, and counts as another method.
    #[must_use]
    pub fn passes(&self, head: &RequestHead<'_>) -> Option<Outcome> {
        if !self.is_path(head.path) {
            Some(Outcome::SkippedPath)
        } else if !self.is_method(head.method) || head.upgrade {
            Some(Outcome::SkippedMethod)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(method: &str, path: &str) -> Option<Outcome> {
        let rule = Intercept { method: "POST".into(), path: "/ml/suggestions".into() };
        rule.passes(&RequestHead { method: method.as_bytes(), path: path.as_bytes(), ..RequestHead::default() })
    }

    #[test]
    fn the_query_is_no_part_of_the_path() {
        assert_eq!(passes("POST", "/ml/suggestions"), None);
        assert_eq!(passes("POST", "/ml/suggestions?a=/x?y"), None);
        for other in ["/ml/suggestions/", "/ml/suggestion", "/ml/suggestions/feedback", "/", "", "?", "/ML/suggestions"]
        {
            assert_eq!(passes("POST", other), Some(Outcome::SkippedPath), "{other}");
        }
    }

    #[test]
    fn other_methods_and_upgrades_pass() {
        for other in ["GET", "HEAD", "OPTIONS", "post", ""] {
            assert_eq!(passes(other, "/ml/suggestions"), Some(Outcome::SkippedMethod), "{other}");
        }
        let rule = Intercept { method: "GET".into(), path: "/live".into() };
        let upgrade = RequestHead { method: b"GET", path: b"/live", upgrade: true, ..RequestHead::default() };
        assert_eq!(rule.passes(&upgrade), Some(Outcome::SkippedMethod));
    }
}
