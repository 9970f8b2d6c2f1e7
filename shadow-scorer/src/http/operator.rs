//! Authorization: requests that change something must present the operator's token.
//!
//! Every route with a method other than GET requires the token unless it is listed in [`PUBLIC_ROUTES`], so a new route
//! is protected until somebody decides otherwise. The token is read from a file ([`contract::token`]) at each check;
//! without a file, requests that change something are refused.

use contract::token::{TokenFile, bearer};
use http::StatusCode;
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::error::HttpError;

/// Names of POST routes that need no token: those of clients and of the gateway.
const PUBLIC_ROUTES: [&str; 4] = ["suggestions", "observations", "feedback", "predict"];

/// Returns `true` if the route called `name` requires the token.
pub(super) fn requires_token(name: &str, method: &http::Method) -> bool {
    method != http::Method::GET && !PUBLIC_ROUTES.contains(&name)
}

/// Checks the token that `head` presents.
///
/// # Errors
/// 401 for a missing or wrong token, 403 if no token is configured, 503 if its file cannot be used.
pub(super) fn check(file: Option<&TokenFile>, head: &Parts) -> Result<(), HttpError> {
    let Some(file) = file else {
        return Err(HttpError::new(
            StatusCode::FORBIDDEN,
            "no_token",
            "this request needs the operator's token, and the scorer was started without one: write it \
             with `(umask 077; openssl rand -hex 16 > FILE)` and start the scorer with --token-file FILE \
             (PERCH_TOKEN_FILE)",
        ));
    };
    let mut values = head.headers.get_all(AUTHORIZATION).iter();
    let presented = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().and_then(bearer),
        _ => None,
    };
    let Some(presented) = presented else {
        return Err(unauthorized("this request needs the operator's token: send it as `authorization: Bearer TOKEN`"));
    };
    let token = file.read().map_err(|error| {
        let message = "the scorer cannot use the file of the operator's token: its log says why";
        HttpError::new(StatusCode::SERVICE_UNAVAILABLE, "token_file", message).because(describe(&error))
    })?;
    if token.is(presented) { Ok(()) } else { Err(unauthorized("this is not the operator's token")) }
}

fn unauthorized(message: &str) -> HttpError {
    HttpError::new(StatusCode::UNAUTHORIZED, "token", message)
}

/// The error with its cause.
pub(super) fn describe(error: &contract::token::TokenError) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Method, Request};

    #[test]
    fn a_route_that_is_not_listed_as_public_requires_the_token() {
        for protected in
            ["train", "model_reload", "model_deploy", "model_rollback", "model_challenge", "added_tomorrow"]
        {
            assert!(requires_token(protected, &Method::POST), "{protected}");
        }
        assert!(requires_token("model_status", &Method::DELETE));
        assert!(!requires_token("model_status", &Method::GET));
        assert!(!requires_token("feedback", &Method::POST));
    }

    #[test]
    fn two_headers_count_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "0123456789abcdef").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let file = TokenFile::new(path);
        let head = |values: &[&str]| {
            let request = values.iter().fold(Request::get("/"), |request, value| request.header(AUTHORIZATION, *value));
            request.body(()).unwrap().into_parts().0
        };
        check(Some(&file), &head(&["Bearer 0123456789abcdef"])).unwrap();
        for values in [&[][..], &["Bearer wrong-wrong-wrong"], &["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"]]
        {
            let error = check(Some(&file), &head(values)).unwrap_err();
            assert_eq!((error.status, error.reason), (StatusCode::UNAUTHORIZED, "token"), "{values:?}");
        }
    }
}
