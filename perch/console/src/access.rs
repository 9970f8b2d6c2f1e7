//! Who calls: the host name that was asked for, whether a form is the console's own, and the operator's session.

use axum::extract::{Request, State};
use axum::http::header::{COOKIE, HOST, HeaderName, HeaderValue, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Console;
use super::session::{self, Session};
use crate::guard::clock::now_ms;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Refuses what was asked of another host name: a stranger's page may let a name of its own point here, and would then
/// count as this site to a browser (DNS rebinding). An IP address and `localhost` cannot be such a name.
pub(super) async fn known_host(State(console): State<Console>, request: Request, next: Next) -> Response {
    let host = host(request.headers());
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.contains(']') { host } else { name });
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let known = bare.parse::<std::net::IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || console.0.settings.hosts.iter().any(|known| known.eq_ignore_ascii_case(name));
    if known {
        return next.run(request).await;
    }
    let mend = "this name is not the console's: give it to `perch guard` (--host), or ask by its IP address\n";
    (StatusCode::MISDIRECTED_REQUEST, mend).into_response()
}

fn host(headers: &HeaderMap) -> &str {
    headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
}

/// Does this form come from a page of the console? Browsers say so by themselves; what is no browser has no cookies that
/// another site could make it send.
pub(super) fn from_here(headers: &HeaderMap) -> bool {
    let same_site = headers.get(SEC_FETCH_SITE).is_none_or(|site| site == "same-origin");
    let same_origin = headers.get(ORIGIN).is_none_or(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        origin.split_once("://").is_some_and(|(_, of)| of.eq_ignore_ascii_case(host(headers)))
    });
    same_site && same_origin
}

/// The operator who is signed in.
pub(super) fn operator(console: &Console, headers: &HeaderMap) -> Option<Session> {
    let token = console.0.settings.operator_token.as_ref()?;
    let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut values = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    let (_, value) = values.find(|(name, _)| *name == session::COOKIE)?;
    Session::of(token, value, now_ms())
}

/// The `set-cookie` that gives or, with an empty value, takes a session.
pub(super) fn cookie(headers: &HeaderMap, value: &str) -> Option<HeaderValue> {
    let age = if value.is_empty() { 0 } else { session::LIFETIME };
    // Behind a proxy that speaks TLS the cookie must never go out without it.
    let secure = if headers.get(FORWARDED_PROTO).is_some_and(|proto| proto == "https") { "; Secure" } else { "" };
    let text = format!("{}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}", session::COOKIE);
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_form_of_another_site_is_told_by_what_the_browser_says() {
        let host = ("host", "127.0.0.1:8030");
        assert!(from_here(&headers(&[host])));
        assert!(from_here(&headers(&[host, ("origin", "http://127.0.0.1:8030"), ("sec-fetch-site", "same-origin")])));
        for other in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:8031"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
        ] {
            assert!(!from_here(&headers(&[host, other])), "{other:?}");
        }
    }

    #[test]
    fn a_cookie_is_for_the_browser_alone() {
        let plain = cookie(&HeaderMap::new(), "x").unwrap();
        assert_eq!(plain, "perch_session=x; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict");
        let tls = cookie(&headers(&[("x-forwarded-proto", "https")]), "").unwrap();
        assert_eq!(tls, "perch_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict; Secure");
    }
}
