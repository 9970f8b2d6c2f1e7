//! A way into a JSON text.

use std::borrow::Cow;

/// A JSON pointer (RFC 6901), step by step. A text that does not start with `/` leads nowhere but to where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path<'p>(Vec<Cow<'p, str>>);

impl<'p> Path<'p> {
    /// Of `pointer`, e.g. `/candidates/0/label`.
    #[must_use]
    pub(crate) fn of(pointer: &'p str) -> Self {
        let plain = |step: &'p str| match step.contains('~') {
            true => Cow::Owned(step.replace("~1", "/").replace("~0", "~")),
            false => Cow::Borrowed(step),
        };
        Self(pointer.split('/').skip(1).map(plain).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn step(&self, depth: usize) -> Option<&str> {
        self.0.get(depth).map(AsRef::as_ref)
    }

    /// The array's element that the step is.
    pub(super) fn index(&self, depth: usize) -> Option<usize> {
        let step = self.step(depth)?;
        let written_so = step == "0" || !step.starts_with(['0', '+']);
        step.parse().ok().filter(|_| written_so)
    }
}
