//! The form of names in the configuration.

/// Returns `true` if `name` is a token of HTTP (RFC 9110, section 5.6.2) of at most 256 bytes: the form of methods and of
/// names of headers and cookies.
pub(super) fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 256
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Path of the property in which `jwt_authn` leaves a claim, in the host's form: parts joined by zero bytes. `None` where
/// a part is empty or contains a zero byte.
pub(super) fn claim_property(payload: &str, claim: &str) -> Option<Vec<u8>> {
    let valid = |part: &str| !part.is_empty() && !part.contains('\0');
    let path = ["metadata", "filter_metadata", "envoy.filters.http.jwt_authn", payload, claim];
    (valid(payload) && valid(claim)).then(|| path.join("\0").into_bytes())
}
