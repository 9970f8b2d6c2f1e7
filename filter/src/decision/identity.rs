//! Finds the user's identity in a request: the first source of an ordered list that has one wins. Only the pseudonym leaves
//! this module, never the identity.
//!
//! An identity is 1 to [`MAX_IDENTITY_BYTES`] bytes after trimming; anything else counts as absent, and the next source is
//! searched. A number is taken in its decimal form, so that `42` in a header, a claim or a body is one user. Sources in the
//! body come last, since they cannot be searched before the request is complete.

use contract::bucket::{Bucket, Salt};
use contract::json_select::{JsonValue, Pointer, select};
use contract::names::IdentitySource;

use crate::pairs::Pairs;

/// Longest identity, in bytes. A longer value counts as absent, so that a client cannot make the filter hash megabytes.
pub const MAX_IDENTITY_BYTES: usize = 512;

/// One place where an identity may be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A request header, by its lower case name.
    Header(String),
    /// A cookie, by its name.
    Cookie(String),
    /// A claim that Envoy's `jwt_authn` verified and left in metadata: the property's path in the host's form, its parts
    /// joined by zero bytes.
    Jwt(Vec<u8>),
    /// A place in the JSON body.
    Body(Pointer<'static>),
}

/// The result of a search through everything but the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// The user, and the source that named the user.
    Found(Bucket, IdentitySource),
    /// No header names the user, and a source in the body is left.
    NeedsBody,
    /// No source names the user.
    Missing,
}

/// Searches everything but the body, in order. `property` appends a host property to its buffer and returns `true` if there
/// is one; it is called only if the sources before found nothing.
pub fn in_headers(
    sources: &[Source],
    headers: Pairs<'_>,
    salt: &Salt,
    mut property: impl FnMut(&[u8], &mut Vec<u8>) -> bool,
) -> Search {
    for source in sources {
        let found = match source {
            Source::Header(name) => {
                let mut values = headers.iter().filter(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value);
                values.find_map(usable).map(|identity| (Bucket::of(identity, salt), IdentitySource::Header))
            }
            Source::Cookie(name) => {
                cookie(headers, name.as_bytes()).map(|identity| (Bucket::of(identity, salt), IdentitySource::Cookie))
            }
            Source::Jwt(path) => {
                let mut value = Vec::new();
                property(path, &mut value)
                    .then(|| claim(&mut value).map(|identity| (Bucket::of(identity, salt), IdentitySource::Jwt)))
                    .flatten()
            }
            Source::Body(_) => return Search::NeedsBody,
        };
        if let Some((bucket, from)) = found {
            return Search::Found(bucket, from);
        }
    }
    Search::Missing
}

/// Searches a complete body without content encoding. A body that is not JSON names nobody.
#[must_use]
pub fn in_body(sources: &[Source], body: &[u8], salt: &Salt) -> Option<Bucket> {
    sources.iter().find_map(|source| match source {
        Source::Body(pointer) => {
            let identity = match select(body, pointer).ok()? {
                JsonValue::Text(text) => text,
                JsonValue::Integer(number) => number.to_string().into(),
                JsonValue::Absent | JsonValue::Number(_) | JsonValue::Other => return None,
            };
            usable(identity.as_bytes()).map(|identity| Bucket::of(identity, salt))
        }
        Source::Header(_) | Source::Cookie(_) | Source::Jwt(_) => None,
    })
}

fn usable(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    (1..=MAX_IDENTITY_BYTES).contains(&value.len()).then_some(value)
}

/// A cookie's value without a pair of quotes around it. Several `cookie` headers are one list.
fn cookie<'a>(headers: Pairs<'a>, name: &[u8]) -> Option<&'a [u8]> {
    headers
        .iter()
        .filter(|(header, _)| *header == b"cookie")
        .flat_map(|(_, value)| value.split(|byte| *byte == b';'))
        .filter_map(|pair| {
            let equals = pair.iter().position(|byte| *byte == b'=')?;
            let (found, value) = pair.split_at_checked(equals)?;
            (found.trim_ascii() == name).then(|| value.get(1..).unwrap_or_default().trim_ascii())
        })
        .find_map(|value| {
            let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            usable(bare.unwrap_or(value))
        })
}

