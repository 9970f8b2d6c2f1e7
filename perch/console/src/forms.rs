//! The forms: signing in and out, and what an operator may do.
//!
//! Nothing is done unless three things hold: the form comes from a page of the console, the operator is signed in, and
//! the form's ticket is of this session and was not used before.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query, State};
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use contract::switch::Share;
use serde::{Deserialize, Serialize};

use super::pages::PageError;
use super::session::Session;
use super::{Console, access};
use crate::canary::change::Change;
use crate::guard::audit_log::{Actor, Event};
use crate::guard::clock::now_ms;
use crate::guard::error_chain;
use crate::guard::manual_override::OverrideError;
use crate::guard::state::Phase;

/// Longest reason, in characters.
const LONGEST_REASON: usize = 200;

#[derive(Serialize)]
struct Login {
    trouble: Option<String>,
    name: String,
    hint: &'static str,
}

const HINT: &str = "It is in the file that this guard was started with (.perch/console-token after make up).";

pub(super) async fn login(State(console): State<Console>, headers: HeaderMap) -> Result<Html<String>, PageError> {
    console.page(&headers, "login.html", "Sign in", Login { trouble: None, name: String::new(), hint: HINT })
}

#[derive(Deserialize)]
pub(super) struct Shown {
    name: String,
    token: String,
}

pub(super) async fn sign_in(
    State(console): State<Console>,
    headers: HeaderMap,
    form: Result<Form<Shown>, FormRejection>,
) -> Response {
    let shown = match form {
        Ok(Form(shown)) => shown,
        Err(rejection) => return rejection.into_response(),
    };
    if !access::from_here(&headers) {
        return elsewhere(&console, &headers);
    }
    let again = |status, trouble: String| {
        let view = Login { trouble: Some(trouble), name: shown.name.clone(), hint: HINT };
        let page = console.page(&headers, "login.html", "Sign in", view);
        page.map_or_else(PageError::into_response, |page| (status, page).into_response())
    };
    let Some(token) = console.0.settings.operator_token.as_ref().filter(|token| token.is(shown.token.trim())) else {
        return again(StatusCode::UNAUTHORIZED, "This is not the operator’s token.".to_owned());
    };
    let random = match stack::secret::random_hex() {
        Ok(random) => random,
        Err(error) => return PageError::from(error).into_response(),
    };
    match Session::open(token, &shown.name, &random, now_ms()) {
        Ok(value) => with_cookie(see("/".to_owned()), &headers, &value),
        Err(error) => again(StatusCode::BAD_REQUEST, format!("{error}.")),
    }
}

pub(super) async fn sign_out(State(console): State<Console>, headers: HeaderMap) -> Response {
    // Whoever makes another sign out does no harm that a session would protect from, but it would be a nuisance.
    if access::from_here(&headers) {
        with_cookie(see("/".to_owned()), &headers, "")
    } else {
        elsewhere(&console, &headers)
    }
}

#[derive(Deserialize)]
pub(super) struct Asked {
    share: Option<String>,
}

#[derive(Serialize)]
struct Set {
    from: Option<String>,
    to: String,
    value: String,
    unknown: String,
    moves: String,
    warnings: Vec<String>,
}

/// What setting a share would do, before it is done.
pub(super) async fn ask(State(console): State<Console>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    if access::operator(&console, &headers).is_none() {
        return see("/login".to_owned());
    }
    let to = match share(asked.share.as_deref().unwrap_or_default()) {
        Ok(share) => share,
        Err(why) => return console.message(&headers, StatusCode::BAD_REQUEST, "This is no share", &why),
    };
    let held = console.share().await;
    let mut warnings = Vec::new();
    let report = console.standing(now_ms()).ok().and_then(|standing| standing.report);
    if report.is_some_and(|report| report.phase.is_some_and(|phase| phase != Phase::Watching)) {
        warnings.push("A ramp is under way: the guard pauses until you resume it.".to_owned());
    }
    let change = held.as_ref().ok().map(|from| Change::between(*from, to));
    if change.is_some_and(|change| change.reshuffles) {
        warnings.push("Users are dealt anew: a share that is no whole percentage picks other users.".to_owned());
    }
    if console.0.settings.runtime_links.is_empty() {
        warnings.push("It holds until Envoy restarts: no disk layer is known to this guard.".to_owned());
    }
    let view = Set {
        from: held.as_ref().ok().map(ToString::to_string),
        to: to.to_string(),
        value: to.to_string(),
        unknown: held.err().unwrap_or_default(),
        moves: change.map(moves).unwrap_or_default(),
        warnings,
    };
    let page = console.page(&headers, "set.html", "Set the share", view);
    page.map_or_else(PageError::into_response, IntoResponse::into_response)
}

