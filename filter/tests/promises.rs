//! The filter's promises, on a host that is played: whole requests through the two plugins, and the central promises as
//! properties over any order of callbacks, any bytes and any status that a host may return.

// A test's own mistake may end the test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod played;

use std::collections::BTreeMap;

use contract::batch_result::{self, BatchResult};
use contract::frame::{Batch, PATH};
use contract::names::{Arm, FallbackReason};
use played::{Gateway, MODEL, OBSERVE, Reply, Request};
use proptest::prelude::*;

const BODY: &[u8] = br#"{"txn_ids":[88]}"#;
const RULES: &[u8] = br#"{"items":[{"txn_id":"88","candidates":[{"label":"coffee"}]}]}"#;
const MODELS: &[u8] = br#"{"items":[{"txn_id":"88","candidates":[{"label":"groceries"}]}]}"#;

fn good() -> Reply {
    Reply::of(200, &[("x-perch-scorer", "1"), ("x-perch-model-version", "v7")], MODELS)
}

fn verdict(observations: u32) -> Reply {
    let verdict = BatchResult {
        version: batch_result::VERSION,
        observations,
        agree_true: observations,
        ..BatchResult::default()
    };
    Reply::of(200, &[("x-perch-scorer", "1")], &serde_json::to_vec(&verdict).unwrap())
}

#[test]
fn a_user_of_the_rules_is_observed_and_told_who_answered() {
    let mut gateway = Gateway::start("{}");
    let request = gateway.send(&Request::of("user-42", BODY));
    // Frozen: a change here moves every user of every deployment.
    assert_eq!(gateway.bucket(request).as_deref(), Some("cc343e210017e385"));
    gateway.answer(request, 200, &[("x-perch-arm", "model"), ("x-perch-model-version", "evil")], RULES);
    assert_eq!(gateway.told(request), [("x-perch-arm".to_owned(), "rule".to_owned())]);
    gateway.tick();
    let call = gateway.calls().remove(0);
    assert_eq!((call.cluster.as_str(), call.path.as_str()), ("perch_scorer_observe", PATH));
    let batch = Batch::parse(&call.body).unwrap();
    let seen = &batch.observations[0];
    // The model is asked about the answer's items: the request stays where it is.
    assert_eq!((seen.request, seen.answer, seen.arm, seen.fallback), (&b""[..], RULES, Arm::Baseline, false));
    assert_eq!(seen.bucket.map(|bucket| bucket.to_string()), gateway.bucket(request));
    gateway.reply(call.token, &verdict(1));
    gateway.end(request);
    gateway.tick();
    assert_eq!(gateway.count("lm_suggest_compare_total.agree.True"), 1);
    assert_eq!(gateway.count("lm_suggest_source_total.source.rule"), 1);
    assert_eq!(gateway.count("perch_batch_total.result.answered"), 1);
    gateway.assert_accounts();
}

#[test]
fn a_canary_user_is_answered_by_the_model() {
    let mut gateway = Gateway::start("{}");
    let request = gateway.send(&Request::of("u1", BODY).canary().with("cookie", "secret").with("authorization", "s"));
    assert!(gateway.held(request));
    let call = gateway.calls().remove(0);
    assert_eq!(
        (call.cluster.as_str(), call.path.as_str(), call.body.as_slice()),
        ("perch_scorer_live", "/ml/suggestions", BODY)
    );
    assert!(!call.headers.iter().any(|(name, _)| name == "cookie" || name == "authorization" || name == "x-user-id"));
    assert_eq!(
        call.headers.iter().find(|(name, _)| name == "x-perch-bucket").map(|h| h.1.clone()),
        gateway.bucket(request)
    );
    gateway.reply(call.token, &good());
    let expected =
        [("x-perch-arm".to_owned(), "model".to_owned()), ("x-perch-model-version".to_owned(), "v7".to_owned())];
    assert_eq!(gateway.told(request), expected);
    assert_eq!(gateway.answered(request), Some(MODELS.to_vec()));
    gateway.tick();
    let observed = gateway.calls().remove(0);
    let batch = Batch::parse(&observed.body).unwrap();
    let seen = &batch.observations[0];
    assert_eq!(
        (seen.request, seen.answer, seen.arm),
        (BODY, MODELS, Arm::Candidate),
        "the rules are asked with the request"
    );
    assert_eq!(gateway.count("lm_ml_predict_requests_total.available.True"), 1);
    assert_eq!(gateway.count("lm_suggest_source_total.source.model"), 1);
}

