//! Checks of a request: its host name, whether a form is the console's own, and the operator's session.

use axum::extract::{Request, State};
use axum::http::header::{COOKIE, HOST, HeaderName, HeaderValue, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use guard_runtime::clock::now_ms;

use super::Console;
use super::session::{self, Session};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Rejects a request to an unknown host name: another site can make a name of its own resolve to this address, and a
/// browser would treat its pages as this site (DNS rebinding). An IP address and `localhost` cannot be such a name.
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
    let fix =
        "the console is not known by this host name: name it with `perch guard --host NAME`, or use the IP address\n";
    (StatusCode::MISDIRECTED_REQUEST, fix).into_response()
}

fn host(headers: &HeaderMap) -> &str {
    headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
}

/// Returns `true` if a form comes from a page of the console. Browsers state the origin; other clients have no cookies
/// that another site could make them send.
pub(super) fn same_origin(headers: &HeaderMap) -> bool {
    let same_site = headers.get(SEC_FETCH_SITE).is_none_or(|site| site == "same-origin");
    let own_origin = headers.get(ORIGIN).is_none_or(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        origin.split_once("://").is_some_and(|(_, of)| of.eq_ignore_ascii_case(host(headers)))
    });
    same_site && own_origin
}

/// The signed-in operator.
pub(super) fn operator(console: &Console, headers: &HeaderMap) -> Option<Session> {
    let token = console.0.settings.operator_token.as_ref()?;
    let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut values = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    let (_, value) = values.find(|(name, _)| *name == session::COOKIE)?;
    Session::of(token, value, now_ms())
}

/// The `set-cookie` header that starts a session or, with an empty value, ends it.
pub(super) fn cookie(headers: &HeaderMap, value: &str) -> Option<HeaderValue> {
    let age = if value.is_empty() { 0 } else { session::LIFETIME };
    // Behind a proxy that terminates TLS, the cookie must never be sent without TLS.
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
    fn a_form_of_another_site_is_recognised_by_its_origin() {
        let host = ("host", "127.0.0.1:8030");
        assert!(same_origin(&headers(&[host])));
        assert!(same_origin(&headers(&[host, ("origin", "http://127.0.0.1:8030"), ("sec-fetch-site", "same-origin")])));
        for other in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:8031"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
        ] {
            assert!(!same_origin(&headers(&[host, other])), "{other:?}");
        }
    }

    #[test]
    fn a_cookie_is_not_readable_by_scripts() {
        let plain = cookie(&HeaderMap::new(), "x").unwrap();
        assert_eq!(plain, "perch_session=x; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict");
        let tls = cookie(&headers(&[("x-forwarded-proto", "https")]), "").unwrap();
        assert_eq!(tls, "perch_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict; Secure");
    }
}