fn moves(change: Change) -> String {
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    match (change.joins > 0.0, change.leaves > 0.0) {
        (false, false) => "nobody moves.".to_owned(),
        (true, false) => format!("{} of all users join the model.", percent(change.joins)),
        (false, true) => format!("{} of all users go back to the rules.", percent(change.leaves)),
        (true, true) => {
            format!("{} of all users join the model, {} leave it.", percent(change.joins), percent(change.leaves))
        }
    }
}

/// `10%`, `10`, `0.5 %` or `off`. Without a sign it is a percentage too: a form that says "e.g. 10%" asks for one.
fn share(text: &str) -> Result<Share, String> {
    let text = text.trim();
    if text == "off" {
        return Ok(Share::OFF);
    }
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    Share::from_percent(&format!("{number}%")).map_err(|error| error.to_string())
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    act: String,
    ticket: String,
    #[serde(default)]
    share: String,
    #[serde(default)]
    reason: String,
}

pub(super) async fn act(
    State(console): State<Console>,
    headers: HeaderMap,
    form: Result<Form<Wanted>, FormRejection>,
) -> Response {
    let wanted = match form {
        Ok(Form(wanted)) => wanted,
        Err(rejection) => return rejection.into_response(),
    };
    if !access::from_here(&headers) {
        return elsewhere(&console, &headers);
    }
    let Some(session) = access::operator(&console, &headers) else {
        return console.message(
            &headers,
            StatusCode::UNAUTHORIZED,
            "Sign in",
            "Nothing was done: you are not signed in, or your session is over.",
        );
    };
    let token = console.0.settings.operator_token.as_ref();
    let Some(key) = token.and_then(|token| session.key(token, &wanted.ticket)) else {
        return console.message(
            &headers,
            StatusCode::FORBIDDEN,
            "Nothing was done",
            "This form is of another session. Open the page again and repeat it.",
        );
    };
    let reason: String = wanted.reason.trim().chars().filter(|c| !c.is_control()).take(LONGEST_REASON).collect();
    let reason = if reason.is_empty() { "at the console" } else { &reason };
    let mut hand = console.hand(Actor::Operator(session.name)).with_idempotency_key(key.clone());
    let done = match wanted.act.as_str() {
        "set" => match share(&wanted.share) {
            Ok(share) => hand.set(now_ms(), share, reason).await.map(|_| ()),
            Err(why) => return console.message(&headers, StatusCode::BAD_REQUEST, "This is no share", &why),
        },
        "rollback" => hand.roll_back(now_ms(), reason).await,
        "pause" => hand.submit_command(now_ms(), Event::Pause, reason).await,
        "resume" => hand.submit_command(now_ms(), Event::Resume, reason).await,
        "approve" => hand.submit_command(now_ms(), Event::Approve, reason).await,
        other => {
            let text = format!("{other:?} is nothing that can be done here.");
            return console.message(&headers, StatusCode::BAD_REQUEST, "Nothing was done", &text);
        }
    };
    match done {
        Ok(()) => {
            let entries = console.entries().unwrap_or_default();
            let entry = entries.iter().find(|entry| entry.idempotency_key.as_ref() == Some(&key));
            see(entry.map_or_else(|| "/".to_owned(), |entry| format!("/?entry={}", entry.number)))
        }
        Err(error @ OverrideError::AlreadyDone(_)) => {
            let text = format!("{}: the same form was sent twice. Nothing more was done.", error_chain(&error));
            console.message(&headers, StatusCode::CONFLICT, "Done already", &text)
        }
        Err(error) => {
            let text = format!("{}.", error_chain(&error));
            let heading = match error {
                OverrideError::AuditLogUnavailable(_) | OverrideError::Unreachable(_) | OverrideError::AuditLog(_) => {
                    "Nothing was done"
                }
                OverrideError::NotRecorded { .. } => "Done, but not in the audit log",
                _ => "Not done everywhere",
            };
            console.message(&headers, StatusCode::BAD_GATEWAY, heading, &text)
        }
    }
}

fn elsewhere(console: &Console, headers: &HeaderMap) -> Response {
    console.message(
        headers,
        StatusCode::FORBIDDEN,
        "Nothing was done",
        "This form did not come from a page of this console.",
    )
}

/// Go on there, with a GET.
fn see(path: String) -> Response {
    let location = HeaderValue::from_str(&path).unwrap_or_else(|_| HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response()
}

fn with_cookie(mut answer: Response, headers: &HeaderMap, value: &str) -> Response {
    answer.headers_mut().extend(access::cookie(headers, value).map(|cookie| (SET_COOKIE, cookie)));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_as_it_is_written_in_a_form() {
        for (text, expected) in [("10%", "10"), (" 10 ", "10"), ("off", "0"), ("1", "1"), ("100 %", "100")] {
            assert_eq!(share(text).unwrap().to_runtime(), expected, "{text}");
        }
        assert_eq!(share("0.5").unwrap().fraction(), 0.005);
        for wrong in ["", "ten", "101%", "-1", "10%%", "1e1"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
