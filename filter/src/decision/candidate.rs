//! Checks the scorer's response: it is a candidate response, or it says how the candidate failed.
//!
//! Envoy's asynchronous client makes a response of its own when it cannot reach the scorer: 504 at the deadline, 503
//! with a sentence in the body otherwise, and no headers at all when the connection broke. Such a response lacks the
//! header that the scorer sets on its own, and only then are status and sentence read as Envoy's.

use contract::frame::Encoding;
use contract::names::{FallbackReason, Unavailable};
use contract::response::{self, ResponseError, ResponseSchema};

use super::heads::ResponseHead;

/// Longest header value that is passed on from the scorer to a client, in bytes.
const MAX_VALUE_BYTES: usize = 128;

/// A candidate response that passed every check which does not need the application's response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidate {
    /// The body, without content encoding.
    pub body: Vec<u8>,
    /// The ids of its items; at least one.
    pub items: Vec<String>,
    /// The model's version, if the scorer gave one that can be passed on.
    pub model_version: Option<Vec<u8>>,
}

/// Checks a complete response of `length` bytes; `body` is empty where that is more than `limit`.
///
/// # Errors
/// How the candidate failed.
pub fn judge(
    head: &ResponseHead<'_>,
    body: Vec<u8>,
    length: usize,
    limit: usize,
    schema: &ResponseSchema,
) -> Result<Candidate, FallbackReason> {
    if !head.scorer {
        return Err(of_envoy(head, &body));
    }
    if head.status != 200 {
        return Err(refusal(head));
    }
    if length > limit {
        return Err(FallbackReason::TooLarge);
    }
    if head.encoding != Encoding::Identity {
        return Err(FallbackReason::NotJson);
    }
    match response::read(&body, schema) {
        Ok(items) if items.is_empty() => Err(FallbackReason::NoItems),
        Ok(items) => Ok(Candidate {
            items: items.into_iter().map(|item| item.id).collect(),
            model_version: head.model_version.filter(|value| plain(value)).map(<[u8]>::to_vec),
            body,
        }),
        Err(ResponseError::NotJson) => Err(FallbackReason::NotJson),
        Err(ResponseError::NoItems) => Err(FallbackReason::NoItems),
        Err(ResponseError::WrongType) => Err(FallbackReason::WrongType),
    }
}

/// Returns `true` if the client's request may have caused the failure. The application's response then decides whether
/// the candidate failed: to a bad or empty request neither response has items.
#[must_use]
pub const fn may_be_caused_by_request(reason: FallbackReason) -> bool {
    match reason {
        FallbackReason::Status
        | FallbackReason::NotJson
        | FallbackReason::NoItems
        | FallbackReason::WrongType
        | FallbackReason::OtherItems
        | FallbackReason::TooLarge => true,
        FallbackReason::Refused
        | FallbackReason::Reset
        | FallbackReason::Deadline
        | FallbackReason::Overloaded
        | FallbackReason::Unavailable => false,
    }
}

/// The reason for which the scorer refused the request.
fn refusal(head: &ResponseHead<'_>) -> FallbackReason {
    let is = |why: Unavailable| head.unavailable == Some(why.as_str().as_bytes());
    if head.status == 429 || is(Unavailable::Overloaded) {
        FallbackReason::Overloaded
    } else if head.unavailable.is_some() {
        FallbackReason::Unavailable
    } else {
        FallbackReason::Status
    }
}

/// The reason in a response that Envoy or another proxy made. Envoy's sentences are "no healthy upstream", and
/// "upstream connect error or disconnect/reset before headers. … reset reason: …".
fn of_envoy(head: &ResponseHead<'_>, body: &[u8]) -> FallbackReason {
    // Envoy's sentences are short; a long page of another proxy is not searched.
    let body = body.get(..512).unwrap_or(body);
    let contains = |text: &[u8]| body.windows(text.len()).any(|window| window == text);
    match head.status {
        504 => FallbackReason::Deadline,
        503 if head.overloaded || contains(b"overflow") => FallbackReason::Overloaded,
        503 if contains(b"termination")
            || contains(b"remote reset")
            || contains(b"local reset")
            || contains(b"protocol error") =>
        {
            FallbackReason::Reset
        }
        503 => FallbackReason::Refused,
        _ => FallbackReason::Status,
    }
}

