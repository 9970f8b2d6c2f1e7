//! Who the user is: an ordered list of sources, the first that has an answer wins. What leaves this module is the
//! pseudonym, never the identity.
//!
//! An identity is 1 to [`MAX_IDENTITY_BYTES`] bytes after trimming; anything else counts as absent, and the next source
//! is asked. A number is taken in its decimal form, so that `42` in a header, a claim or a body is one user. The body
//! comes last, since asking it holds the request until it is whole.

use contract::bucket::{Bucket, Salt};
use contract::names::IdentitySource;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::pairs::Pairs;

/// Longest identity, in bytes. A longer one is no identity of ours: hashing megabytes is not what a header is for.
pub const MAX_IDENTITY_BYTES: usize = 512;

/// One place where an identity may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A request header, by its lower case name.
    Header(String),
    /// A cookie, by its name.
    Cookie(String),
    /// A claim that Envoy's `jwt_authn` verified and left in metadata: the property's path, its parts joined by zero
    /// bytes, as the host takes it.
    Jwt(Vec<u8>),
    /// A place in the JSON body.
    Body(Pointer),
}

/// A JSON pointer (RFC 6901), split and unescaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// `None` where the text is no pointer to something inside a document.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let steps = text.strip_prefix('/')?;
        Some(Self(steps.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect()))
    }
}

/// What the headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// The user, and where the identity stood.
    Found(Bucket, IdentitySource),
    /// No header has it; the body may.
    AskBody,
    /// Nowhere.
    Missing,
}

/// Searches everything but the body, in order. `property` reads a host property into its buffer and says whether there
/// was one; it is asked only where an earlier source had no answer.
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
            Source::Body(_) => return Search::AskBody,
        };
        if let Some((bucket, from)) = found {
            return Search::Found(bucket, from);
        }
    }
    Search::Missing
}

/// Searches a whole, unencoded body.
#[must_use]
pub fn in_body(sources: &[Source], body: &[u8], salt: &Salt) -> Option<Bucket> {
    sources.iter().find_map(|source| match source {
        Source::Body(Pointer(path)) => {
            let found = Seek(path).deserialize(&mut serde_json::Deserializer::from_slice(body)).ok()??;
            usable(&found).map(|identity| Bucket::of(identity, salt))
        }
        _ => None,
    })
}

fn usable(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    (1..=MAX_IDENTITY_BYTES).contains(&value.len()).then_some(value)
}

/// A cookie's value; a pair of quotes around it is no part of it. Several `cookie` headers are one list.
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

/// A claim as the host writes it: text as it is, a number as the eight bytes of a double, anything else (a truth value,
/// a list, an object) in bytes of the host's own, which hold a control character. A whole number becomes its decimal
/// form in `value`; what is neither text nor a whole number is no identity.
pub(super) fn claim(value: &mut Vec<u8>) -> Option<&[u8]> {
    let text = std::str::from_utf8(value).is_ok_and(|text| !text.bytes().any(|byte| byte.is_ascii_control()));
    if !text {
        let number = f64::from_le_bytes(value.as_slice().try_into().ok()?);
        // Beyond 2^53 doubles skip whole numbers, and two users could become one.
        if number.fract() != 0.0 || number.abs() > 9_007_199_254_740_992.0 {
            return None;
        }
        *value = format!("{number:.0}").into_bytes();
    }
    usable(value)
}

/// Walks a JSON text to the pointer's end and takes the text or whole number that stands there, without building a
/// tree of the rest.
struct Seek<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<Vec<u8>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Option<Vec<u8>>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| text.as_bytes().to_vec()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| number.to_string().into_bytes()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| number.to_string().into_bytes()))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        if let Some((step, rest)) = self.0.split_first() {
            while let Some(here) = map.next_key_seed(KeyIs(step))? {
                if here {
                    found = map.next_value_seed(Seek(rest))?;
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        } else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let wanted = self.0.split_first().and_then(|(step, rest)| Some((step.parse::<usize>().ok()?, rest)));
        let mut index = 0_usize;
        loop {
            match wanted {
                Some((at, rest)) if at == index => match list.next_element_seed(Seek(rest))? {
                    Some(value) => found = value,
                    None => return Ok(found),
                },
                _ => {
                    if list.next_element::<IgnoredAny>()?.is_none() {
                        return Ok(found);
                    }
                }
            }
            index = index.saturating_add(1);
        }
    }
}

struct KeyIs<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for KeyIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
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
    fn the_first_source_with_an_answer_wins() {
        let header = ("x-user-id", b"42".as_slice());
        let cookie = ("cookie", b"a=1; sid=43".as_slice());
        assert_eq!(search(&[cookie, header], Some(b"44")), Search::Found(of("42"), IdentitySource::Header));
        assert_eq!(search(&[cookie], Some(b"44")), Search::Found(of("43"), IdentitySource::Cookie));
        assert_eq!(search(&[], Some(b"44")), Search::Found(of("44"), IdentitySource::Jwt));
        assert_eq!(search(&[], None), Search::AskBody);
    }

    #[test]
    fn the_bucket_header_is_frozen() {
        // The vector of the contract: what the filter writes for these users never changes.
        let Search::Found(bucket, _) = search(&[("x-user-id", b" user-42 ")], None) else { panic!("no identity") };
        assert_eq!(&bucket.digits(), b"cc343e210017e385");
        let Search::Found(bucket, _) = search(&[("x-user-id", "münchen".as_bytes())], None) else { panic!() };
        assert_eq!(&bucket.digits(), b"162cf16bf89e0aaf");
    }

    #[test]
    fn empty_blank_and_endless_identities_are_none() {
        let long = vec![b'x'; MAX_IDENTITY_BYTES + 1];
        for value in [b"".as_slice(), b"   ", &long] {
            assert_eq!(search(&[("x-user-id", value)], None), Search::AskBody);
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
        assert_eq!(search(&[], Some(&1.5_f64.to_le_bytes())), Search::AskBody);
        assert_eq!(search(&[], Some(&f64::NAN.to_le_bytes())), Search::AskBody);
        assert_eq!(search(&[], Some(&1e300_f64.to_le_bytes())), Search::AskBody);
        // As Envoy writes `true` and `{"a": 1}`.
        assert_eq!(search(&[], Some(b"\x01")), Search::AskBody);
        assert_eq!(search(&[], Some(b"\x01\0\0\0\x01\0\0\0\x08\0\0\0a\0\0\0\0\0\0\0\xf0\x3f\0")), Search::AskBody);
    }

    #[test]
    fn the_body_is_read_at_its_pointer() {
        let found = |pointer: &str, body: &str| {
            in_body(&[Source::Body(Pointer::parse(pointer).unwrap())], body.as_bytes(), &salt())
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
        assert_eq!(Pointer::parse("user"), None);
        assert_eq!(Pointer::parse(""), None);
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
        fn walking_finds_what_a_tree_holds(body in any_json(), path in "(/[ab01]){1,3}") {
            let text = body.to_string();
            let there = body.pointer(&path).and_then(|value| match value {
                serde_json::Value::String(text) => Some(text.clone()),
                serde_json::Value::Number(number) if !number.is_f64() => Some(number.to_string()),
                _ => None,
            });
            let expected = there.and_then(|identity| usable(identity.as_bytes()).map(|i| Bucket::of(i, &salt())));
            let sources = [Source::Body(Pointer::parse(&path).unwrap())];
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
