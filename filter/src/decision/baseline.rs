//! Decides whether a candidate response may replace the application's. A response that may not be replaced is passed
//! through, and is never evidence against the candidate.

use contract::frame::Encoding;
use contract::names::PassedThrough;
use contract::response::{self, ResponseError, ResponseSchema};

use super::heads::ResponseHead;
use crate::decode::decode;

/// Headers that describe the application's body, and are removed when it is replaced; `content-length` is set to the
/// new length.
pub const BODY_HEADERS: [&str; 8] = [
    "content-encoding",
    "etag",
    "last-modified",
    "content-md5",
    "digest",
    "repr-digest",
    "content-digest",
    "accept-ranges",
];

/// Checks the response's headers. `types` are media types in lower case; `held_bytes` limits the body; `end` is `true`
/// if there is no body.
///
/// # Errors
/// The reason to pass the response through.
pub fn replaceable(
    head: &ResponseHead<'_>,
    end: bool,
    types: &[String],
    held_bytes: usize,
) -> Result<(), PassedThrough> {
    match head.status {
        204 | 205 | 206 | 304 => return Err(PassedThrough::NoBody),
        200..=299 => {}
        300..=399 => return Err(PassedThrough::Redirect),
        _ => return Err(PassedThrough::Error),
    }
    if end {
        return Err(PassedThrough::NoBody);
    }
    if !head.content_type.is_some_and(|value| is_of(value, types)) {
        return Err(PassedThrough::ContentType);
    }
    if head.encoding == Encoding::Unknown {
        return Err(PassedThrough::Unreadable);
    }
    if head.content_length.is_some_and(|length| length > held_bytes) {
        return Err(PassedThrough::TooLarge);
    }
    Ok(())
}

/// Returns `true` if a `content-type` is one of `types`, with any parameters except a character set other than that of
/// the candidate's body.
fn is_of(value: &[u8], types: &[String]) -> bool {
    let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let media = parts.next().unwrap_or_default();
    types.iter().any(|wanted| media.eq_ignore_ascii_case(wanted.as_bytes()))
        && parts.all(|parameter| {
            let (name, value) = match parameter.iter().position(|byte| *byte == b'=') {
                Some(at) => (parameter.get(..at).unwrap_or_default(), parameter.get(at + 1..).unwrap_or_default()),
                None => (parameter, &[][..]),
            };
            let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
            !name.eq_ignore_ascii_case(b"charset")
                || [&b"utf-8"[..], b"utf8", b"us-ascii"].iter().any(|set| value.eq_ignore_ascii_case(set))
        })
}

/// The ids of the items in the application's complete response, decoded to at most `decoded_bytes`.
///
/// # Errors
/// The reason to pass the response through.
pub fn items(
    body: &[u8],
    encoding: Encoding,
    schema: &ResponseSchema,
    decoded_bytes: usize,
) -> Result<Vec<String>, PassedThrough> {
    let body = decode(encoding, body, decoded_bytes).ok_or(PassedThrough::Unreadable)?;
    match response::read(&body, schema) {
        Ok(items) if items.is_empty() => Err(PassedThrough::NoItems),
        Ok(items) => Ok(items.into_iter().map(|item| item.id).collect()),
        Err(ResponseError::NoItems) => Err(PassedThrough::NoItems),
        Err(ResponseError::NotJson | ResponseError::WrongType) => Err(PassedThrough::Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::{Pairs, write};

    fn check_head(status: &str, headers: &[(&[u8], &[u8])], end: bool) -> Result<(), PassedThrough> {
        let mut all: Vec<(&[u8], &[u8])> = vec![(b":status", status.as_bytes())];
        all.extend(headers);
        let mut bytes = Vec::new();
        write(&mut bytes, &all);
        replaceable(&ResponseHead::read(Pairs::new(&bytes)), end, &["application/json".to_owned()], 1_000)
    }

    #[test]
    fn only_a_whole_success_of_the_type_is_replaced() {
        let json: (&[u8], &[u8]) = (b"content-type", b"Application/JSON; charset=\"UTF-8\"");
        for status in ["200", "201", "202", "203", "207", "299"] {
            assert_eq!(check_head(status, &[json], false), Ok(()), "{status}");
        }
        for (status, reason) in [
            ("204", PassedThrough::NoBody),
            ("205", PassedThrough::NoBody),
            ("206", PassedThrough::NoBody),
            ("304", PassedThrough::NoBody),
            ("302", PassedThrough::Redirect),
            ("401", PassedThrough::Error),
            ("500", PassedThrough::Error),
            ("100", PassedThrough::Error),
            ("x", PassedThrough::Error),
        ] {
            assert_eq!(check_head(status, &[json], false), Err(reason), "{status}");
        }
        assert_eq!(check_head("200", &[json], true), Err(PassedThrough::NoBody));
        for other in ["text/html", "application/grpc", "text/event-stream", "application/jsonp", "", ";"] {
            let other: (&[u8], &[u8]) = (b"content-type", other.as_bytes());
            assert_eq!(check_head("200", &[other], false), Err(PassedThrough::ContentType), "{other:?}");
        }
        assert_eq!(check_head("200", &[], false), Err(PassedThrough::ContentType));
        let latin: (&[u8], &[u8]) = (b"content-type", b"application/json; charset=iso-8859-1");
        assert_eq!(check_head("200", &[latin], false), Err(PassedThrough::ContentType));
        assert_eq!(check_head("200", &[json, (b"content-length", b"1001")], false), Err(PassedThrough::TooLarge));
        assert_eq!(check_head("200", &[json, (b"content-length", b"1000")], false), Ok(()));
        assert_eq!(check_head("200", &[json, (b"content-encoding", b"br")], false), Ok(()));
        assert_eq!(
            check_head("200", &[json, (b"content-encoding", b"aws-chunked")], false),
            Err(PassedThrough::Unreadable)
        );
    }

    #[test]
    fn items_are_read_or_a_reason_is_returned() {
        let schema = ResponseSchema::default();
        let read = |body: &[u8]| items(body, Encoding::Identity, &schema, 1_000);
        assert_eq!(read(br#"{"items":[{"txn_id":7},{"txn_id":"8"}]}"#), Ok(vec!["7".into(), "8".into()]));
        assert_eq!(read(br#"{"items":[]}"#), Err(PassedThrough::NoItems));
        assert_eq!(read(br#"{"error":"no"}"#), Err(PassedThrough::NoItems));
        assert_eq!(read(b"<html>"), Err(PassedThrough::Unreadable));
        assert_eq!(read(br#"{"items":7}"#), Err(PassedThrough::Unreadable));
        assert_eq!(items(b"{}", Encoding::Gzip, &schema, 1_000), Err(PassedThrough::Unreadable));
    }
}
