//! The values that a selection returns.

use std::borrow::Cow;
use std::fmt;

/// The value at a place in a JSON text, as far as Perch uses it.
#[derive(Debug, Clone, PartialEq)]
pub enum JsonValue<'a> {
    /// There is no value: a step of the path does not exist, or a `null` stands there or on the way.
    Absent,
    /// A string.
    Text(Cow<'a, str>),
    /// An integer.
    Integer(Integer),
    /// Another number.
    Number(f64),
    /// A boolean, array or object, or a value on the way into which the next step cannot lead.
    Other,
}

/// A number without a point or an exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integer {
    /// Zero or above.
    Unsigned(u64),
    /// Below zero.
    Negative(i64),
}

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(number) => number.fmt(f),
            Self::Negative(number) => number.fmt(f),
        }
    }
}

impl JsonValue<'_> {
    /// The number, of whichever kind, as an `f64`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the nearest f64 is what the caller asks for")]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Integer(Integer::Unsigned(number)) => Some(*number as f64),
            Self::Integer(Integer::Negative(number)) => Some(*number as f64),
            _ => None,
        }
    }

    /// The string.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Takes the value and leaves [`JsonValue::Absent`].
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Absent)
    }
}

/// What stands at the place where a list is expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum List<R> {
    /// Nothing: the path does not exist, or leads to a `null`.
    Absent,
    /// A value that is not a list.
    Other,
    /// A list with more entries than the limit.
    TooLong,
    /// A list, and the result for each of its entries.
    Entries(Vec<R>),
}
