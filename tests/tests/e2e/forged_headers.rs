//! Headers of Perch's that a client or an upstream forges change no user's arm, whether the filter runs or not.

use contract::headers;
use contract::series::{FALLBACK, SOURCE};
use contract::share::Share;
use e2e::client::{Client, ClientResponse, Protocol, request_body, suggest};
use e2e::scripted_stack::{ScriptedStack, items};
use e2e::upstream::Script;

/// A request of `user` with every header of ours made up, the bucket being that of a user in the canary.
async fn forging(
    gateway: &ScriptedStack,
    protocol: Protocol,
    user: Option<&str>,
    inside: &str,
) -> anyhow::Result<ClientResponse> {
    let mut request = suggest(user.unwrap_or("nobody"), request_body([88]))?;
    if user.is_none() {
        request.headers_mut().remove(headers::DEMO_IDENTITY);
    }
    let bucket = gateway.stack.bucket(inside)?.to_string();
    for (name, value) in [
        (headers::BUCKET, bucket.as_str()),
        (headers::ARM, "candidate"),
        (headers::SCORER, "1"),
        ("x-perch-unsampled", "1"),
        (headers::FALLBACK, "reset"),
        ("x-perch-anything", "else"),
    ] {
        request.headers_mut().append(name, value.parse()?);
    }
    Client::once(gateway.address(), protocol, request).await
}

fn ours(headers: &http::HeaderMap) -> Vec<String> {
    headers.keys().map(ToString::to_string).filter(|name| name.starts_with(headers::PREFIX)).collect()
}

#[tokio::test]
async fn a_live_filter_is_not_steered_by_a_client() -> anyhow::Result<()> {
    let half = Share::percent(50);
    let gateway = ScriptedStack::start(|builder| builder.share(half)).await?;
    let (inside, outside) = (gateway.user(half, true)?, gateway.user(half, false)?);
    for protocol in [Protocol::H1, Protocol::H2] {
        assert_eq!(forging(&gateway, protocol, Some(&outside), &inside).await?.arm(), "baseline");
        assert_eq!(ours(&gateway.rules.last()?.headers), Vec::<String>::new());
        assert_eq!(forging(&gateway, protocol, Some(&inside), &outside).await?.arm(), "candidate");
        assert_eq!(forging(&gateway, protocol, None, &inside).await?.arm(), "baseline");
        assert_eq!(ours(&gateway.rules.last()?.headers), Vec::<String>::new(), "nor has a user without an identity");
    }
    // A client cannot keep its requests from being observed either.
    e2e::eventually::eventually("the observations", || async {
        anyhow::ensure!(gateway.observations()?.len() == 6, "{} came", gateway.observations()?.len());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn headers_are_removed_whatever_their_letters_case_is() -> anyhow::Result<()> {
    let half = Share::percent(50);
    let gateway = ScriptedStack::start(|builder| builder.share(half)).await?;
    let (inside, outside) = (gateway.user(half, true)?, gateway.user(half, false)?);
    let bucket = gateway.stack.bucket(&inside)?.to_string();
    let request = e2e::raw_client::post(
        e2e::client::PATH,
        &[("X-User-Id", outside.as_str()), ("X-PERCH-Bucket", &bucket), ("X-Perch-Other", "1")],
        &request_body([88]),
    );
    let mut raw = e2e::raw_client::RawClient::connect(gateway.address()).await?;
    raw.write(&request).await?;
    let response = String::from_utf8(raw.read_to_end().await?)?.to_lowercase();
    anyhow::ensure!(response.contains("x-perch-arm: baseline"), "{response}");
    assert_eq!(ours(&gateway.rules.last()?.headers), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_spelling_with_underscores_is_refused_or_removed() -> anyhow::Result<()> {
    let raw = |gateway: &ScriptedStack| {
        let (address, body) = (gateway.address(), request_body([88]));
        let request =
            e2e::raw_client::post(e2e::client::PATH, &[("x-user-id", "ann"), ("X_Perch-Arm", "candidate")], &body);
        async move {
            let mut raw = e2e::raw_client::RawClient::connect(address).await?;
            raw.write(&request).await?;
            anyhow::Ok(String::from_utf8(raw.read_to_end().await?)?.to_lowercase())
        }
    };
    let gateway = ScriptedStack::start(|builder| builder).await?;
    let response = raw(&gateway).await?;
    anyhow::ensure!(response.starts_with("http/1.1 400"), "{response}");
    assert_eq!(gateway.rules.hits(), 0);
    let allow = |config: String| config.replace("REJECT_REQUEST", "ALLOW");
    let gateway = ScriptedStack::start(|builder| builder.edit_config(allow)).await?;
    let response = raw(&gateway).await?;
    anyhow::ensure!(response.starts_with("http/1.1 200"), "{response}");
    let received = gateway.rules.last()?;
    anyhow::ensure!(received.headers.keys().all(|name| !name.as_str().contains("perch")), "{:?}", received.headers);
    Ok(())
}

#[tokio::test]
async fn with_a_dead_filter_a_forged_header_gets_the_baseline() -> anyhow::Result<()> {
    let salt = serde_json::json!({"salt": "short"});
    for dead in [true, false] {
        let gateway = ScriptedStack::start(|builder| {
            let builder = builder.share(Share::ALL);
            // Once a filter that refuses its configuration, once none at all.
            if dead { builder.filter_config(&salt).salt("0123456789abcdef") } else { builder.no_filter() }
        })
        .await?;
        for protocol in [Protocol::H1, Protocol::H2] {
            let response = forging(&gateway, protocol, Some("ann"), "ann").await?;
            assert_eq!((response.status.as_u16(), response.arm()), (200, ""));
            assert_eq!(ours(&gateway.rules.last()?.headers), Vec::<String>::new());
        }
        assert_eq!(gateway.scorer.hits(), 0);
    }
    Ok(())
}

#[tokio::test]
async fn response_headers_of_perch_that_an_application_writes_are_replaced() -> anyhow::Result<()> {
    let gateway = ScriptedStack::start(|builder| builder).await?;
    gateway.rules.respond_with(|request| {
        Script::json(200, items(request, "groceries"))
            .header(headers::ARM, "candidate")
            .header(headers::FALLBACK, "reset")
            .header(headers::MODEL_VERSION, "mine")
            .header(headers::SCORER, "1")
    });
    let before = gateway.scrape().await?;
    let response = gateway.send(suggest("ann", request_body([88]))?).await?;
    assert_eq!(response.headers.get_all(headers::ARM).iter().collect::<Vec<_>>(), ["baseline"]);
    assert_eq!(ours(&response.headers), [headers::ARM]);
    gateway.expect_changes(&before, &[SOURCE, FALLBACK], &[(SOURCE, &[("source", "rule")], 1.0)]).await
}
