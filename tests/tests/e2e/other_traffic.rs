//! What Perch leaves alone: other traffic, and what the application responds with, errors included.

use std::net::TcpListener;

use anyhow::ensure;
use contract::headers;
use contract::series::{COMPARE, INTERCEPTED, OBSERVATION, SOURCE};
use contract::share::Share;
use e2e::client::{Client, PATH, Protocol, get, post, request_body, suggest};
use e2e::scripted_stack::ScriptedStack;
use e2e::upstream::Script;
use http::Method;

const OURS: [&str; 2] = ["lm_", "perch_"];

#[tokio::test]
async fn other_paths_and_methods_never_enter_the_filter() -> anyhow::Result<()> {
    let gateway = ScriptedStack::all_canary().await?;
    let before = gateway.scrape().await?;
    let paths =
        ["/", "/ml/suggestion", "/ml/suggestionsx", "/ml/suggestions/", "/ml/suggestions/88", "/ML/SUGGESTIONS"];
    let mut requests = Vec::new();
    for path in paths {
        requests.push(post(path, request_body([88]))?);
    }
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS, Method::HEAD] {
        let mut request = get(PATH)?;
        *request.method_mut() = method;
        requests.push(request);
    }
    for mut request in requests {
        let what = format!("{} {}", request.method(), request.uri());
        request.headers_mut().insert(headers::DEMO_IDENTITY, "ann".parse()?);
        let response = gateway.send(request).await?;
        assert_eq!((response.status.as_u16(), response.arm()), (200, ""), "{what}");
        assert_eq!(gateway.rules.last()?.header(headers::BUCKET), "", "{what}");
    }
    gateway.expect_changes(&before, &OURS, &[]).await
}

#[tokio::test]
async fn a_query_does_not_take_a_request_out() -> anyhow::Result<()> {
    let gateway = ScriptedStack::all_canary().await?;
    for (path, arm) in
        [("/ml/suggestions?a=b", "candidate"), ("/ml/suggestions?", "candidate"), ("/ml/suggestions/?a=b", "")]
    {
        let mut request = suggest("ann", request_body([88]))?;
        *request.uri_mut() = path.parse()?;
        assert_eq!(gateway.send(request).await?.arm(), arm, "{path}");
    }
    ensure!(
        gateway.candidate_requests().iter().any(|request| request.path == "/ml/suggestions?a=b"),
        "the query is lost"
    );
    Ok(())
}

#[tokio::test]
async fn another_route_can_be_intercepted_instead() -> anyhow::Result<()> {
    let config = serde_json::json!({
        "intercept": {"method": "PUT", "path": "/api/labels"},
        "response": {"items": "/result/rows", "id": "/key", "label": "/tag", "abstain": []},
    });
    let gateway = ScriptedStack::start(|builder| builder.share(Share::ALL).filter_config(&config)).await?;
    let body = r#"{"result":{"rows":[{"key":1,"tag":"a"}]}}"#;
    gateway.rules.respond(Script::json(200, r#"{"result":{"rows":[{"key":1,"tag":"b"}]}}"#));
    gateway.candidate_responds(e2e::scripted_stack::candidate_script(200, body));
    let mut request = suggest("ann", request_body([88]))?;
    *request.method_mut() = Method::PUT;
    *request.uri_mut() = "/api/labels".parse()?;
    let response = gateway.send(request).await?;
    assert_eq!((response.arm(), &response.body[..]), ("candidate", body.as_bytes()));
    assert_eq!(gateway.send(suggest("ann", request_body([88]))?).await?.arm(), "", "the default is not intercepted");
    Ok(())
}

#[tokio::test]
async fn errors_of_the_application_pass_unchanged() -> anyhow::Result<()> {
    let gateway = ScriptedStack::start(|builder| builder).await?;
    let before = gateway.scrape().await?;
    let statuses = [400, 401, 404, 422, 429, 500, 502, 503, 504, 301, 204];
    for status in statuses {
        let body = if status == 204 { String::new() } else { format!("{{\"detail\":\"no {status} today\"}}") };
        gateway.rules.respond(Script::json(status, body.clone()).header("retry-after", "7"));
        for protocol in [Protocol::H1, Protocol::H2] {
            let response = Client::once(gateway.address(), protocol, suggest("ann", request_body([88]))?).await?;
            assert_eq!((response.status.as_u16(), &response.body[..]), (status, body.as_bytes()));
            assert_eq!((response.header("retry-after"), response.arm()), ("7", "baseline"));
        }
    }
    // Errors are observed with no items; a source is counted for what is 2xx.
    let requests = 2.0 * f64::from(u32::try_from(statuses.len())?);
    let expected = [
        (INTERCEPTED, &[][..], requests),
        (OBSERVATION, &[("outcome", "observed")][..], requests),
        (SOURCE, &[("source", "rule")][..], 2.0),
    ];
    gateway.expect_changes(&before, &[INTERCEPTED, OBSERVATION, SOURCE], &expected).await
}

#[tokio::test]
async fn envoys_own_error_when_the_rules_are_down_passes_unchanged() -> anyhow::Result<()> {
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let plain = ScriptedStack::start(|builder| builder.no_filter().rules_at(nobody)).await?;
    let gateway = ScriptedStack::start(|builder| builder.rules_at(nobody)).await?;
    let before = gateway.scrape().await?;
    let without = plain.send(suggest("ann", request_body([88]))?).await?;
    let with = gateway.send(suggest("ann", request_body([88]))?).await?;
    assert_eq!((with.status, &with.body), (without.status, &without.body));
    assert_eq!((with.status.as_u16(), with.arm()), (503, "baseline"));
    gateway.expect_changes(&before, &[SOURCE, COMPARE], &[]).await?;
    gateway.expect_changes(&before, &[INTERCEPTED], &[(INTERCEPTED, &[], 1.0)]).await
}

#[tokio::test]
async fn rules_that_break_off_break_off_for_the_client_too() -> anyhow::Result<()> {
    let gateway = ScriptedStack::start(|builder| builder).await?;
    let before = gateway.scrape().await?;
    gateway.rules.respond(Script::new(200, vec![b'a'; 50_000]).cut_after(20_000, e2e::upstream::Cut::Reset));
    let response = gateway.send(suggest("ann", request_body([88]))?).await;
    ensure!(response.is_err(), "half an answer looks whole: {:?}", response.map(|response| response.body.len()));
    let incomplete = [("outcome", "incomplete")];
    gateway.expect_changes(&before, &[OBSERVATION, SOURCE], &[(OBSERVATION, &incomplete, 1.0)]).await
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_is_served() -> anyhow::Result<()> {
    let gateway = ScriptedStack::all_canary().await?;
    let body = request_body([88]);
    let request = e2e::raw_client::post(PATH, &[("x-user-id", "ann"), ("expect", "100-continue")], &body);
    let (head, body) = request.split_at(request.len() - body.len());
    let mut client = e2e::raw_client::RawClient::connect(gateway.address()).await?;
    client.write(head).await?;
    let interim = client.read(1).await?;
    ensure!(interim.starts_with(b"HTTP/1.1 100"), "{:?}", String::from_utf8_lossy(&interim));
    client.write(body).await?;
    let response = String::from_utf8(client.read_to_end().await?)?;
    ensure!(response.contains("x-perch-arm: candidate"), "{response}");
    Ok(())
}
