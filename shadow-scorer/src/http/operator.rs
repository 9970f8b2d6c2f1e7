//! Who may change something: whoever shows the operator's token.
//!
//! A route that is asked with another method than GET changes something unless it stands in [`OPEN`], so one that is
//! added is closed until somebody decides otherwise. The token comes from a file ([`contract::token`]) that is read at
//! each check; without one nothing is changed by request.

use contract::token::{TokenFile, bearer};
use http::StatusCode;
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::error::HttpError;

/// Routes, by name, that are asked with POST and are open: those of clients and of the gateway.
const OPEN: [&str; 4] = ["suggestions", "observations", "feedback", "predict"];

/// Returns `true` if the route called `name` asks for the token.
pub(super) fn is_asked_for(name: &str, method: &http::Method) -> bool {
    method != http::Method::GET && !OPEN.contains(&name)
}

/// Checks what `head` shows.
///
/// # Errors
/// 401 for no token or a wrong one, 403 where no token is configured, 503 where its file cannot be used.
pub(super) fn check(file: Option<&TokenFile>, head: &Parts) -> Result<(), HttpError> {
    let Some(file) = file else {
        return Err(HttpError::new(
            StatusCode::FORBIDDEN,
            "no_token",
            "this changes something, and the scorer was started without an operator's token, so it refuses: write one \
             with `(umask 077; openssl rand -hex 16 > FILE)` and start the scorer with --token-file FILE \
             (PERCH_TOKEN_FILE)",
        ));
    };
    let mut values = head.headers.get_all(AUTHORIZATION).iter();
    let shown = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().and_then(bearer),
        _ => None,
    };
    let Some(shown) = shown else {
        return Err(unauthorized("this changes something: send the operator's token as `authorization: Bearer TOKEN`"));
    };
    let token = file.read().map_err(|error| {
        let message = "the scorer cannot use its file of the operator's token; its log says why";
        HttpError::new(StatusCode::SERVICE_UNAVAILABLE, "token_file", message).because(describe(&error))
    })?;
    if token.is(shown) { Ok(()) } else { Err(unauthorized("this is not the operator's token")) }
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
    fn what_is_not_listed_as_open_is_closed() {
        for closed in ["train", "model_reload", "model_deploy", "model_rollback", "model_challenge", "added_tomorrow"] {
            assert!(is_asked_for(closed, &Method::POST), "{closed}");
        }
        assert!(is_asked_for("model_status", &Method::DELETE));
        assert!(!is_asked_for("model_status", &Method::GET));
        assert!(!is_asked_for("feedback", &Method::POST));
    }

    #[test]
    fn two_headers_are_as_good_as_none() {
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