/// Returns `true` if the value can be a response header's.
fn plain(value: &[u8]) -> bool {
    !value.is_empty() && value.len() <= MAX_VALUE_BYTES && value.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::{Pairs, write};
    use proptest::prelude::*;

    const GOOD: &[u8] = br#"{"items":[{"txn_id":"88","candidates":[{"label":"coffee"}]}]}"#;

    fn check_response(headers: &[(&str, &str)], body: &[u8]) -> Result<Option<Vec<u8>>, FallbackReason> {
        let mut bytes = Vec::new();
        write(&mut bytes, &headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect::<Vec<_>>());
        let head = ResponseHead::read(Pairs::new(&bytes));
        let good = judge(&head, body.to_vec(), body.len(), 1_000, &ResponseSchema::default())?;
        assert_eq!((good.body.as_slice(), good.items), (body, vec!["88".to_owned()]));
        Ok(good.model_version)
    }

    fn scorer(status: &str, body: &[u8]) -> Result<Option<Vec<u8>>, FallbackReason> {
        check_response(&[(":status", status), ("x-perch-scorer", "1")], body)
    }

    #[test]
    fn a_good_response_is_passed_on_with_its_version() {
        let signed = [(":status", "200"), ("x-perch-scorer", "1"), ("x-perch-model-version", "v7")];
        assert_eq!(check_response(&signed, GOOD), Ok(Some(b"v7".to_vec())));
        let split = [(":status", "200"), ("x-perch-scorer", "1"), ("x-perch-model-version", "v7\r\nx: y")];
        assert_eq!(check_response(&split, GOOD), Ok(None));
    }

    #[test]
    fn each_fault_of_a_response_has_a_reason() {
        assert_eq!(scorer("200", b"<html>"), Err(FallbackReason::NotJson));
        assert_eq!(scorer("200", b""), Err(FallbackReason::NotJson));
        assert_eq!(scorer("200", br#"{"items":[]}"#), Err(FallbackReason::NoItems));
        assert_eq!(scorer("200", b"{}"), Err(FallbackReason::NoItems));
        assert_eq!(scorer("200", br#"{"items":"x"}"#), Err(FallbackReason::WrongType));
        assert_eq!(scorer("200", &[b' '; 1_001]), Err(FallbackReason::TooLarge));
        assert_eq!(scorer("500", GOOD), Err(FallbackReason::Status));
        assert_eq!(scorer("204", GOOD), Err(FallbackReason::Status));
        assert_eq!(scorer("503", b""), Err(FallbackReason::Status));
        assert_eq!(scorer("429", b""), Err(FallbackReason::Overloaded));
        let gzip = [(":status", "200"), ("x-perch-scorer", "1"), ("content-encoding", "gzip")];
        assert_eq!(check_response(&gzip, GOOD), Err(FallbackReason::NotJson));
    }

    #[test]
    fn a_refusal_of_the_scorer_gives_its_reason() {
        for why in Unavailable::ALL {
            let refusal = check_response(
                &[(":status", "503"), ("x-perch-scorer", "1"), ("x-perch-unavailable", why.as_str())],
                b"",
            );
            let expected = match why {
                Unavailable::Overloaded => FallbackReason::Overloaded,
                _ => FallbackReason::Unavailable,
            };
            assert_eq!(refusal, Err(expected), "{why:?}");
        }
    }

    #[test]
    fn responses_that_envoy_made_are_told_apart_by_their_text() {
        let envoy = |status, body: &str| check_response(&[(":status", status)], body.as_bytes()).unwrap_err();
        let reset =
            |reason: &str| format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}");
        assert_eq!(envoy("504", "upstream request timeout"), FallbackReason::Deadline);
        assert_eq!(envoy("503", "no healthy upstream"), FallbackReason::Refused);
        assert_eq!(envoy("503", &reset("remote connection failure")), FallbackReason::Refused);
        assert_eq!(envoy("503", &reset("connection timeout")), FallbackReason::Refused);
        assert_eq!(envoy("503", &reset("connection termination")), FallbackReason::Reset);
        assert_eq!(envoy("503", &reset("remote reset")), FallbackReason::Reset);
        assert_eq!(envoy("503", &reset("overflow")), FallbackReason::Overloaded);
        let open = [(":status", "503"), ("x-envoy-overloaded", "true")];
        assert_eq!(check_response(&open, b""), Err(FallbackReason::Overloaded));
        assert_eq!(check_response(&[(":status", "200")], GOOD), Err(FallbackReason::Status), "not the scorer's");
        assert_eq!(check_response(&[], b""), Err(FallbackReason::Status));
    }

    proptest! {
        // Whatever comes back, a response is passed on only when it is signed, 200, inside the limit and readable.
        #[test]
        fn only_a_checked_response_passes(
            status in prop_oneof![Just(200_u16), any::<u16>()], signed: bool, cut in 0_usize..80,
            garbage in proptest::collection::vec(any::<u8>(), 0..60), version in "\\PC{0,200}",
        ) {
            let status = status.to_string();
            let mut headers = vec![(":status", status.as_str()), ("x-perch-model-version", version.as_str())];
            if signed {
                headers.push(("x-perch-scorer", "1"));
            }
            for body in [GOOD.get(..cut).unwrap_or(GOOD), &garbage] {
                let passed = check_response(&headers, body);
                let whole = body == GOOD;
                prop_assert_eq!(passed.is_ok(), signed && status == "200" && whole);
                if let Ok(Some(version)) = passed {
                    prop_assert!(plain(&version));
                }
            }
        }
    }
}