#[test]
fn a_user_whom_nobody_knows_is_told_apart_by_the_request() {
    let mut gateway = Gateway::start("{}");
    let request = gateway.send(&Request::of("u1", BODY).without("x-user-id"));
    gateway.answer(request, 200, &[], RULES);
    gateway.tick();
    let call = gateway.calls().remove(0);
    let batch = Batch::parse(&call.body).unwrap();
    assert_eq!((batch.observations[0].bucket, batch.observations[0].request), (None, BODY));
}

#[test]
fn a_fallback_is_told_counted_and_observed_as_such() {
    let cases = [
        (Reply::failed(), FallbackReason::Reset),
        (Reply::of(504, &[], b"upstream request timeout"), FallbackReason::Deadline),
        (Reply::of(503, &[], b"no healthy upstream"), FallbackReason::Refused),
        (Reply::of(500, &[("x-perch-scorer", "1")], b""), FallbackReason::Status),
        (Reply::of(200, &[("x-perch-scorer", "1")], b"<html>"), FallbackReason::NotJson),
        (Reply::of(200, &[("x-perch-scorer", "1")], br#"{"items":[]}"#), FallbackReason::NoItems),
        (Reply::of(200, &[("x-perch-scorer", "1")], br#"{"items":7}"#), FallbackReason::WrongType),
        (Reply::of(200, &[("x-perch-scorer", "1")], &vec![b' '; 1024 * 1024 + 1]), FallbackReason::TooLarge),
        (Reply::of(200, &[], MODELS), FallbackReason::Status),
    ];
    for (reply, reason) in cases {
        let mut gateway = Gateway::start("{}");
        let request = gateway.send(&Request::of("u1", BODY).canary());
        let call = gateway.calls().remove(0);
        gateway.reply(call.token, &reply);
        assert!(!gateway.held(request) && gateway.answered(request).is_none(), "{reason:?}");
        gateway.answer(request, 200, &[("x-perch-fallback", "forged")], RULES);
        let expected = [
            ("x-perch-arm".to_owned(), "rule".to_owned()),
            ("x-perch-fallback".to_owned(), reason.as_str().to_owned()),
        ];
        assert_eq!(gateway.told(request), expected);
        gateway.tick();
        let observed = gateway.calls().remove(0);
        let batch = Batch::parse(&observed.body).unwrap();
        assert!(batch.observations[0].fallback && batch.observations[0].arm == Arm::Baseline);
        assert_eq!(gateway.count(&format!("lm_ml_fallback_total.reason.{}", reason.as_str())), 1);
        assert_eq!(gateway.count("lm_ml_predict_requests_total.available.False"), 1);
        assert_eq!(gateway.count("lm_suggest_source_total.source.rule"), 1);
    }
}

#[test]
fn a_connection_that_envoy_breaks_off_when_the_time_is_up_is_late_and_not_reset() {
    let mut gateway = Gateway::start(r#"{"scorer":{"deadline_ms":100}}"#);
    let request = gateway.send(&Request::of("u1", BODY).canary());
    let call = gateway.calls().remove(0);
    gateway.wait_ms(100);
    gateway.reply(call.token, &Reply::failed());
    gateway.answer(request, 200, &[], RULES);
    gateway.tick();
    assert_eq!(gateway.count("lm_ml_fallback_total.reason.deadline"), 1);
}

#[test]
fn a_call_that_envoy_does_not_take_lets_the_request_go_at_once() {
    const INTERNAL_FAILURE: u32 = 10;
    let mut gateway = Gateway::start("{}");
    let first = gateway.send(&Request::of("u1", BODY).canary());
    let call = gateway.calls().remove(0);
    gateway.refuse("call", INTERNAL_FAILURE);
    let second = gateway.send(&Request::of("u2", BODY).canary());
    assert!(gateway.held(first) && !gateway.held(second));
    gateway.allow();
    gateway.reply(call.token, &Reply::of(503, &[], b"no healthy upstream"));
    gateway.refuse("call", INTERNAL_FAILURE);
    let third = gateway.send(&Request::of("u3", BODY).canary());
    assert!(!gateway.held(third));
    gateway.allow();
    for request in [first, second, third] {
        gateway.answer(request, 200, &[], RULES);
    }
    gateway.tick();
    assert_eq!(gateway.count("lm_ml_fallback_total.reason.overloaded"), 1, "others were under way and the scorer well");
    assert_eq!(gateway.count("lm_ml_fallback_total.reason.refused"), 2);
    assert_eq!(gateway.count("lm_ml_predict_requests_total.available.False"), 3);
}

#[test]
fn a_body_that_does_not_come_lets_the_request_go() {
    for identity in [r#"[{"header":"x-user-id"}]"#, r#"[{"body":"/user"}]"#] {
        let mut gateway = Gateway::start(&format!(r#"{{"limits":{{"hold_ms":500}},"identity":{identity}}}"#));
        let request = gateway.send(&Request::of("u1", BODY).canary().cut(4));
        assert!(gateway.held(request));
        gateway.wait_ms(499);
        gateway.tick();
        assert!(gateway.held(request));
        gateway.wait_ms(200);
        gateway.tick();
        assert!(!gateway.held(request), "{identity}");
    }
}

#[test]
fn an_answer_to_a_client_that_is_gone_harms_nobody() {
    let mut gateway = Gateway::start("{}");
    let gone = gateway.send(&Request::of("u1", BODY).canary());
    let call = gateway.calls().remove(0);
    gateway.end(gone);
    let next = gateway.send(&Request::of("u2", BODY).canary());
    gateway.reply(call.token, &good());
    gateway.reply(call.token, &good());
    gateway.reply(4_711, &Reply::failed());
    assert!(gateway.held(next) && gateway.answered(next).is_none());
    gateway.end(next);
    gateway.tick();
    assert_eq!(gateway.count("perch_observation_total.outcome.dropped_incomplete"), 2);
    gateway.assert_accounts();
}

#[test]
fn without_a_verdict_the_items_of_what_was_under_way_and_of_what_waited_are_counted() {
    let mut gateway = Gateway::start("{}");
    for user in ["u1", "u2"] {
        let request = gateway.send(&Request::of(user, BODY));
        gateway.answer(request, 200, &[], RULES);
        gateway.end(request);
        if user == "u1" {
            gateway.tick();
        }
    }
    gateway.stop(OBSERVE);
    assert_eq!(gateway.count("lm_suggest_compare_total.agree.None"), 2);
    assert_eq!(gateway.count("perch_not_compared_total.reason.observer_failed"), 2);
    gateway.assert_accounts();
}

#[test]
fn a_batch_that_envoy_does_not_take_is_counted_at_once() {
    let mut gateway = Gateway::start("{}");
    let request = gateway.send(&Request::of("u1", BODY));
    gateway.answer(request, 200, &[], RULES);
    gateway.refuse("call", 10);
    gateway.tick();
    gateway.allow();
    gateway.tick();
    assert_eq!(gateway.count("perch_not_compared_total.reason.observer_failed"), 1);
    assert_eq!(gateway.count("perch_batch_total.result.failed"), 1);
    assert_eq!(gateway.count("perch_batch_total.result.sent"), 0);
}

#[test]
fn an_answer_without_a_body_is_observed_when_its_headers_pass() {
    let mut gateway = Gateway::start("{}");
    let request = gateway.send(&Request::of("u1", BODY));
    gateway.answer(request, 204, &[], b"");
    gateway.tick();
    let call = gateway.calls().remove(0);
    assert_eq!(Batch::parse(&call.body).unwrap().observations[0].status, 204);
}

#[test]
fn a_worker_with_room_for_one_record_observes_one_after_the_other() {
    let record = contract::frame::RECORD_OVERHEAD + 10 + 100;
    let limits = format!(r#"{{"body_bytes":10,"answer_bytes":100,"batch_bytes":200,"pending_bytes":{record}}}"#);
    let mut gateway = Gateway::start(&format!(r#"{{"limits":{limits}}}"#));
    for _ in 0..3 {
        let request = gateway.send(&Request::of("u1", &[b'x'; 10]));
        gateway.answer(request, 200, &[], &[b' '; 100]);
        gateway.tick();
    }
    let crowded = gateway.send(&Request::of("u1", &[b'x'; 10]));
    gateway.answer(crowded, 200, &[], &[b' '; 100]);
    let last = gateway.send(&Request::of("u1", &[b'x'; 10]));
    gateway.answer(last, 200, &[], &[b' '; 100]);
    gateway.tick();
    gateway.tick();
    assert_eq!(gateway.count("perch_observation_total.outcome.observed"), 4);
    assert_eq!(gateway.count("perch_observation_total.outcome.dropped_buffer_full"), 1);
}

#[test]
fn an_idle_gateway_does_not_tick() {
    let mut gateway = Gateway::start("{}");
    assert_eq!(gateway.period(OBSERVE), 0);
    let request = gateway.send(&Request::of("u1", BODY));
    gateway.answer(request, 200, &[], RULES);
    assert_eq!(gateway.period(OBSERVE), 200);
    gateway.tick();
    let call = gateway.calls().remove(0);
    gateway.reply(call.token, &verdict(1));
    gateway.tick();
    gateway.tick();
    assert_eq!((gateway.period(OBSERVE), gateway.period(MODEL)), (0, 0));
}

#[test]
fn a_bad_configuration_is_refused_in_one_line() {
    let (accepted, log) = Gateway::configure(r#"{"salt":"0123456789abcdef","limits":{"flush_ms":0}}"#);
    assert!(!accepted);
    assert_eq!(log.len(), 1);
    assert!(log[0].contains("limits.flush_ms") && log[0].contains("1 to 10000"), "{log:?}");
}

#[test]
fn every_counter_is_there_from_the_start() {
    let gateway = Gateway::start("{}");
    let counters: BTreeMap<String, u64> = gateway.counters();
    for name in
        ["lm_suggest_compare_total.agree.None", "lm_ml_fallback_total.reason.too_large", "perch_intercepted_total"]
    {
        assert_eq!(counters.get(name), Some(&0), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    // Whatever callbacks come, for whatever contexts, with whatever bytes, and whatever status the host returns to
    // whatever call: nothing panics.
    #[test]
    fn nothing_panics(
        steps in proptest::collection::vec(played::any_step(), 0..60),
        statuses in proptest::collection::vec(prop_oneof![3 => Just(0_u32), 1 => 0_u32..14], 1..40),
    ) {
        let mut gateway = Gateway::start(r#"{"identity":[{"header":"x-user-id"},{"cookie":"s"},{"jwt":{"payload":"p","claim":"c"}},{"body":"/u"}]}"#);
        gateway.moody(statuses);
        for step in steps {
            gateway.raw(&step);
        }
    }

    // Well-formed traffic with everything that can go wrong in it. When it is over: every intercepted request has one
    // outcome, every served item one verdict, and no request is held that is neither answered nor let go.
    #[test]
    fn accounts_add_up_and_nobody_is_held(plans in proptest::collection::vec(played::any_plan(), 1..12)) {
        let mut gateway = Gateway::start(
            r#"{"limits":{"body_bytes":60,"answer_bytes":200,"batch_bytes":600,"pending_bytes":900,"in_flight_bytes":1200}}"#,
        );
        for plan in &plans {
            gateway.play(plan);
        }
        gateway.settle();
        gateway.assert_accounts();
        gateway.assert_all_compared();
    }
}
