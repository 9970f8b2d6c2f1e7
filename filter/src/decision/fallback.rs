//! What a scorer's answer, or the lack of one, means for the client: the model's answer, checked whole, or the rules'
//! and a reason.
//!
//! Envoy's asynchronous client answers in the scorer's stead when it cannot reach it: 504 when the time is up, 503 with
//! a sentence in the body otherwise, and nothing at all (no headers) when the connection broke. Such an answer lacks
//! the header by which the scorer signs its own, and only then are status and sentence read as Envoy's.

use contract::answer::{self, AnswerSchema, Fault};
use contract::frame::Encoding;
use contract::headers;
use contract::names::{FallbackReason, Unavailable};

use super::heads::AnswerHead;

/// Longest header value of the scorer's that is passed on to a client, in bytes.
const MAX_VALUE_BYTES: usize = 128;

/// A scorer's answer that a client may get: its body is passed on as it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Good<'a> {
    /// `content-type`, `application/json` where the scorer named none that can be passed on.
    pub content_type: &'a [u8],
    /// The model's version, where the scorer named one that can be passed on.
    pub model_version: Option<&'a [u8]>,
}

/// Judges a whole answer. `body` is empty where it is over the limit of `answer_bytes`; `length` says how long it is.
///
/// # Errors
/// Why the rules answer instead.
pub fn judge<'a>(
    head: &AnswerHead<'a>,
    body: &[u8],
    length: usize,
    answer_bytes: usize,
    schema: &AnswerSchema,
) -> Result<Good<'a>, FallbackReason> {
    if !head.scorer {
        return Err(envoys(head, body));
    }
    if head.status != 200 {
        return Err(refusal(head));
    }
    if length > answer_bytes {
        return Err(FallbackReason::TooLarge);
    }
    if head.encoding != Encoding::Identity {
        return Err(FallbackReason::NotJson);
    }
    match answer::count(body, schema) {
        Ok(0) => Err(FallbackReason::NoItems),
        Ok(_) => Ok(Good {
            content_type: head.content_type.filter(|value| plain(value)).unwrap_or(b"application/json"),
            model_version: head.model_version.filter(|value| plain(value)),
        }),
        Err(Fault::NotJson) => Err(FallbackReason::NotJson),
        Err(Fault::NoItems) => Err(FallbackReason::NoItems),
        Err(Fault::WrongType) => Err(FallbackReason::WrongType),
    }
}

/// The scorer says itself that it does not answer.
fn refusal(head: &AnswerHead<'_>) -> FallbackReason {
    let said = |why: Unavailable| head.unavailable == Some(why.as_str().as_bytes());
    if head.status == 429 || said(Unavailable::Overloaded) {
        FallbackReason::Overloaded
    } else if head.unavailable.is_some() {
        FallbackReason::Unavailable
    } else {
        FallbackReason::Status
    }
}

/// Envoy, or something else on the way, answered. Envoy's sentences: "no healthy upstream", and "upstream connect
/// error or disconnect/reset before headers. … reset reason: …".
fn envoys(head: &AnswerHead<'_>, body: &[u8]) -> FallbackReason {
    // Envoy's sentences are short; something else's long page is not searched through.
    let body = body.get(..512).unwrap_or(body);
    let says = |words: &[u8]| body.windows(words.len()).any(|window| window == words);
    match head.status {
        504 => FallbackReason::Deadline,
        503 if head.overloaded || says(b"overflow") => FallbackReason::Overloaded,
        503 if says(b"termination") || says(b"remote reset") || says(b"local reset") || says(b"protocol error") => {
            FallbackReason::Reset
        }
        503 => FallbackReason::Refused,
        _ => FallbackReason::Status,
    }
}

