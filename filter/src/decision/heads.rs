//! What of a request's or an answer's headers matters here, gathered in one pass over the host's bytes.

use contract::frame::Encoding;
use contract::headers;

use crate::pairs::Pairs;

/// The headers that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Method,
    Path,
    Status,
    ContentEncoding,
    ContentLength,
    ContentType,
    Upgrade,
    Overloaded,
    Ours,
    Other,
}

impl Name {
    /// One function for requests and answers, and in neither: the code that both go through is loaded once.
    #[inline(never)]
    fn of(name: &[u8]) -> Self {
        match name {
            b":method" => Self::Method,
            b":path" => Self::Path,
            b":status" => Self::Status,
            b"content-encoding" => Self::ContentEncoding,
            b"content-length" => Self::ContentLength,
            b"content-type" => Self::ContentType,
            b"upgrade" => Self::Upgrade,
            b"x-envoy-overloaded" => Self::Overloaded,
            _ if name.starts_with(headers::PREFIX.as_bytes()) => Self::Ours,
            _ => Self::Other,
        }
    }
}

/// A request's headers, as far as they matter. Absent headers are empty or `None`.
#[derive(Debug, Default, Clone, Copy)]
pub struct RequestHead<'a> {
    /// `:method`.
    pub method: &'a [u8],
    /// `:path`, query included.
    pub path: &'a [u8],
    /// `content-encoding`.
    pub content_encoding: Option<&'a [u8]>,
    /// `content-length`, where it is a number.
    pub content_length: Option<usize>,
    /// The observation sample leaves this request out.
    pub unsampled: bool,
    /// The client asks for another protocol.
    pub upgrade: bool,
    /// The pseudonym, as the observe plugin wrote it.
    pub bucket: Option<&'a [u8]>,
    /// There is a cohort header.
    pub cohort: bool,
}

impl<'a> RequestHead<'a> {
    /// Reads it.
    #[must_use]
    pub fn read(headers: Pairs<'a>) -> Self {
        let mut head = Self::default();
        for (name, value) in headers.iter() {
            match Name::of(name) {
                Name::Method => head.method = value,
                Name::Path => head.path = value,
                Name::ContentEncoding => head.content_encoding = Some(value),
                Name::ContentLength => head.content_length = number(value),
                Name::Upgrade => head.upgrade = true,
                Name::Ours => head.read_ours(name, value),
                Name::Status | Name::ContentType | Name::Overloaded | Name::Other => {}
            }
        }
        head
    }

    #[cold]
    fn read_ours(&mut self, name: &[u8], value: &'a [u8]) {
        if name == headers::UNSAMPLED.as_bytes() {
            self.unsampled = true;
        } else if name == headers::BUCKET.as_bytes() {
            self.bucket = Some(value);
        } else if name == headers::COHORT.as_bytes() {
            self.cohort = true;
        }
    }
}

/// An answer's headers, as far as they matter.
#[derive(Debug, Clone, Copy)]
pub struct AnswerHead<'a> {
    /// `:status`, 0 where it is not one.
    pub status: u16,
    /// From `content-encoding`.
    pub encoding: Encoding,
    /// `content-length`, where it is a number.
    pub content_length: Option<usize>,
    /// `content-type`.
    pub content_type: Option<&'a [u8]>,
    /// Some header begins with `x-perch-`.
    pub ours: bool,
    /// `x-perch-arm`.
    pub arm: Option<&'a [u8]>,
    /// `x-perch-fallback`.
    pub fallback: Option<&'a [u8]>,
    /// `x-perch-scorer`: the scorer itself wrote the answer.
    pub scorer: bool,
    /// `x-perch-unavailable`.
    pub unavailable: Option<&'a [u8]>,
    /// `x-perch-model-version`.
    pub model_version: Option<&'a [u8]>,
    /// `x-envoy-overloaded`: Envoy wrote the answer since a limit was reached.
    pub overloaded: bool,
}

impl<'a> AnswerHead<'a> {
    /// Reads it.
    #[must_use]
    pub fn read(headers: Pairs<'a>) -> Self {
        let mut head = Self {
            status: 0,
            encoding: Encoding::Identity,
            content_length: None,
            content_type: None,
            ours: false,
            arm: None,
            fallback: None,
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
                Name::Ours => head.read_ours(name, value),
                Name::Method | Name::Path | Name::Upgrade | Name::Other => {}
            }
        }
        head
    }

    #[cold]
    fn read_ours(&mut self, name: &[u8], value: &'a [u8]) {
        self.ours = true;
        if name == headers::ARM.as_bytes() {
            self.arm = Some(value);
        } else if name == headers::FALLBACK.as_bytes() {
            self.fallback = Some(value);
        } else if name == headers::SCORER.as_bytes() {
            self.scorer = true;
        } else if name == headers::UNAVAILABLE.as_bytes() {
            self.unavailable = Some(value);
        } else if name == headers::MODEL_VERSION.as_bytes() {
            self.model_version = Some(value);
        }
    }

    /// 200 to 299.
    #[must_use]
    pub const fn success(&self) -> bool {
        matches!(self.status, 200..=299)
    }
}

/// Digits only, in decimal, with blanks around them at most.
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
                (b"x-perch-unsampled", b"1"),
                (b"x-perch-bucket", b"00ff"),
            ],
        );
        let head = RequestHead::read(Pairs::new(&bytes));
        assert_eq!((head.method, head.path), (b"POST".as_slice(), b"/ml/suggestions?x".as_slice()));
        assert_eq!(head.content_length, Some(12));
        assert!(head.unsampled && !head.upgrade);
        assert_eq!(head.bucket, Some(b"00ff".as_slice()));
    }

    #[test]
    fn an_answer_with_values_that_are_no_text_is_read_all_the_same() {
        let mut bytes = Vec::new();
        write(&mut bytes, &[(b":status", b"\xff\xfe"), (b"content-length", b"-1"), (b"x-perch-arm", b"\x80")]);
        let head = AnswerHead::read(Pairs::new(&bytes));
        assert_eq!((head.status, head.content_length, head.arm), (0, None, Some(b"\x80".as_slice())));
        assert!(head.ours && !head.success());
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
            let _ = AnswerHead::read(Pairs::new(&bytes));
        }
    }
}
