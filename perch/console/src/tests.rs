//! The console over HTTP, with a fake gateway.

use std::path::Path;

use contract::alerts::HOOK_PATH;
use guard::decision::{Action, Check, CheckResult, Decision, Unit};
use guard::plan::raw::RawPlan;
use guard::state::Phase;
use guard_runtime::audit_log::{Actor, AuditLog, Event};
use guard_runtime::control_loop::{EvaluationReport, STATUS_FILE};
use guard_runtime::testing::FakeGateway;
use reqwest::header::{COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Client, RequestBuilder, Response, StatusCode};

use super::{Console, Settings, Token, hook};

const TOKEN: &str = "operator-token-0123";
const HOOK_TOKEN: &str = "alertmanager-token-0123";

/// A running console, and its client.
struct Running {
    url: String,
    http: Client,
    gateway: FakeGateway,
    folder: tempfile::TempDir,
}

impl Running {
    async fn start(share: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let gateway = FakeGateway::start(share).await;
        let url = serve(folder.path(), &gateway).await;
        let http = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        Self { url, http, gateway, folder }
    }

    /// Another program takes the console's place.
    async fn restart(&mut self) {
        self.url = serve(self.folder.path(), &self.gateway).await;
    }

    fn audit_log(&self) -> Vec<(Actor, String)> {
        let entries = AuditLog::in_folder(self.folder.path()).unwrap().read().unwrap();
        entries.into_iter().map(|entry| (entry.actor, entry.event.describe())).collect()
    }

    async fn get(&self, path: &str) -> Response {
        self.http.get(format!("{}{path}", self.url)).send().await.unwrap()
    }

    fn form(&self, path: &str, fields: &str) -> RequestBuilder {
        self.http
            .post(format!("{}{path}", self.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .header(ORIGIN, &self.url)
            .body(fields.to_owned())
    }

    /// Signs in; the cookie.
    async fn sign_in(&self) -> String {
        let response = self.form("/login", &format!("name=ada&token={TOKEN}")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    /// A ticket from the page.
    async fn ticket(&self, cookie: &str) -> String {
        let page = self.http.get(&self.url).header(COOKIE, cookie).send().await.unwrap().text().await.unwrap();
        let (_, rest) = page.split_once("name=\"ticket\" value=\"").expect("a form with a ticket");
        rest.split('"').next().unwrap().to_owned()
    }

    async fn act(&self, cookie: &str, fields: &str) -> Response {
        self.form("/act", fields).header(COOKIE, cookie).send().await.unwrap()
    }

    async fn post(&self, token: &str, body: impl Into<reqwest::Body>) -> Response {
        let request = self.http.post(format!("{}{HOOK_PATH}", self.url)).bearer_auth(token);
        request.header("content-type", "application/json").body(body).send().await.unwrap()
    }
}

async fn serve(folder: &Path, gateway: &FakeGateway) -> String {
    let console = Console::new(Settings {
        folder: folder.to_path_buf(),
        gateways: vec![gateway.url.clone()],
        operator_token: Some(Token::new(TOKEN).unwrap()),
        hook_token: Some(Token::new(HOOK_TOKEN).unwrap()),
        ..Settings::default()
    })
    .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(console.serve(listener, std::future::pending()));
    url
}

fn alert(name: &str, starts: &str) -> String {
    format!(
        r#"{{"version":"4","alerts":[{{"status":"firing","labels":{{"alertname":"{name}","perch_action":"rollback"}},
            "annotations":{{"summary":"it hurts"}},"startsAt":"{starts}","fingerprint":"f1"}}]}}"#
    )
}

#[tokio::test]
async fn an_operator_acts_once_with_each_form_and_it_is_written_down() {
    let console = Running::start("10").await;
    let cookie = console.sign_in().await;
    let ticket = console.ticket(&cookie).await;
    let fields = format!("act=set&share=25%25&reason=looks+good&ticket={ticket}");
    let response = console.act(&cookie, &fields).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers()[LOCATION], "/?entry=1");
    assert_eq!(console.gateway.share(), "25");

    let again = console.act(&cookie, &fields.replace("25%25", "50%25")).await;
    assert_eq!(again.status(), StatusCode::CONFLICT);
    assert_eq!(console.gateway.share(), "25");
    assert_eq!(console.audit_log(), [(Actor::Operator("ada".into()), "set the share from 10% to 25%".into())]);
}