/// Is the value one that can stand in an answer's header?
fn plain(value: &[u8]) -> bool {
    !value.is_empty() && value.len() <= MAX_VALUE_BYTES && value.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The headers of the model's answer to a client.
#[must_use]
pub fn answer_headers<'a>(good: &Good<'a>) -> Vec<(&'a [u8], &'a [u8])> {
    let mut out: Vec<(&[u8], &[u8])> = vec![
        (b"content-type", good.content_type),
        (headers::ARM.as_bytes(), contract::names::Arm::Candidate.as_str().as_bytes()),
    ];
    if let Some(version) = good.model_version {
        out.push((headers::MODEL_VERSION.as_bytes(), version));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::{Pairs, write};
    use proptest::prelude::*;

    const GOOD: &[u8] = br#"{"items":[{"txn_id":"88","candidates":[{"label":"coffee"}]}]}"#;

    fn verdict(headers: &[(&str, &str)], body: &[u8]) -> Result<(Vec<u8>, Option<Vec<u8>>), FallbackReason> {
        let mut bytes = Vec::new();
        write(&mut bytes, &headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect::<Vec<_>>());
        let head = AnswerHead::read(Pairs::new(&bytes));
        judge(&head, body, body.len(), 1_000, &AnswerSchema::default())
            .map(|good| (good.content_type.to_vec(), good.model_version.map(<[u8]>::to_vec)))
    }

    fn scorer(status: &str, body: &[u8]) -> Result<(Vec<u8>, Option<Vec<u8>>), FallbackReason> {
        verdict(&[(":status", status), ("x-perch-scorer", "1")], body)
    }

    #[test]
    fn a_good_answer_is_passed_with_its_type_and_version() {
        let signed = [(":status", "200"), ("x-perch-scorer", "1"), ("x-perch-model-version", "v7")];
        assert_eq!(verdict(&signed, GOOD), Ok((b"application/json".to_vec(), Some(b"v7".to_vec()))));
        let split = [(":status", "200"), ("x-perch-scorer", "1"), ("x-perch-model-version", "v7\r\nx: y")];
        assert_eq!(verdict(&split, GOOD), Ok((b"application/json".to_vec(), None)));
    }

    #[test]
    fn each_fault_of_an_answer_is_told_apart() {
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
        assert_eq!(verdict(&gzip, GOOD), Err(FallbackReason::NotJson));
    }

    #[test]
    fn the_scorer_says_why_it_does_not_answer() {
        for why in Unavailable::ALL {
            let said =
                verdict(&[(":status", "503"), ("x-perch-scorer", "1"), ("x-perch-unavailable", why.as_str())], b"");
            let expected = match why {
                Unavailable::Overloaded => FallbackReason::Overloaded,
                _ => FallbackReason::Unavailable,
            };
            assert_eq!(said, Err(expected), "{why:?}");
        }
    }

    #[test]
    fn envoys_own_answers_are_told_apart_by_what_they_say() {
        let envoy = |status, body: &str| verdict(&[(":status", status)], body.as_bytes()).unwrap_err();
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
        assert_eq!(verdict(&open, b""), Err(FallbackReason::Overloaded));
        assert_eq!(verdict(&[(":status", "200")], GOOD), Err(FallbackReason::Status), "not the scorer's");
        assert_eq!(verdict(&[], b""), Err(FallbackReason::Status));
    }

    proptest! {
        // Whatever comes back, an answer is passed on only when it is signed, 200, inside the limit and readable.
        #[test]
        fn only_a_checked_answer_passes(
            status in prop_oneof![Just(200_u16), any::<u16>()], signed: bool, cut in 0_usize..80,
            garbage in proptest::collection::vec(any::<u8>(), 0..60), version in "\\PC{0,200}",
        ) {
            let status = status.to_string();
            let mut headers = vec![(":status", status.as_str()), ("x-perch-model-version", version.as_str())];
            if signed {
                headers.push(("x-perch-scorer", "1"));
            }
            for body in [GOOD.get(..cut).unwrap_or(GOOD), &garbage] {
                let passed = verdict(&headers, body);
                let whole = body == GOOD;
                prop_assert_eq!(passed.is_ok(), signed && status == "200" && whole);
                if let Ok((_, Some(version))) = passed {
                    prop_assert!(plain(&version));
                }
            }
        }
    }
}
