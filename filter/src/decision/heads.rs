//! The headers of a request or a response that matter to Perch, read in one pass. Their values are read here and nowhere
//! else in the filter, but for the headers that name the user (`identity` and `cohort`).

use contract::frame::Encoding;
use contract::headers;

use crate::pairs::Pairs;

/// A header's name, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Method,
    Path,
    Status,
    ContentEncoding,
    ContentLength,
    ContentType,
    AcceptEncoding,
    RequestId,
    Upgrade,
    Overloaded,
    Perch,
    Other,
}

impl Name {
    /// One function for requests and responses, never inlined: the instruction cache then holds the code once.
    #[inline(never)]
    fn of(name: &[u8]) -> Self {
        match name {
            b":method" => Self::Method,
            b":path" => Self::Path,
            b":status" => Self::Status,
            b"content-encoding" => Self::ContentEncoding,
            b"content-length" => Self::ContentLength,
            b"content-type" => Self::ContentType,
            b"accept-encoding" => Self::AcceptEncoding,
            b"x-request-id" => Self::RequestId,
            b"upgrade" => Self::Upgrade,
            b"x-envoy-overloaded" => Self::Overloaded,
            _ if name.starts_with(headers::PREFIX.as_bytes()) => Self::Perch,
            _ => Self::Other,
        }
    }
}

/// The headers of a request that matter. Absent headers are empty or `None`.
#[derive(Debug, Default, Clone, Copy)]
pub struct RequestHead<'a> {
    /// `:method`.
    pub method: &'a [u8],
    /// `:path`, query included.
    pub path: &'a [u8],
    /// `content-encoding`.
    pub content_encoding: Option<&'a [u8]>,
    /// `content-length`, if it is a number.
    pub content_length: Option<usize>,
    /// `accept-encoding`.
    pub accept_encoding: Option<&'a [u8]>,
    /// `x-request-id`.
    pub request_id: Option<&'a [u8]>,
    /// `upgrade`: the client requests another protocol.
    pub upgrade: bool,
}

impl<'a> RequestHead<'a> {
    /// Reads the headers.
    #[must_use]
    pub fn read(headers: Pairs<'a>) -> Self {
        let mut head = Self::default();
        for (name, value) in headers.iter() {
            match Name::of(name) {
                Name::Method => head.method = value,
                Name::Path => head.path = value,
                Name::ContentEncoding => head.content_encoding = Some(value),
                Name::ContentLength => head.content_length = number(value),
                Name::AcceptEncoding => head.accept_encoding = Some(value),
                Name::RequestId => head.request_id = Some(value),
                Name::Upgrade => head.upgrade = true,
                Name::Status | Name::ContentType | Name::Overloaded | Name::Perch | Name::Other => {}
            }
        }
        head
    }

    /// Returns `true` if the client accepts a body without content encoding, which it does unless `accept-encoding` excludes
    /// it (RFC 9110, section 12.5.3).
    #[must_use]
    pub fn accepts_identity(&self) -> bool {
        let Some(accepted) = self.accept_encoding else { return true };
        let refused = |wanted: &[u8]| {
            accepted.split(|byte| *byte == b',').find_map(|entry| {
                let mut parts = entry.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
                let coding = parts.next()?;
                let zero = |quality: &[u8]| {
                    let digits = quality.strip_prefix(b"q=").or_else(|| quality.strip_prefix(b"Q="))?;
                    let (whole, decimals) = digits.split_first()?;
                    Some(*whole == b'0' && decimals.iter().all(|byte| matches!(byte, b'.' | b'0')))
                };
                coding.eq_ignore_ascii_case(wanted).then(|| parts.find_map(zero).unwrap_or(false))
            })
        };
        !refused(b"identity").or_else(|| refused(b"*")).unwrap_or(false)
    }
}

/// The headers of a response that matter.
#[derive(Debug, Clone, Copy)]
pub struct ResponseHead<'a> {
    /// `:status`, 0 if it is not a number.
    pub status: u16,
    /// From `content-encoding`.
    pub encoding: Encoding,
    /// `content-length`, if it is a number.
    pub content_length: Option<usize>,
    /// `content-type`.
    pub content_type: Option<&'a [u8]>,
    /// Some header begins with `x-perch-`.
    pub perch: bool,
    /// `x-perch-scorer`: the scorer itself wrote the response.
    pub scorer: bool,
    /// `x-perch-unavailable`.
    pub unavailable: Option<&'a [u8]>,
    /// `x-perch-model-version`.
    pub model_version: Option<&'a [u8]>,
    /// `x-envoy-overloaded`: Envoy wrote the response since a limit was reached.
    pub overloaded: bool,
}