#[tokio::test]
async fn a_session_outlasts_a_restart_and_a_used_form_stays_used() {
    let mut console = Running::start("10").await;
    let cookie = console.sign_in().await;
    let (used, fresh) = (console.ticket(&cookie).await, console.ticket(&cookie).await);
    console.act(&cookie, &format!("act=pause&ticket={used}")).await;
    console.restart().await;
    assert_eq!(console.act(&cookie, &format!("act=pause&ticket={used}")).await.status(), StatusCode::CONFLICT);
    let response = console.act(&cookie, &format!("act=rollback&ticket={fresh}")).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(console.gateway.share(), "0");
    let words: Vec<String> = console.audit_log().into_iter().map(|(_, what)| what).collect();
    assert_eq!(words, ["paused the guard", "rolled back", "set the share from 10% to 0%"]);
}

#[tokio::test]
async fn nothing_is_done_without_a_session_or_with_a_forged_form() {
    let console = Running::start("10").await;
    let cookie = console.sign_in().await;
    let ticket = console.ticket(&cookie).await;
    let wanted = format!("act=rollback&ticket={ticket}");
    let without_session = console.form("/act", &wanted);
    let stranger = console.form("/act", &wanted).header(COOKIE, "perch_session=9999999999.r.61.00");
    let other_site = console.form("/act", &wanted).header(COOKIE, &cookie).header("sec-fetch-site", "cross-site");
    let framed = console.http.post(format!("{}/act", console.url)).header(ORIGIN, "null").header(COOKIE, &cookie);
    let framed = framed.header("content-type", "application/x-www-form-urlencoded").body(wanted.clone());
    let no_ticket = console.form("/act", "act=rollback&ticket=").header(COOKIE, &cookie);
    let other_session = console.form("/act", &wanted).header(COOKIE, console.sign_in().await);
    let in_address = console.http.get(format!("{}/act?{wanted}", console.url)).header(COOKIE, &cookie);
    for (request, expected) in [
        (without_session, StatusCode::UNAUTHORIZED),
        (stranger, StatusCode::UNAUTHORIZED),
        (other_site, StatusCode::FORBIDDEN),
        (framed, StatusCode::FORBIDDEN),
        (no_ticket, StatusCode::FORBIDDEN),
        (other_session, StatusCode::FORBIDDEN),
        (in_address, StatusCode::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(request.send().await.unwrap().status(), expected);
    }
    let wrong = console.form("/login", "name=ada&token=operator-token-0124").send().await.unwrap();
    assert_eq!((wrong.status(), wrong.headers().get(SET_COOKIE)), (StatusCode::UNAUTHORIZED, None));
    assert_eq!(console.gateway.share(), "10");
    assert!(console.audit_log().is_empty());
}

#[tokio::test]
async fn a_gateway_that_cannot_be_reached_is_named() {
    let mut console = Running::start("10").await;
    console.gateway = FakeGateway::unreachable();
    console.restart().await;
    let cookie = console.sign_in().await;
    let ticket = console.ticket(&cookie).await;
    let response = console.act(&cookie, &format!("act=set&share=50&ticket={ticket}")).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert!(response.text().await.unwrap().contains("127.0.0.1:9"));
    assert!(console.audit_log().is_empty());
    // A rollback goes to whom it can, and is a command to the guard for the rest.
    let response = console.act(&cookie, &format!("act=rollback&ticket={ticket}")).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(console.audit_log()[0].1, "rolled back");
}

#[tokio::test]
async fn case_6c_the_console_reports_that_nothing_was_done_when_there_is_no_space_for_the_entry() {
    let console = Running::start("10").await;
    let cookie = console.sign_in().await;
    let ticket = console.ticket(&cookie).await;
    std::fs::create_dir(console.folder.path().join("audit_log.probe")).unwrap();
    let response = console.act(&cookie, &format!("act=set&share=50&ticket={ticket}")).await.text().await.unwrap();
    assert!(response.contains("Nothing was done") && response.contains("no gateway was changed"), "{response}");
    assert_eq!(console.gateway.share(), "10");
}

#[tokio::test]
async fn an_alert_rolls_back_once() {
    let mut console = Running::start("50").await;
    let fired = alert("FilterReloaded", "2026-11-25T02:30:05Z");
    let response = console.post(HOOK_TOKEN, fired.clone()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.text().await.unwrap(), r#"{"rolled_back":1}"#);
    assert_eq!(console.gateway.share(), "0");
    let by = || Actor::Alert("FilterReloaded".into());
    let expected = [(by(), "rolled back".to_owned()), (by(), "set the share from 50% to 0%".to_owned())];
    assert_eq!(console.audit_log(), expected);

    console.restart().await;
    assert_eq!(console.post(HOOK_TOKEN, fired).await.text().await.unwrap(), r#"{"rolled_back":0}"#);
    assert_eq!(console.audit_log(), expected);
}

#[tokio::test]
async fn an_operator_who_acted_since_the_alert_began_supersedes_it() {
    let console = Running::start("0").await;
    let cookie = console.sign_in().await;
    let ticket = console.ticket(&cookie).await;
    console.act(&cookie, &format!("act=set&share=50&ticket={ticket}")).await;
    let response = console.post(HOOK_TOKEN, alert("FallbackRateHigh", "2020-01-01T00:00:00Z")).await;
    assert_eq!(response.text().await.unwrap(), r#"{"rolled_back":0}"#);
    assert_eq!(console.gateway.share(), "50");
    assert_eq!(console.audit_log()[1].1, "could not roll back to 0%");
    let ended = alert("FallbackRateHigh", "2020-01-01T00:00:00Z").replace("\"firing\"", "\"resolved\"");
    assert_eq!(console.post(HOOK_TOKEN, ended).await.status(), StatusCode::OK);
    let later = console.post(HOOK_TOKEN, alert("FallbackRateHigh", "2100-01-01T00:00:00Z")).await;
    assert_eq!(later.text().await.unwrap(), r#"{"rolled_back":1}"#);
    assert_eq!(console.gateway.share(), "0");
}

#[tokio::test]
async fn case_16_a_sound_alert_rolls_back_beside_an_odd_one_which_is_written_down() {
    let console = Running::start("50").await;
    let fired = alert("FilterReloaded", "2026-11-25T02:30:05Z");
    let odd = r#"{"status":"firing","labels":{"perch_action":"rollback"},"startsAt":"2026-11-25T02:30:05Z","fingerprint":"f2"}"#;
    let both = fired.replace(r#""alerts":["#, &format!(r#""alerts":[{odd},"#));
    for rolled_back in [1, 0] {
        let response = console.post(HOOK_TOKEN, both.clone()).await;
        assert_eq!(response.status(), StatusCode::OK);
        let text = response.text().await.unwrap();
        assert!(text.contains(&format!("\"rolled_back\":{rolled_back}")), "{text}");
        assert!(text.contains("alerts[0]: alertname is missing"), "{text}");
    }
    assert_eq!(console.gateway.share(), "0");
    let odd = console.audit_log().iter().filter(|(_, what)| what == "could not roll back to 0%").count();
    assert_eq!(odd, 1, "once, however often it is sent: {:?}", console.audit_log());
}

#[tokio::test]
async fn case_e7_an_operator_overrules_an_alert_whose_clock_runs_ahead() {
    let console = Running::start("50").await;
    let post = async |starts: &str| {
        let response = console.post(HOOK_TOKEN, alert("FilterReloaded", starts)).await;
        (response.text().await.unwrap(), console.gateway.share())
    };
    let (done, nothing) = (r#"{"rolled_back":1}"#.to_owned(), r#"{"rolled_back":0}"#.to_owned());
    assert_eq!(post("2100-01-01T01:00:00Z").await, (done, "0".into()));
    let cookie = console.sign_in().await;
    let ticket = console.ticket(&cookie).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    console.act(&cookie, &format!("act=set&share=10&ticket={ticket}")).await;
    assert_eq!(post("2100-01-01T01:00:00Z").await, (nothing.clone(), "10".into()));
    assert_eq!(post("2100-01-01T00:50:00Z").await, (nothing, "10".into()));
}

#[tokio::test]
async fn case_66_an_alert_that_starts_again_after_a_restart_does_not_overrule_an_operator() {
    let console = Running::start("50").await;
    let post = async |start: &str, status: &str| {
        let body = alert("FilterReloaded", start).replace("\"firing\"", &format!("\"{status}\""));
        console.post(HOOK_TOKEN, body).await.text().await.unwrap()
    };
    assert_eq!(post("2026-11-25T02:30:05Z", "firing").await, r#"{"rolled_back":1}"#);
    let cookie = console.sign_in().await;
    let ticket = console.ticket(&cookie).await;
    console.act(&cookie, &format!("act=set&share=10&ticket={ticket}")).await;
    // Prometheus and Alertmanager have been restarted, and the alert, which never ended, has started again.
    let later = "2100-01-01T00:00:00Z";
    for _ in 0..3 {
        assert_eq!(post(later, "firing").await, r#"{"rolled_back":0}"#);
    }
    assert_eq!(console.gateway.share(), "10");
    post(later, "resolved").await;
    post(later, "resolved").await;
    assert_eq!(post("2100-01-01T00:00:01Z", "firing").await, r#"{"rolled_back":1}"#, "another one");
    assert_eq!(console.gateway.share(), "0");
    let ended = console.audit_log().iter().filter(|(_, words)| words == "resolved").count();
    assert_eq!(ended, 1);
}

#[tokio::test]
async fn an_alert_that_cannot_be_written_down_does_not_keep_the_next_one_from_rolling_back() {
    let console = Running::start("50").await;
    let ended = alert("FallbackRateHigh", "2020-01-01T00:00:00Z").replace("\"firing\"", "\"resolved\"");
    let fired: serde_json::Value = serde_json::from_str(&alert("FilterReloaded", "2026-11-25T02:30:05Z")).unwrap();
    let mut both: serde_json::Value = serde_json::from_str(&ended).unwrap();
    both["alerts"].as_array_mut().unwrap().push(fired["alerts"][0].clone());
    // The log can be neither locked nor written.
    let lock = console.folder.path().join("audit_log.lock");
    let _ = std::fs::remove_file(&lock);
    std::fs::create_dir(&lock).unwrap();
    let response = console.post(HOOK_TOKEN, both.to_string()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.text().await.unwrap().contains("the share is 0% on every gateway"));
    assert_eq!(console.gateway.share(), "0");
}

#[tokio::test]
async fn a_post_that_is_not_alertmanagers_is_refused() {
    let console = Running::start("50").await;
    let fired = alert("FilterReloaded", "2026-11-25T02:30:05Z");
    for token in ["", "wrong-token-of-a-stranger", TOKEN] {
        assert_eq!(console.post(token, fired.clone()).await.status(), StatusCode::UNAUTHORIZED);
    }
    let huge = fired.replace("it hurts", &"x".repeat(hook::BODY_BYTES));
    assert_eq!(console.post(HOOK_TOKEN, huge).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(console.post(HOOK_TOKEN, "[]").await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(console.gateway.share(), "50");
    assert!(console.audit_log().is_empty());
}

#[tokio::test]
async fn every_page_is_there_also_without_any_data_and_is_closed_to_others() {
    let console = Running::start("10").await;
    for path in ["/", "/labels", "/labels?rule=a&model=b", "/ramp", "/model", "/audit", "/login"] {
        let page = console.get(path).await;
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        let policy = page.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(
            (&page.headers()["x-frame-options"], &page.headers()["cache-control"]),
            (&"DENY".parse().unwrap(), &"no-store".parse().unwrap())
        );
        let text = page.text().await.unwrap();
        assert!(!text.contains(" style=") && !text.contains("http://") && !text.contains("https://"), "{path}: {text}");
    }
    let stranger = console.http.get(&console.url).header(HOST, "evil.example").send().await.unwrap();
    assert_eq!(stranger.status(), StatusCode::MISDIRECTED_REQUEST);
    let prometheus = console.http.get(format!("{}/metrics", console.url)).header(HOST, "perch:8030").send().await;
    assert_eq!(prometheus.unwrap().status(), StatusCode::OK);
    let cut = console.form("/login", &"x".repeat(20_000)).send().await.unwrap();
    assert_eq!(cut.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn the_guards_report_is_shown_and_nothing_in_it_becomes_markup() {
    let console = Running::start("10").await;
    let agreement = CheckResult {
        value: Some(0.9),
        lower: Some(0.89),
        upper: Some(0.91),
        sample: 5_000.0,
        ..CheckResult::no_data(Check::Agreement, Unit::Requests, true, "<script>alert(1)</script>")
    };
    let report = EvaluationReport {
        at_ms: guard_runtime::clock::now_ms(),
        interval_ms: 5_000,
        leading: true,
        phase: Some(Phase::Step),
        share: Some(0.1),
        plan: Some(RawPlan::default()),
        decision: Some(Decision {
            at_ms: 0,
            action: Action::Hold,
            set_share: None,
            reasons: vec!["12 min at this step, the plan requires 48 h".into()],
            checks: vec![agreement],
        }),
        ..EvaluationReport::default()
    };
    std::fs::write(console.folder.path().join(STATUS_FILE), serde_json::to_string(&report).unwrap()).unwrap();
    let audit_log = AuditLog::in_folder(console.folder.path()).unwrap();
    audit_log.lock().await.unwrap().append(1, Actor::Operator("<b>ada</b>".into()), Event::Pause, "").unwrap();
    let page = console.get("/").await.text().await.unwrap();
    for shown in ["<strong>10%</strong>", "12 min at this step", "89.0% – 91.0%", "&lt;b&gt;ada", "&lt;script&gt;"] {
        assert!(page.contains(shown), "{shown} in {page}");
    }
    assert!(page.contains("aria-current=\"step\">10%"), "{page}");
    assert!(!page.contains("<script>alert") && !page.contains("<b>ada"), "{page}");
}
