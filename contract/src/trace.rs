//! The trace context that requests carry, as W3C "Trace Context" writes it.
//!
//! The filter passes it on to the scorer with the call for a canary user, and the scorer's log names the trace. Anybody
//! can send it, so it is only taken where it is well formed, and bounded.

/// Header with version, trace id, parent id and flags.
pub const TRACEPARENT: &str = "traceparent";

/// Header with what tracing systems keep for themselves; of no use without a [`TRACEPARENT`].
pub const TRACESTATE: &str = "tracestate";

/// The most of [`TRACESTATE`] that is passed on, over all headers of that name: as much as the standard asks for.
pub const MAX_TRACESTATE_BYTES: usize = 512;

/// A trace's id: 32 lower-case hexadecimal digits that are not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId<'a>(&'a str);

impl<'a> TraceId<'a> {
    /// The id in the value of a [`TRACEPARENT`] header; `None` where the value is malformed.
    ///
    /// Later versions than 00 may append fields, which are ignored.
    #[must_use]
    pub fn from_traceparent(value: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut fields = text.splitn(5, '-');
        let version = hex(fields.next()?, 2).filter(|version| *version != "ff")?;
        let trace = hex(fields.next()?, 32).filter(|id| !is_zero(id))?;
        hex(fields.next()?, 16).filter(|id| !is_zero(id))?;
        hex(fields.next()?, 2)?;
        let is_longer = fields.next().is_some();
        (version != "00" || !is_longer).then_some(Self(trace))
    }

    /// The id as it stands in the header.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

fn hex(text: &str, digits: usize) -> Option<&str> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == digits && text.bytes().all(is_digit)).then_some(text)
}

fn is_zero(id: &str) -> bool {
    id.bytes().all(|digit| digit == b'0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_well_formed_header_names_its_trace() {
        let later = format!("01-{ID}-00f067aa0ba902b7-01-more");
        for value in [format!("00-{ID}-00f067aa0ba902b7-01"), format!("cc-{ID}-00f067aa0ba902b7-00"), later] {
            assert_eq!(TraceId::from_traceparent(value.as_bytes()).map(TraceId::as_str), Some(ID), "{value}");
        }
    }

    #[test]
    fn a_malformed_header_is_ignored() {
        for value in [
            String::new(),
            "t".to_owned(),
            ID.to_owned(),
            format!("ff-{ID}-00f067aa0ba902b7-01"),
            format!("00-{ID}-00f067aa0ba902b7"),
            format!("00-{ID}-00f067aa0ba902b7-01-more"),
            format!("00-{ID}-00f067aa0ba902b7-01-"),
            format!("00-{ID}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{}-00f067aa0ba902b7-01", ID.to_uppercase()),
            format!("00-{ID} -00f067aa0ba902b7-01"),
        ] {
            assert_eq!(TraceId::from_traceparent(value.as_bytes()), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_header_value_is_too_odd(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = TraceId::from_traceparent(&value);
        }
    }
}
