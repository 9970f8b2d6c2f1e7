//! The forms: signing in and out, and operators' actions.
//!
//! An action needs three things: the form comes from a page of the console, the operator is signed in, and the form's
//! ticket belongs to this session and was not used before.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query, State};
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use canary::change::Change;
use clients::error_chain;
use contract::percent::Percent;
use contract::share::Share;
use guard::state::Phase;
use guard_runtime::audit_log::{Actor, Event};
use guard_runtime::clock::now_ms;
use guard_runtime::manual_override::OverrideError;
use serde::{Deserialize, Serialize};

use super::pages::PageError;
use super::session::Session;
use super::{Console, access};

/// Longest reason, in characters.
const LONGEST_REASON: usize = 200;

#[derive(Serialize)]
struct Login {
    error: Option<String>,
    name: String,
    hint: &'static str,
}

const HINT: &str =
    "It is the first line of the file named by perch guard --token-file; make up writes it to .perch/console-token.";

pub(super) async fn login(State(console): State<Console>, headers: HeaderMap) -> Result<Html<String>, PageError> {
    console.page(&headers, "login.html", "Sign in", Login { error: None, name: String::new(), hint: HINT })
}

#[derive(Deserialize)]
pub(super) struct Credentials {
    name: String,
    token: String,
}

pub(super) async fn sign_in(
    State(console): State<Console>,
    headers: HeaderMap,
    form: Result<Form<Credentials>, FormRejection>,
) -> Response {
    let credentials = match form {
        Ok(Form(credentials)) => credentials,
        Err(rejection) => return rejection.into_response(),
    };
    if !access::same_origin(&headers) {
        return foreign_form(&console, &headers);
    }
    let again = |status, error: String| {
        let view = Login { error: Some(error), name: credentials.name.clone(), hint: HINT };
        let page = console.page(&headers, "login.html", "Sign in", view);
        page.map_or_else(PageError::into_response, |page| (status, page).into_response())
    };
    let Some(token) = console.0.settings.operator_token.as_ref().filter(|token| token.is(credentials.token.trim()))
    else {
        return again(StatusCode::UNAUTHORIZED, "This is not the operator’s token.".to_owned());
    };
    let random = match clients::random_hex() {
        Ok(random) => random,
        Err(error) => return PageError::from(error).into_response(),
    };
    match Session::open(token, &credentials.name, &random, now_ms()) {
        Ok(value) => with_cookie(redirect("/".to_owned()), &headers, &value),
        Err(error) => again(StatusCode::BAD_REQUEST, format!("{error}.")),
    }
}

pub(super) async fn sign_out(State(console): State<Console>, headers: HeaderMap) -> Response {
    // Being signed out by another site is harmless, but a nuisance.
    if access::same_origin(&headers) {
        with_cookie(redirect("/".to_owned()), &headers, "")
    } else {
        foreign_form(&console, &headers)
    }
}

#[derive(Deserialize)]
pub(super) struct Parameters {
    share: Option<String>,
}

#[derive(Serialize)]
struct Preview {
    from: Option<String>,
    to: String,
    value: String,
    unknown: String,
    effect: String,
    warnings: Vec<String>,
}

/// Shows the effect of setting a share, for confirmation.
pub(super) async fn preview(
    State(console): State<Console>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    if access::operator(&console, &headers).is_none() {
        return redirect("/login".to_owned());
    }
    let to = match share(parameters.share.as_deref().unwrap_or_default()) {
        Ok(share) => share,
        Err(why) => return console.message(&headers, StatusCode::BAD_REQUEST, "Not a share", &why),
    };
    let held = console.share().await;
    let mut warnings = Vec::new();
    let report = console.status(now_ms()).ok().and_then(|status| status.report);
    if report.is_some_and(|report| report.phase.is_some_and(|phase| phase != Phase::Watching)) {
        warnings.push("A rollout is in progress: the guard pauses until you resume it.".to_owned());
    }
    let change = held.as_ref().ok().map(|from| Change::between(*from, to));
    if change.is_some_and(|change| change.rebuckets) {
        warnings.push(
            "Users are re-bucketed, because the share’s denominator changes. Between whole percentages it does not."
                .to_owned(),
        );
    }
    if console.0.settings.runtime_links.is_empty() {
        warnings.push(
            "The change is lost when Envoy restarts: this guard was started without a disk layer (--runtime LINK)."
                .to_owned(),
        );
    }
    let view = Preview {
        from: held.as_ref().ok().map(ToString::to_string),
        to: to.to_string(),
        value: to.to_string(),
        unknown: held.err().unwrap_or_default(),
        effect: change.map(effect).unwrap_or_default(),
        warnings,
    };
    let page = console.page(&headers, "set.html", "Set the share", view);
    page.map_or_else(PageError::into_response, IntoResponse::into_response)
}

