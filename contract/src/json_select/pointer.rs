//! JSON pointers (RFC 6901).

use std::borrow::Cow;

/// A JSON pointer, split into its steps and unescaped. The default points to the whole document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pointer<'p>(Vec<Cow<'p, str>>);

impl<'p> Pointer<'p> {
    /// Parses e.g. `/candidates/0/label`. Returns `None` unless the text is empty or begins with `/`, and where a `~` is
    /// not part of `~0` (which stands for `~`) or `~1` (for `/`).
    #[must_use]
    pub fn parse(text: &'p str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        text.strip_prefix('/')?.split('/').map(unescape).collect::<Option<_>>().map(Self)
    }

    /// Returns `true` if it points to the whole document.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The same pointer, independent of the text that it was parsed from.
    #[must_use]
    pub fn into_owned(self) -> Pointer<'static> {
        Pointer(self.0.into_iter().map(|step| Cow::Owned(step.into_owned())).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The name of the member that the step at `depth` leads to.
    pub(super) fn name(&self, depth: usize) -> Option<&str> {
        self.0.get(depth).map(AsRef::as_ref)
    }

    /// The index of the array element that the step at `depth` leads to: digits without a leading zero.
    pub(super) fn index(&self, depth: usize) -> Option<usize> {
        let step = self.name(depth)?;
        let canonical = step == "0" || !step.starts_with(['0', '+']);
        step.parse().ok().filter(|_| canonical)
    }
}

fn unescape(step: &str) -> Option<Cow<'_, str>> {
    if !step.contains('~') {
        return Some(Cow::Borrowed(step));
    }
    let escaped = step.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    escaped.then(|| Cow::Owned(step.replace("~1", "/").replace("~0", "~")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pointer_is_parsed() {
        assert!(Pointer::parse("").unwrap().is_root());
        for text in ["/", "/a", "/a/0/b", "//", "/~0~1", "/ü"] {
            assert!(!Pointer::parse(text).unwrap().is_root(), "{text}");
        }
        for text in ["a", "a/b", "#/a", " /a", "/~", "/~2", "/a~/b", "/~0~"] {
            assert_eq!(Pointer::parse(text), None, "{text}");
        }
    }

    #[test]
    fn escapes_are_resolved_once() {
        let pointer = Pointer::parse("/a~1b/m~0n/~01").unwrap();
        assert_eq!([0, 1, 2, 3].map(|depth| pointer.name(depth)), [Some("a/b"), Some("m~n"), Some("~1"), None]);
    }

    #[test]
    fn an_index_is_written_in_one_way() {
        for (step, index) in [("0", Some(0)), ("10", Some(10)), ("01", None), ("00", None), ("+1", None), ("-1", None)]
        {
            assert_eq!(Pointer::parse(&format!("/{step}")).unwrap().index(0), index, "{step}");
        }
        for step in ["", "-", "1.0", "1e0", " 1", "18446744073709551616"] {
            assert_eq!(Pointer::parse(&format!("/{step}")).unwrap().index(0), None, "{step}");
        }
    }
}