impl<'a> ResponseHead<'a> {
    /// Reads the headers.
    #[must_use]
    pub fn read(headers: Pairs<'a>) -> Self {
        let mut head = Self {
            status: 0,
            encoding: Encoding::Identity,
            content_length: None,
            content_type: None,
            perch: false,
            scorer: false,
            unavailable: None,
            model_version: None,
            overloaded: false,
        };
        for (name, value) in headers.iter() {
            match Name::of(name) {
                Name::Status => head.status = number(value).and_then(|n| u16::try_from(n).ok()).unwrap_or(0),
                Name::ContentEncoding => head.encoding = Encoding::from_header(Some(value)),
                Name::ContentLength => head.content_length = number(value),
                Name::ContentType => head.content_type = Some(value),
                Name::Overloaded => head.overloaded = true,
                Name::Perch => head.read_perch(name, value),
                Name::Method | Name::Path | Name::AcceptEncoding | Name::RequestId | Name::Upgrade | Name::Other => {}
            }
        }
        head
    }

    #[cold]
    fn read_perch(&mut self, name: &[u8], value: &'a [u8]) {
        self.perch = true;
        if name == headers::SCORER.as_bytes() {
            self.scorer = true;
        } else if name == headers::UNAVAILABLE.as_bytes() {
            self.unavailable = Some(value);
        } else if name == headers::MODEL_VERSION.as_bytes() {
            self.model_version = Some(value);
        }
    }

    /// Returns `true` if the status is 200 to 299.
    #[must_use]
    pub const fn success(&self) -> bool {
        matches!(self.status, 200..=299)
    }
}

/// The names of all headers that begin with `x-perch-`.
#[cold]
#[must_use]
pub fn perch_headers(headers: Pairs<'_>) -> Vec<Vec<u8>> {
    let names = headers.iter().map(|(name, _)| name);
    names.filter(|name| name.starts_with(headers::PREFIX.as_bytes())).map(<[u8]>::to_vec).collect()
}

/// The number that decimal digits, with optional blanks around them, represent.
fn number(value: &[u8]) -> Option<usize> {
    let digits = value.trim_ascii();
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_usize, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| usize::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::write;
    use proptest::prelude::*;

    #[test]
    fn a_request_is_read_in_one_pass() {
        let mut bytes = Vec::new();
        write(
            &mut bytes,
            &[
                (b":method", b"POST"),
                (b":path", b"/ml/suggestions?x"),
                (b"content-length", b" 12 "),
                (b"x-request-id", b"a-b"),
            ],
        );
        let head = RequestHead::read(Pairs::new(&bytes));
        assert_eq!((head.method, head.path), (b"POST".as_slice(), b"/ml/suggestions?x".as_slice()));
        assert_eq!(head.content_length, Some(12));
        assert!(!head.upgrade && head.accepts_identity());
        assert_eq!(head.request_id, Some(b"a-b".as_slice()));
    }

    #[test]
    fn a_response_with_values_that_are_not_text_is_read() {
        let mut bytes = Vec::new();
        write(&mut bytes, &[(b":status", b"\xff\xfe"), (b"content-length", b"-1"), (b"x-perch-arm", b"\x80")]);
        let head = ResponseHead::read(Pairs::new(&bytes));
        assert_eq!((head.status, head.content_length), (0, None));
        assert!(head.perch && !head.success());
    }

    #[test]
    fn a_client_accepts_a_body_without_encoding_unless_it_excludes_it() {
        for (accepted, takes) in [
            ("", true),
            ("gzip, br", true),
            ("gzip;q=1.0, identity;q=0.5", true),
            ("gzip, identity;q=0", false),
            ("gzip, IDENTITY ; q=0.000", false),
            ("gzip, *;q=0", false),
            ("identity, *;q=0", true),
            ("*;q=0.1", true),
        ] {
            let head = RequestHead { accept_encoding: Some(accepted.as_bytes()), ..RequestHead::default() };
            assert_eq!(head.accepts_identity(), takes, "{accepted}");
        }
        assert!(RequestHead::default().accepts_identity());
    }

    #[test]
    fn a_number_is_digits_and_fits() {
        for (text, read) in
            [("0", Some(0)), (" 42\t", Some(42)), ("", None), (" ", None), ("+1", None), ("1a", None), ("1 2", None)]
        {
            assert_eq!(number(text.as_bytes()), read, "{text:?}");
        }
        assert_eq!(number(usize::MAX.to_string().as_bytes()), Some(usize::MAX));
        assert_eq!(number(format!("{}0", usize::MAX).as_bytes()), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = RequestHead::read(Pairs::new(&bytes));
            let _ = ResponseHead::read(Pairs::new(&bytes));
        }
    }
}
