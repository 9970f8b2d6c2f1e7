//! Users outside of the share: a beta cohort with a share of its own, and users who always get the baseline.

use std::sync::Arc;

use anyhow::ensure;
use contract::names::Cohort;
use contract::share::{self, BETA_KEY, RUNTIME_KEY, Share};
use e2e::channel_body::ChannelBody;
use e2e::client::{Client, Protocol, request_body, suggest};
use e2e::eventually::eventually;
use e2e::jwt::Issuer;
use e2e::scripted_stack::ScriptedStack;
use http::Request;
use serde_json::{Value, json};

use crate::identity::with_jwt_authn;

const GROUP: &str = "x-user-group";

fn by_header() -> Value {
    json!({"cohorts": {
        "beta": [{"header": {"name": GROUP, "values": ["staff"]}}],
        "opt_out": [{"header": {"name": GROUP, "values": ["never", "ask-again"]}}],
    }})
}

async fn gateway(config: &Value, share: Share, beta: Share) -> anyhow::Result<ScriptedStack> {
    let gateway = ScriptedStack::start(|builder| builder.share(share).filter_config(config)).await?;
    gateway.set_runtime(BETA_KEY, &beta.to_runtime()).await?;
    Ok(gateway)
}

fn of_group(user: &str, group: Option<&str>) -> anyhow::Result<Request<ChannelBody>> {
    let mut request = suggest(user, request_body([88]))?;
    if let Some(group) = group {
        request.headers_mut().insert(GROUP, group.parse()?);
    }
    Ok(request)
}

#[tokio::test]
async fn every_user_of_every_cohort_has_the_arm_that_the_function_says() -> anyhow::Result<()> {
    let gateway = gateway(&by_header(), Share::percent(10), Share::percent(50)).await?;
    let groups = [(None, Cohort::Ordinary), (Some("staff"), Cohort::Beta), (Some("never"), Cohort::OptOut)];
    for (share, beta) in [(10, 50), (0, 100), (100, 0), (50, 10), (0, 0)] {
        let (share, beta) = (Share::percent(share), Share::percent(beta));
        gateway.stack.admin().set_runtime(RUNTIME_KEY, &share.to_runtime()).await?;
        gateway.set_runtime(BETA_KEY, &beta.to_runtime()).await?;
        let mut client = Client::connect(gateway.address(), Protocol::H2).await?;
        for user in 0..120 {
            let user = format!("user-{user}");
            for (group, cohort) in groups {
                let expected = share::arm(gateway.stack.bucket(&user)?, cohort, share, beta);
                let response = client.send(of_group(&user, group)?).await?;
                let seen = (response.status.as_u16(), response.arm());
                ensure!(seen == (200, expected.as_str()), "{user} of {group:?} at {share} and {beta}: {seen:?}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_cohort_is_observed() -> anyhow::Result<()> {
    let gateway = ScriptedStack::start(|builder| builder.filter_config(&by_header())).await?;
    for group in [None, Some("staff"), Some("ask-again")] {
        gateway.send(of_group("ann", group)?).await?;
    }
    eventually("the observations", || async {
        let seen: Vec<Cohort> = gateway.observations()?.iter().map(|seen| seen.cohort).collect();
        ensure!(seen == [Cohort::Ordinary, Cohort::Beta, Cohort::OptOut], "{seen:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn pseudonyms_name_users_wherever_they_come_from() -> anyhow::Result<()> {
    let salt = "perch-frozen-vectors";
    // user-42, as frozen in the contract.
    let config = json!({"cohorts": {"opt_out": [{"pseudonyms": ["cc343e210017e385"]}]}});
    let gateway = ScriptedStack::start(|builder| builder.share(Share::ALL).salt(salt).filter_config(&config)).await?;
    assert_eq!(gateway.send(suggest("user-42", request_body([88]))?).await?.arm(), "baseline");
    assert_eq!(gateway.send(suggest("user-43", request_body([88]))?).await?.arm(), "candidate");
    Ok(())
}

#[tokio::test]
async fn a_verified_claim_names_users() -> anyhow::Result<()> {
    let issuer = Arc::new(Issuer::new(b"a secret of at least 32 bytes, is it"));
    let member = json!({"jwt": {"payload": "jwt_payload", "claim": "group", "values": ["staff", "true"]}});
    let config = json!({"cohorts": {"beta": [member]}});
    let authn = issuer.clone();
    let gateway = ScriptedStack::start(|builder| {
        // The native module reads no nested metadata, and says so.
        let module = builder.checkout().wasm_filter();
        builder.filter_config(&config).module(module).edit_config(move |config| with_jwt_authn(&config, &authn))
    })
    .await?;
    gateway.set_runtime(BETA_KEY, &Share::ALL.to_runtime()).await?;
    let groups = [
        (json!("staff"), "candidate"),
        (json!(true), "candidate"),
        (json!("guest"), "baseline"),
        (json!(false), "baseline"),
        (json!(["staff"]), "baseline"),
    ];
    for (group, arm) in groups {
        let token = issuer.sign(&json!({"iss": "https://issuer.test", "group": group}));
        let mut request = suggest("ann", request_body([88]))?;
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
        assert_eq!(gateway.send(request).await?.arm(), arm, "{group}");
    }
    Ok(())
}

#[tokio::test]
async fn without_cohorts_the_beta_share_moves_nobody() -> anyhow::Result<()> {
    let gateway = gateway(&json!({}), Share::OFF, Share::ALL).await?;
    assert_eq!(gateway.send(of_group("ann", Some("staff"))?).await?.arm(), "baseline");
    Ok(())
}
