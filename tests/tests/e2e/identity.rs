//! Who a user is: the first of the configured sources that says so.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use contract::series::IDENTITY;
use contract::share::Share;
use e2e::channel_body::{self, ChannelBody};
use e2e::client::{Client, Protocol, post, request_body};
use e2e::eventually::eventually;
use e2e::jwt::Issuer;
use e2e::scripted_stack::ScriptedStack;
use http::{HeaderName, HeaderValue, Request};
use serde_json::{Value, json};

const HALF: Share = Share::percent(50);

async fn gateway(identity: Value) -> anyhow::Result<ScriptedStack> {
    let config = json!({"identity": identity, "identity_body_bytes": 4_096});
    ScriptedStack::start(|builder| builder.share(HALF).filter_config(&config)).await
}

fn request_with(headers: &[(&str, &str)]) -> anyhow::Result<Request<ChannelBody>> {
    with_body(headers, &String::from_utf8(request_body([88]).to_vec())?)
}

fn with_body(headers: &[(&str, &str)], body: &str) -> anyhow::Result<Request<ChannelBody>> {
    let mut request = post(e2e::client::PATH, body.to_owned())?;
    for (name, value) in headers {
        request.headers_mut().append(HeaderName::from_bytes(name.as_bytes())?, value.parse()?);
    }
    Ok(request)
}

/// The bucket in the observation after the first `before`.
async fn observed(gateway: &ScriptedStack, before: usize) -> anyhow::Result<Option<String>> {
    let seen = Cell::new(None);
    eventually("the observation", || async {
        let observations = gateway.observations()?;
        anyhow::ensure!(observations.len() == before + 1, "{} came", observations.len() - before);
        seen.set(observations.last().map(|observation| observation.bucket.clone()));
        Ok(())
    })
    .await?;
    Ok(seen.take().flatten())
}

/// The request is that of `user`, from `source`: the arm is the user's, and so are the bucket that the scorer is called
/// with and the observation's.
async fn is(gateway: &ScriptedStack, request: Request<ChannelBody>, user: &str, source: &str) -> anyhow::Result<()> {
    let (before, earlier) = (gateway.scrape().await?, gateway.observations()?.len());
    let bucket = gateway.stack.bucket(user)?;
    let inside = HALF.includes(bucket);
    let response = gateway.send(request).await?;
    assert_eq!(
        (response.status.as_u16(), response.arm()),
        (200, if inside { "candidate" } else { "baseline" }),
        "{user}"
    );
    if inside {
        let asked =
            gateway.candidate_requests().last().map(|request| request.header(contract::headers::BUCKET).to_owned());
        assert_eq!(asked, Some(bucket.to_string()), "{user}");
    }
    assert_eq!(observed(gateway, earlier).await?, Some(bucket.to_string()), "{user}");
    gateway.expect_changes(&before, &[IDENTITY], &[(IDENTITY, &[("source", source)], 1.0)]).await
}

/// The request has no user: it gets the baseline.
async fn has_no_user(gateway: &ScriptedStack, request: Request<ChannelBody>) -> anyhow::Result<()> {
    let (before, earlier) = (gateway.scrape().await?, gateway.observations()?.len());
    let response = gateway.send(request).await?;
    assert_eq!((response.status.as_u16(), response.arm()), (200, "baseline"));
    assert_eq!(observed(gateway, earlier).await?, None);
    gateway.expect_changes(&before, &[IDENTITY], &[(IDENTITY, &[("source", "none")], 1.0)]).await
}

fn users(gateway: &ScriptedStack) -> anyhow::Result<[String; 2]> {
    Ok([gateway.user(HALF, true)?, gateway.user(HALF, false)?])
}

#[tokio::test]
async fn a_header_names_the_user() -> anyhow::Result<()> {
    let gateway = gateway(json!([{"header": "x-account"}])).await?;
    for user in users(&gateway)? {
        is(&gateway, request_with(&[("x-account", &user)])?, &user, "header").await?;
    }
    has_no_user(&gateway, request_with(&[])?).await?;
    has_no_user(&gateway, request_with(&[("x-account", "")])?).await?;
    has_no_user(&gateway, request_with(&[("x-user-id", "ann")])?).await
}

#[tokio::test]
async fn a_header_that_is_not_text_names_a_user_too() -> anyhow::Result<()> {
    let gateway = gateway(json!([{"header": "x-account"}])).await?;
    let mut request = request_with(&[])?;
    request.headers_mut().insert("x-account", HeaderValue::from_bytes(b"m\xfcnchen")?);
    let response = gateway.send(request).await?;
    assert_eq!(response.status, 200);
    anyhow::ensure!(!response.arm().is_empty(), "the filter was not there");
    Ok(())
}

#[tokio::test]
async fn a_cookie_names_the_user() -> anyhow::Result<()> {
    let gateway = gateway(json!([{"cookie": "sid"}])).await?;
    for user in users(&gateway)? {
        for cookies in [format!("sid={user}"), format!("a=b; sid={user}; c=d"), format!("xsid=no;sid={user}")] {
            is(&gateway, request_with(&[("cookie", &cookies)])?, &user, "cookie").await?;
        }
    }
    has_no_user(&gateway, request_with(&[("cookie", "xsid=ann; sidx=ann; sid")])?).await
}