/// A claim in the host's form: text as it is, a number as the eight bytes of a double, anything else (a boolean, a list, an
/// object) in an encoding that contains a control character. A whole number becomes its decimal form in `value`; a value
/// that is neither text nor a whole number is not an identity.
pub(super) fn claim(value: &mut Vec<u8>) -> Option<&[u8]> {
    let text = std::str::from_utf8(value).is_ok_and(|text| !text.bytes().any(|byte| byte.is_ascii_control()));
    if !text {
        let number = f64::from_le_bytes(value.as_slice().try_into().ok()?);
        // Above 2^53 doubles skip whole numbers, and two users could become one.
        if number.fract() != 0.0 || number.abs() > 9_007_199_254_740_992.0 {
            return None;
        }
        *value = format!("{number:.0}").into_bytes();
    }
    usable(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::write;
    use proptest::prelude::*;

    fn salt() -> Salt {
        Salt::new(b"perch-frozen-vectors").unwrap()
    }

    fn of(identity: &str) -> Bucket {
        Bucket::of(identity.as_bytes(), &salt())
    }

    fn all() -> Vec<Source> {
        vec![
            Source::Header("x-user-id".into()),
            Source::Cookie("sid".into()),
            Source::Jwt(b"metadata\0claim".to_vec()),
            Source::Body(Pointer::parse("/user/id").unwrap()),
        ]
    }

    fn search(headers: &[(&str, &[u8])], jwt: Option<&[u8]>) -> Search {
        let mut bytes = Vec::new();
        write(&mut bytes, &headers.iter().map(|(name, value)| (name.as_bytes(), *value)).collect::<Vec<_>>());
        in_headers(&all(), Pairs::new(&bytes), &salt(), |_, out| {
            out.extend_from_slice(jwt.unwrap_or_default());
            jwt.is_some()
        })
    }

    #[test]
    fn the_first_source_that_names_the_user_wins() {
        let header = ("x-user-id", b"42".as_slice());
        let cookie = ("cookie", b"a=1; sid=43".as_slice());
        assert_eq!(search(&[cookie, header], Some(b"44")), Search::Found(of("42"), IdentitySource::Header));
        assert_eq!(search(&[cookie], Some(b"44")), Search::Found(of("43"), IdentitySource::Cookie));
        assert_eq!(search(&[], Some(b"44")), Search::Found(of("44"), IdentitySource::Jwt));
        assert_eq!(search(&[], None), Search::NeedsBody);
    }

    #[test]
    fn the_bucket_header_is_frozen() {
        // The contract's vector: the pseudonyms of these users never change.
        let Search::Found(bucket, _) = search(&[("x-user-id", b" user-42 ")], None) else { panic!("no identity") };
        assert_eq!(&bucket.digits(), b"cc343e210017e385");
        let Search::Found(bucket, _) = search(&[("x-user-id", "münchen".as_bytes())], None) else { panic!() };
        assert_eq!(&bucket.digits(), b"162cf16bf89e0aaf");
    }

    #[test]
    fn empty_blank_and_endless_identities_are_none() {
        let long = vec![b'x'; MAX_IDENTITY_BYTES + 1];
        for value in [b"".as_slice(), b"   ", &long] {
            assert_eq!(search(&[("x-user-id", value)], None), Search::NeedsBody);
        }
        assert!(matches!(search(&[("x-user-id", &long[1..])], None), Search::Found(..)));
    }

    #[test]
    fn cookies_are_found_among_many_and_in_several_headers() {
        let found = |cookies: &[&[u8]]| {
            let headers: Vec<_> = cookies.iter().map(|value| ("cookie", *value)).collect();
            match search(&headers, None) {
                Search::Found(bucket, IdentitySource::Cookie) => Some(bucket),
                _ => None,
            }
        };
        assert_eq!(found(&[b"xsid=1; sid=7;b=2"]), Some(of("7")));
        assert_eq!(found(&[b"a=1", b"b=2; sid=\"7\""]), Some(of("7")));
        assert_eq!(found(&[b"sid=a=b"]), Some(of("a=b")));
        assert_eq!(found(&[b"sid=; sid=7"]), Some(of("7")));
        for none in [b"sid".as_slice(), b"=7", b";;;", b"side=7", b"SID=7"] {
            assert_eq!(found(&[none]), None);
        }
    }

    #[test]
    fn a_claim_that_is_a_number_is_the_same_user_as_its_text() {
        assert_eq!(search(&[], Some(&42.0_f64.to_le_bytes())), Search::Found(of("42"), IdentitySource::Jwt));
        assert_eq!(search(&[], Some(b"12345678")), Search::Found(of("12345678"), IdentitySource::Jwt));
        assert_eq!(search(&[], Some(&1.5_f64.to_le_bytes())), Search::NeedsBody);
        assert_eq!(search(&[], Some(&f64::NAN.to_le_bytes())), Search::NeedsBody);
        assert_eq!(search(&[], Some(&1e300_f64.to_le_bytes())), Search::NeedsBody);
        // As Envoy writes `true` and `{"a": 1}`.
        assert_eq!(search(&[], Some(b"\x01")), Search::NeedsBody);
        assert_eq!(search(&[], Some(b"\x01\0\0\0\x01\0\0\0\x08\0\0\0a\0\0\0\0\0\0\0\xf0\x3f\0")), Search::NeedsBody);
    }

    #[test]
    fn the_body_is_searched_at_the_pointer() {
        let found = |pointer: &str, body: &str| {
            in_body(&[Source::Body(Pointer::parse(pointer).unwrap().into_owned())], body.as_bytes(), &salt())
        };
        assert_eq!(found("/user/id", r#"{"x":[1,{"user":2}],"user":{"id":"7","z":null},"y":1.5}"#), Some(of("7")));
        assert_eq!(found("/user/id", r#"{"user":{"id":7}}"#), Some(of("7")));
        assert_eq!(found("/a~1b/1", r#"{"a/b":["x","7"]}"#), Some(of("7")));
        assert_eq!(found("/n", r#"{"n":-7}"#), Some(of("-7")));
        for none in
            [r#"{"user":{"id":1.5}}"#, r#"{"user":{"id":{}}}"#, r#"{"user":[]}"#, "[]", "7", "", "{\"user\"", "\0"]
        {
            assert_eq!(found("/user/id", none), None, "{none}");
        }
        // An index has neither a leading zero nor a sign (RFC 6901).
        assert_eq!(found("/ids/1", r#"{"ids":["a","b"]}"#), Some(of("b")));
        for pointer in ["/ids/01", "/ids/+1"] {
            assert_eq!(found(pointer, r#"{"ids":["a","b"]}"#), None, "{pointer}");
        }
        assert_eq!(found("/id", r#"{"id":"7"} x"#), None, "a body that is not JSON names nobody");
        assert_eq!(Pointer::parse("user"), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(
            cookie in proptest::collection::vec(any::<u8>(), 0..80), jwt in proptest::collection::vec(any::<u8>(), 0..20),
            body in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            search(&[("cookie", &cookie)], Some(&jwt));
            let _ = in_body(&all(), &body, &salt());
        }

        #[test]
        fn a_search_finds_the_value_of_a_tree(body in any_json(), path in "(/[ab01]){1,3}") {
            let text = body.to_string();
            let there = body.pointer(&path).and_then(|value| match value {
                serde_json::Value::String(text) => Some(text.clone()),
                serde_json::Value::Number(number) if !number.is_f64() => Some(number.to_string()),
                _ => None,
            });
            let expected = there.and_then(|identity| usable(identity.as_bytes()).map(|i| Bucket::of(i, &salt())));
            let sources = [Source::Body(Pointer::parse(&path).unwrap().into_owned())];
            prop_assert_eq!(in_body(&sources, text.as_bytes(), &salt()), expected);
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z ]{0,5}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec(("[ab01]", inner), 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }
}