fn effect(change: Change) -> String {
    let percent = |share: f64| format!("{:.2}", Percent(share));
    match (change.joins > 0.0, change.leaves > 0.0) {
        (false, false) => "no user changes arms.".to_owned(),
        (true, false) => format!("{} of all users join the candidate arm.", percent(change.joins)),
        (false, true) => format!("{} of all users return to the baseline arm.", percent(change.leaves)),
        (true, true) => {
            format!(
                "{} of all users join the candidate arm, {} leave it.",
                percent(change.joins),
                percent(change.leaves)
            )
        }
    }
}

/// `10%`, `10`, `0.5%` or `off`. A number without a sign is a percentage too, as the form expects.
fn share(text: &str) -> Result<Share, String> {
    let text = text.trim();
    if text == "off" {
        return Ok(Share::OFF);
    }
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    Share::from_percent(&format!("{number}%")).map_err(|error| error.to_string())
}

#[derive(Deserialize)]
pub(super) struct Action {
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
    form: Result<Form<Action>, FormRejection>,
) -> Response {
    let action = match form {
        Ok(Form(action)) => action,
        Err(rejection) => return rejection.into_response(),
    };
    if !access::same_origin(&headers) {
        return foreign_form(&console, &headers);
    }
    let Some(session) = access::operator(&console, &headers) else {
        return console.message(
            &headers,
            StatusCode::UNAUTHORIZED,
            "Sign in",
            "Nothing was done: you are not signed in, or your session has expired.",
        );
    };
    let token = console.0.settings.operator_token.as_ref();
    let Some(key) = token.and_then(|token| session.key(token, &action.ticket)) else {
        return console.message(
            &headers,
            StatusCode::FORBIDDEN,
            "Nothing was done",
            "This form belongs to another session. Reload the page and try again.",
        );
    };
    let reason: String = action.reason.trim().chars().filter(|c| !c.is_control()).take(LONGEST_REASON).collect();
    let reason = if reason.is_empty() { "at the console" } else { &reason };
    let mut manual_override = console.manual_override(Actor::Operator(session.name)).with_idempotency_key(key.clone());
    let done = match action.act.as_str() {
        "set" => match share(&action.share) {
            Ok(share) => manual_override.set(now_ms(), share, reason).await.map(|_| ()),
            Err(why) => return console.message(&headers, StatusCode::BAD_REQUEST, "Not a share", &why),
        },
        "rollback" => manual_override.roll_back(now_ms(), reason).await,
        "pause" => manual_override.submit_command(now_ms(), Event::Pause, reason).await,
        "resume" => manual_override.submit_command(now_ms(), Event::Resume, reason).await,
        "approve" => manual_override.submit_command(now_ms(), Event::Approve, reason).await,
        other => {
            let text = format!("{other:?} is not an action of this console.");
            return console.message(&headers, StatusCode::BAD_REQUEST, "Nothing was done", &text);
        }
    };
    match done {
        Ok(()) => {
            let entries = console.entries().unwrap_or_default();
            let entry = entries.iter().find(|entry| entry.idempotency_key.as_ref() == Some(&key));
            redirect(entry.map_or_else(|| "/".to_owned(), |entry| format!("/?entry={}", entry.number)))
        }
        Err(error @ OverrideError::AlreadyDone(_)) => {
            let text = format!("{}: this form was sent twice. Nothing more was done.", error_chain(&error));
            console.message(&headers, StatusCode::CONFLICT, "Already done", &text)
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

fn foreign_form(console: &Console, headers: &HeaderMap) -> Response {
    console.message(
        headers,
        StatusCode::FORBIDDEN,
        "Nothing was done",
        "This form was not sent from a page of this console.",
    )
}

/// Redirects to `path` with a GET.
fn redirect(path: String) -> Response {
    let location = HeaderValue::from_str(&path).unwrap_or_else(|_| HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response()
}

fn with_cookie(mut response: Response, headers: &HeaderMap, value: &str) -> Response {
    response.headers_mut().extend(access::cookie(headers, value).map(|cookie| (SET_COOKIE, cookie)));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_as_people_write_it() {
        for (text, expected) in [("10%", "10"), (" 10 ", "10"), ("off", "0"), ("1", "1"), ("100%", "100")] {
            assert_eq!(share(text).unwrap().to_runtime(), expected, "{text}");
        }
        assert_eq!(share("0.5").unwrap().fraction(), 0.005);
        for wrong in ["", "ten", "101%", "-1", "10%%", "1e1"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