#[tokio::test]
async fn a_pointer_into_the_body_names_the_user_and_the_body_passes_whole() -> anyhow::Result<()> {
    let gateway = gateway(json!([{"body": "/user/id"}])).await?;
    for user in users(&gateway)? {
        let body = json!({"txn_ids": [88], "user": {"id": user}}).to_string();
        is(&gateway, with_body(&[], &body)?, &user, "body").await?;
        if !HALF.includes(gateway.stack.bucket(&user)?) {
            assert_eq!(gateway.rules.last()?.body, body);
        }
    }
    is(&gateway, with_body(&[], r#"{"txn_ids":[88],"user":{"id":4711}}"#)?, "4711", "body").await?;
    has_no_user(&gateway, with_body(&[], r#"{"txn_ids":[88],"user":{}}"#)?).await?;
    has_no_user(&gateway, with_body(&[], "not json")?).await?;
    has_no_user(&gateway, with_body(&[], "")?).await?;
    // Past its bound a body is not read for an identity.
    let long = json!({"txn_ids": [88], "padding": "a".repeat(10_000), "user": {"id": "ann"}}).to_string();
    has_no_user(&gateway, with_body(&[], &long)?).await?;
    assert_eq!(gateway.rules.last()?.body, long);
    Ok(())
}

#[tokio::test]
async fn a_body_in_pieces_names_the_user_and_reaches_the_upstream_whole() -> anyhow::Result<()> {
    let gateway = gateway(json!([{"body": "/user/id"}])).await?;
    for user in users(&gateway)? {
        for trailed in [false, true] {
            let text = json!({"padding": "a".repeat(3_000), "txn_ids": [88], "user": {"id": user}}).to_string();
            let (feed, body) = channel_body::channel();
            let mut request = post(e2e::client::PATH, "")?;
            *request.body_mut() = body;
            let pieces: Vec<Bytes> = text.as_bytes().chunks(700).map(Bytes::copy_from_slice).collect();
            tokio::spawn(async move {
                for piece in pieces {
                    feed.data(piece).await;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                if trailed {
                    let trailers = [(HeaderName::from_static("x-end"), HeaderValue::from_static("yes"))];
                    feed.send(hyper::body::Frame::trailers(trailers.into_iter().collect())).await;
                }
            });
            let inside = HALF.includes(gateway.stack.bucket(&user)?);
            let response = Client::once(gateway.address(), Protocol::H2, request).await?;
            let arm = if inside { "candidate" } else { "baseline" };
            assert_eq!((response.status.as_u16(), response.arm()), (200, arm), "{user}, trailers: {trailed}");
            let asked = if inside { gateway.candidate_requests().last().cloned() } else { Some(gateway.rules.last()?) };
            assert_eq!(asked.map(|asked| asked.body), Some(text.into()), "{user}, trailers: {trailed}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_first_source_that_has_the_user_decides() -> anyhow::Result<()> {
    let gateway = gateway(json!([{"header": "x-user-id"}, {"cookie": "sid"}, {"body": "/user_id"}])).await?;
    let [inside, outside] = users(&gateway)?;
    let body = json!({"txn_ids": [88], "user_id": inside}).to_string();
    let cookie = format!("sid={inside}");
    is(&gateway, with_body(&[("x-user-id", &outside), ("cookie", &cookie)], &body)?, &outside, "header").await?;
    is(&gateway, with_body(&[("cookie", &cookie)], &body)?, &inside, "cookie").await?;
    is(&gateway, with_body(&[], &body)?, &inside, "body").await
}

/// Puts Envoy's `jwt_authn` in front of Perch's filters: it checks the token and leaves the claims in the metadata.
pub(super) fn with_jwt_authn(config: &str, issuer: &Issuer) -> String {
    let filter = json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"test": {
                "issuer": "https://issuer.test",
                "payload_in_metadata": "jwt_payload",
                "local_jwks": {"inline_string": issuer.key_set()},
            }},
            "rules": [{"match": {"prefix": "/"}, "requires": {"requires_any": {"requirements": [
                {"provider_name": "test"}, {"allow_missing": {}},
            ]}}}],
        },
    });
    let (before, after) = config.split_once("http_filters:\n").unwrap_or((config, ""));
    format!("{before}http_filters:\n          - {filter}\n{after}")
}

#[tokio::test]
async fn a_claim_of_a_checked_token_names_the_user() -> anyhow::Result<()> {
    let issuer = std::sync::Arc::new(Issuer::new(b"a secret of at least 32 bytes, is it"));
    let config = json!({"identity": [{"jwt": {"payload": "jwt_payload", "claim": "sub"}}]});
    let authn = issuer.clone();
    let gateway = ScriptedStack::start(|builder| {
        // The native module reads no nested metadata, and says so.
        let module = builder.checkout().wasm_filter();
        builder
            .share(HALF)
            .filter_config(&config)
            .module(module)
            .edit_config(move |config| with_jwt_authn(&config, &authn))
    })
    .await?;
    for user in users(&gateway)? {
        let token = issuer.sign(&json!({"iss": "https://issuer.test", "sub": user}));
        is(&gateway, request_with(&[("authorization", &format!("Bearer {token}"))])?, &user, "jwt").await?;
    }
    let without_claim = issuer.sign(&json!({"iss": "https://issuer.test"}));
    has_no_user(&gateway, request_with(&[("authorization", &format!("Bearer {without_claim}"))])?).await?;
    has_no_user(&gateway, request_with(&[])?).await?;
    let forged =
        Issuer::new(b"another secret of at least 32 bytes!").sign(&json!({"iss": "https://issuer.test", "sub": "ann"}));
    assert_eq!(gateway.send(request_with(&[("authorization", &format!("Bearer {forged}"))])?).await?.status, 401);
    Ok(())
}
