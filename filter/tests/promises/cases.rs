//! The filter's promises, whatever Envoy it is in: whole requests through it, and the central promise as a property.
//! The filter's own tests run them over a faked port, the native module's over faked callbacks of Envoy's.

use std::io::Write;

use contract::batch_result::{self, BatchResult};
use contract::frame::{Encoding, PATH};
use contract::names::{Arm, FallbackReason, PassedThrough};
use proptest::prelude::*;

use super::Gateway;
use super::gateway::{LIVE_CLUSTER, OBSERVE_CLUSTER};
use super::messages::{Request, Response};
use super::plan::any_plan;

pub(crate) const BODY: &[u8] = br#"{"txn_ids":[88]}"#;
pub(crate) const BASELINE: &[u8] = br#"{"items":[{"txn_id":"88","candidates":[{"label":"coffee"}]}]}"#;
const CANDIDATE: &[u8] = br#"{"items":[{"txn_id":"88","candidates":[{"label":"groceries"}]}]}"#;

/// Limits that random traffic runs into.
pub(crate) const SMALL_LIMITS: &str = r#"{"identity_body_bytes":60,"limits":{
    "body_bytes":60,"response_bytes":200,"held_bytes":200,"candidate_bytes":100,
    "canary_bytes":900,"batch_bytes":600,"pending_bytes":900,"in_flight_bytes":1200}}"#;

pub(crate) fn good() -> Response {
    Response::of(200, &[("x-perch-scorer", "1"), ("x-perch-model-version", "v7")], CANDIDATE)
}

fn ours(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A canary user's request whose call to the scorer has no reply yet: its number, and the call's token.
pub(crate) fn canary_call(gateway: &mut Gateway) -> (usize, u32) {
    let request = gateway.send(&Request::of("u1", BODY));
    (request, gateway.calls_to(LIVE_CLUSTER).pop().expect("a call").token)
}

#[test]
fn a_baseline_user_is_observed_and_told_so() {
    let mut gateway = Gateway::start("{}", 0);
    let request = gateway.send(&Request::of("user-42", BODY));
    assert!(gateway.calls().is_empty());
    assert_eq!(gateway.passed(request), BODY);
    let forged = Response::json(BASELINE).with("x-perch-arm", "candidate").with("x-perch-model-version", "evil");
    gateway.respond(request, &forged);
    assert_eq!(gateway.ours(request), ours(&[("x-perch-arm", "baseline")]));
    assert_eq!(gateway.given(request).1, BASELINE);
    gateway.tick();
    let call = gateway.calls().remove(0);
    assert_eq!((call.cluster.as_str(), call.path.as_str()), (OBSERVE_CLUSTER, PATH));
    gateway.batch(|batch| {
        let seen = &batch.observations[0];
        assert_eq!((seen.assigned, seen.served, seen.fallback), (Arm::Baseline, Arm::Baseline, false));
        assert_eq!((seen.baseline, seen.candidate), (BASELINE, None));
        // Frozen: a change here moves every user of every deployment.
        assert_eq!(seen.bucket.map(|bucket| bucket.to_string()).as_deref(), Some("cc343e210017e385"));
    });
    gateway.end(request);
    gateway.tick();
    assert_eq!(gateway.count("lm_suggest_compare_total.agree.True"), 1);
    assert_eq!(gateway.count("lm_suggest_source_total.source.rule"), 1);
    assert_eq!(gateway.count("lm_ml_predict_requests_total.available.True"), 1);
    assert_eq!(gateway.sum("perch_passed_through_total"), 0);
    gateway.assert_accounts();
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn the_scorer_is_given_the_trace_context_where_it_is_well_formed_and_short() {
    const LONGEST: usize = contract::trace::MAX_TRACESTATE_BYTES;
    let longest = "a".repeat(LONGEST - 4);
    let too_long = "a".repeat(LONGEST - 3);
    let parent = ("traceparent", TRACE);
    let (state, rest) = (("tracestate", longest.as_str()), ("tracestate", "b=20"));
    for (sent, passed_on) in [
        (vec![parent], vec![parent]),
        (vec![parent, state, rest], vec![parent, state, rest]),
        (vec![parent, ("tracestate", &too_long), rest], vec![parent]),
        (vec![state], vec![]),
        (vec![("traceparent", "not-a-trace"), rest], vec![]),
        (vec![("traceparent", &TRACE.to_uppercase()), rest], vec![]),
        (vec![parent, parent, rest], vec![]),
    ] {
        let mut gateway = Gateway::start("{}", 100);
        let request = sent.iter().fold(Request::of("u1", BODY), |request, (name, value)| request.and(name, value));
        gateway.send(&request);
        let call = gateway.calls_to(LIVE_CLUSTER).remove(0);
        let trace = |(name, _): &&(String, String)| name.starts_with("trace");
        let got: Vec<(&str, &str)> =
            call.headers.iter().filter(trace).map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(got, passed_on, "{sent:?}");
    }
}

#[test]
fn a_canary_user_is_given_the_candidates_body_in_the_applications_response() {
    for late in [false, true] {
        let mut gateway = Gateway::start("{}", 100);
        let request =
            Request::of("u1", BODY).with("cookie", "secret").with("authorization", "s").with("traceparent", TRACE);
        let request = gateway.send(&request);
        assert_eq!(gateway.passed(request), BODY, "the request passes on at once");
        let call = gateway.calls().remove(0);
        assert_eq!(
            (call.cluster.as_str(), call.path.as_str(), &call.body[..]),
            (LIVE_CLUSTER, "/ml/suggestions", BODY)
        );
        let header = |name: &str| call.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
        assert_eq!(["cookie", "authorization", "x-user-id"].map(header), [None, None, None]);
        assert_eq!(header("x-perch-bucket").map(|bucket| bucket.len()), Some(16));
        assert_eq!(header("traceparent").as_deref(), Some(TRACE));
        if !late {
            gateway.reply(call.token, &good());
        }
        let response = Response::of(201, &[("content-type", "application/json"), ("set-cookie", "a=b")], BASELINE)
            .with("etag", "\"1\"")
            .with("content-md5", "x")
            .with("content-length", &BASELINE.len().to_string());
        gateway.respond(request, &response);
        assert_eq!(gateway.is_waiting(request), late);
        if late {
            assert!(gateway.given(request).1.is_empty());
            gateway.reply(call.token, &good());
        }
        let (headers, body, _) = gateway.given(request);
        assert_eq!(body, CANDIDATE);
        assert_eq!(
            (headers.get(":status").as_deref(), headers.get("set-cookie").as_deref()),
            (Some("201"), Some("a=b"))
        );
        assert_eq!(headers.get("content-length"), Some(CANDIDATE.len().to_string()));
        assert_eq!((headers.get("etag"), headers.get("content-md5")), (None, None));
        assert_eq!(gateway.ours(request), ours(&[("x-perch-arm", "candidate"), ("x-perch-model-version", "v7")]));
        gateway.batch(|batch| {
            let seen = &batch.observations[0];
            assert_eq!((seen.assigned, seen.served, seen.status), (Arm::Candidate, Arm::Candidate, 201));
            assert_eq!((seen.baseline, seen.candidate), (BASELINE, Some(CANDIDATE)), "nobody need ask again");
        });
        gateway.tick();
        assert_eq!(gateway.count("lm_ml_predict_requests_total.available.True"), 1);
        assert_eq!(gateway.count("lm_suggest_source_total.source.model"), 1);
        gateway.assert_accounts();
    }
}

#[test]
fn a_failed_candidate_is_told_counted_and_observed_as_a_fallback() {
    let signed = [("x-perch-scorer", "1")];
    let cases = [
        (Response::failed(), FallbackReason::Reset),
        (Response::of(504, &[], b"upstream request timeout"), FallbackReason::Deadline),
        (Response::of(503, &[], b"no healthy upstream"), FallbackReason::Refused),
        (
            Response::of(503, &[("x-perch-scorer", "1"), ("x-perch-unavailable", "no_model")], b""),
            FallbackReason::Unavailable,
        ),
        (Response::of(503, &[], b"overflow"), FallbackReason::Overloaded),
        (Response::of(500, &signed, b""), FallbackReason::Status),
        (Response::of(200, &signed, b"<html>"), FallbackReason::NotJson),
        (Response::of(200, &signed, br#"{"items":[]}"#), FallbackReason::NoItems),
        (Response::of(200, &signed, br#"{"items":7}"#), FallbackReason::WrongType),
        (Response::of(200, &signed, br#"{"items":[{"txn_id":7}]}"#), FallbackReason::OtherItems),
        (Response::of(200, &signed, &vec![b' '; 256 * 1024 + 1]), FallbackReason::TooLarge),
        (Response::of(200, &[], CANDIDATE), FallbackReason::Status),
    ];
    for (reply, reason) in cases {
        for late in [false, true] {
            let mut gateway = Gateway::start("{}", 100);
            let (request, token) = canary_call(&mut gateway);
            if !late {
                gateway.reply(token, &reply);
            }
            gateway
                .respond(request, &Response::json(BASELINE).with("x-perch-fallback", "forged").with("etag", "\"1\""));
            if late {
                gateway.reply(token, &reply);
            }
            assert!(!gateway.is_waiting(request), "{reason:?}");
            assert_eq!(gateway.given(request).1, BASELINE);
            assert_eq!(gateway.given(request).0.get("etag").as_deref(), Some("\"1\""));
            let expected = ours(&[("x-perch-arm", "baseline"), ("x-perch-fallback", reason.as_str())]);
            assert_eq!(gateway.ours(request), expected);
            gateway.batch(|batch| {
                let seen = &batch.observations[0];
                assert!(seen.fallback && seen.served == Arm::Baseline && seen.assigned == Arm::Candidate);
            });
            gateway.tick();
            assert_eq!(gateway.count(&format!("lm_ml_fallback_total.reason.{}", reason.as_str())), 1);
            assert_eq!(gateway.count("lm_ml_predict_requests_total.available.False"), 1);
            assert_eq!(gateway.count("lm_suggest_source_total.source.rule"), 1);
            assert_eq!(gateway.sum("perch_passed_through_total"), 0);
        }
    }
}

#[test]
fn what_the_application_does_not_let_be_replaced_passes_and_blames_nobody() {
    let empty = br#"{"items":[]}"#;
    let html = [("content-type", "text/html")];
    let many = br#"{"items":[{"txn_id":"88"},{"txn_id":"89"}]}"#;
    let two = Response::of(200, &[("x-perch-scorer", "1")], many);
    let cases = [
        (Response::of(401, &[("content-type", "application/json")], b"{}"), good(), PassedThrough::Error),
        (Response::of(500, &[("content-type", "application/json")], BASELINE), good(), PassedThrough::Error),
        (Response::of(302, &[("location", "/x")], b""), good(), PassedThrough::Redirect),
        (Response::of(204, &[], b""), good(), PassedThrough::NoBody),
        (Response::of(304, &[], b""), good(), PassedThrough::NoBody),
        (Response::of(200, &html, b"<html>"), good(), PassedThrough::ContentType),
        (Response::json(b"garbage"), good(), PassedThrough::Unreadable),
        (Response::json(BASELINE).with("content-encoding", "lzma"), good(), PassedThrough::Unreadable),
        (Response::json(empty), good(), PassedThrough::NoItems),
        (Response::json(empty), Response::of(400, &[("x-perch-scorer", "1")], b""), PassedThrough::NoItems),
        (Response::json(BASELINE), two, PassedThrough::LeftOut),
        (Response::json(&vec![b' '; 256 * 1024 + 1]), good(), PassedThrough::TooLarge),
    ];
    for (response, reply, reason) in cases {
        for late in [false, true] {
            let mut gateway = Gateway::start("{}", 100);
            let (request, token) = canary_call(&mut gateway);
            if !late {
                gateway.reply(token, &reply);
            }
            gateway.respond(request, &response);
            if late {
                gateway.reply(token, &reply);
            }
            let mut plain = Gateway::start("{}", 0);
            let same = plain.send(&Request::of("u1", BODY));
            plain.respond(same, &response);
            assert_eq!(gateway.given(request), plain.given(same), "{reason:?}");
            gateway.end(request);
            gateway.tick();
            assert_eq!(
                gateway.count(&format!("perch_passed_through_total.reason.{}", reason.as_str())),
                1,
                "{reason:?}"
            );
            assert_eq!(gateway.sum("perch_passed_through_total"), 1);
            assert_eq!(gateway.sum("lm_ml_fallback_total") + gateway.sum("lm_ml_predict_requests_total"), 0);
        }
    }
}

#[test]
fn a_packed_response_is_read_and_its_replacement_is_not_packed() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(BASELINE).unwrap();
    let packed = encoder.finish().unwrap();
    let response = Response::json(&packed).with("content-encoding", "gzip").with("vary", "accept-encoding");
    let mut gateway = Gateway::start("{}", 100);
    let (request, token) = canary_call(&mut gateway);
    gateway.reply(token, &good());
    gateway.respond(request, &response);
    let (headers, body, _) = gateway.given(request);
    assert_eq!((body.as_slice(), headers.get("content-encoding")), (CANDIDATE, None));
    assert_eq!(headers.get("vary").as_deref(), Some("accept-encoding"));
    gateway.batch(|batch| {
        assert_eq!((batch.observations[0].encoding, batch.observations[0].baseline), (Encoding::Gzip, &packed[..]));
    });
    // A client that takes nothing else keeps what it can read.
    let request = gateway.send(&Request::of("u1", BODY).with("accept-encoding", "gzip, identity;q=0"));
    assert!(gateway.calls_to(LIVE_CLUSTER).is_empty());
    gateway.respond(request, &response);
    assert_eq!(gateway.given(request).1, packed);
    gateway.end(request);
    gateway.tick();
    assert_eq!(gateway.count("perch_passed_through_total.reason.not_acceptable"), 1);
}

#[test]
fn trailers_stay_and_none_of_them_speaks_of_the_body_that_is_gone() {
    for late in [false, true] {
        let mut gateway = Gateway::start("{}", 100);
        let (request, token) = canary_call(&mut gateway);
        if !late {
            gateway.reply(token, &good());
        }
        gateway.respond(request, &Response::json(BASELINE).trailed(&[("digest", "x"), ("server-timing", "db")]));
        if late {
            gateway.reply(token, &good());
        }
        let (headers, body, trailers) = gateway.given(request);
        assert_eq!((body.as_slice(), headers.get("content-length")), (CANDIDATE, None));
        assert_eq!((trailers.get("digest"), trailers.get("server-timing").as_deref()), (None, Some("db")));
    }
}

#[test]
fn a_search_may_find_other_items() {
    let other = Response::of(200, &[("x-perch-scorer", "1")], br#"{"items":[{"txn_id":7}]}"#);
    let mut gateway = Gateway::start(r#"{"items":"any"}"#, 100);
    let (request, token) = canary_call(&mut gateway);
    gateway.reply(token, &other);
    gateway.respond(request, &Response::json(BASELINE));
    assert_eq!(gateway.given(request).1, br#"{"items":[{"txn_id":7}]}"#);
}

#[test]
fn the_application_is_told_only_where_that_is_configured() {
    for (config, told) in [("{}", None), (r#"{"arm_request_header":true}"#, Some("candidate"))] {
        let mut gateway = Gateway::start(config, 100);
        let request = gateway.send(&Request::of("u1", BODY));
        assert_eq!(gateway.request_header(request, "x-perch-arm").as_deref(), told);
        assert_eq!(gateway.request_header(request, "x-perch-bucket"), None);
    }
}

#[test]
fn a_connection_that_envoy_breaks_off_when_the_time_is_up_is_late_and_not_reset() {
    let mut gateway = Gateway::start(r#"{"scorer":{"deadline_ms":100}}"#, 100);
    let (request, token) = canary_call(&mut gateway);
    gateway.wait_ms(100);
    gateway.reply(token, &Response::failed());
    gateway.respond(request, &Response::json(BASELINE));
    gateway.end(request);
    gateway.tick();
    assert_eq!(gateway.count("lm_ml_fallback_total.reason.deadline"), 1);
}

#[test]
fn a_call_that_envoy_does_not_take_holds_nothing() {
    const INTERNAL_FAILURE: u32 = 10;
    let mut gateway = Gateway::start("{}", 100);
    let (first, token) = canary_call(&mut gateway);
    gateway.refuse("call", INTERNAL_FAILURE);
    let second = gateway.send(&Request::of("u2", BODY));
    gateway.allow();
    gateway.reply(token, &Response::of(503, &[], b"no healthy upstream"));
    gateway.refuse("call", INTERNAL_FAILURE);
    let third = gateway.send(&Request::of("u3", BODY));
    gateway.allow();
    for request in [first, second, third] {
        gateway.respond(request, &Response::json(BASELINE));
        assert!(!gateway.is_waiting(request));
        gateway.end(request);
    }
    gateway.tick();
    assert_eq!(gateway.count("lm_ml_fallback_total.reason.overloaded"), 1, "others were under way and the scorer well");
    assert_eq!(gateway.count("lm_ml_fallback_total.reason.refused"), 2);
    assert_eq!(gateway.count("lm_ml_predict_requests_total.available.False"), 3);
}

#[test]
fn slow_uploads_take_nothing_from_others() {
    let mut gateway = Gateway::start(
        r#"{"identity_body_bytes":4096,"limits":{"body_bytes":4096,"held_bytes":4096,"candidate_bytes":4096,"canary_bytes":8192}}"#,
        100,
    );
    let slow: Vec<usize> = (0..33).map(|_| gateway.send(&Request::of("slow", &[b'x'; 1_000]).cut(999))).collect();
    assert!(gateway.calls().is_empty());
    let (request, token) = canary_call(&mut gateway);
    gateway.reply(token, &good());
    gateway.respond(request, &Response::json(BASELINE));
    assert_eq!(gateway.given(request).1, CANDIDATE);
    gateway.send_rest(slow[0], b"x");
    gateway.respond(slow[0], &Response::json(BASELINE));
    assert_eq!(gateway.given(slow[0]).1, BASELINE);
    gateway.end(slow[0]);
    gateway.end(request);
    gateway.tick();
    assert_eq!(gateway.count("perch_passed_through_total.reason.shed"), 1, "the slowest pays");
    assert_eq!(gateway.sum("lm_ml_fallback_total"), 0);
}

#[test]
fn a_request_over_the_limit_is_the_clients_doing() {
    for announced in [true, false] {
        let mut gateway = Gateway::start(r#"{"limits":{"body_bytes":10}}"#, 100);
        let mut large = Request::of("u1", &[b'x'; 11]);
        if !announced {
            large = large.without("content-length");
        }
        let request = gateway.send(&large);
        assert!(gateway.calls().is_empty());
        gateway.respond(request, &Response::json(BASELINE));
        assert_eq!(gateway.ours(request), ours(&[("x-perch-arm", "baseline")]));
        gateway.end(request);
        gateway.tick();
        assert_eq!(gateway.count("perch_passed_through_total.reason.request_too_large"), 1);
    }
}

#[test]
fn an_application_that_does_not_wait_for_the_request_is_obeyed() {
    for identity in [r#"[{"header":"x-user-id"}]"#, r#"[{"body":"/user"}]"#] {
        let mut gateway = Gateway::start(&format!(r#"{{"identity":{identity}}}"#), 100);
        let request = gateway.send(&Request::of("u1", BODY).cut(4));
        gateway.respond(request, &Response::json(BASELINE));
        assert!(!gateway.is_waiting(request));
        gateway.send_rest(request, b"d_ids\":[88]}");
        assert!(gateway.calls().is_empty());
        gateway.end(request);
        gateway.tick();
        let known = u64::from(identity.contains("header"));
        assert_eq!(gateway.count("perch_passed_through_total.reason.request_incomplete"), known);
        assert_eq!(gateway.sum("lm_ml_fallback_total"), 0);
    }
}

#[test]
fn a_user_who_is_named_in_the_body_is_asked_for_when_it_is_whole() {
    let mut gateway = Gateway::start(r#"{"identity":[{"body":"/user"}]}"#, 100);
    let body = br#"{"user":"ann","txn_ids":[88]}"#;
    let request = gateway.send(&Request::of("x", body));
    let call = gateway.calls_to(LIVE_CLUSTER).pop().expect("a call");
    assert_eq!(call.body, body);
    gateway.reply(call.token, &good());
    gateway.respond(request, &Response::json(BASELINE));
    assert_eq!(gateway.given(request).1, CANDIDATE);
    let nobody = gateway.send(&Request::of("x", BODY));
    assert!(gateway.calls_to(LIVE_CLUSTER).is_empty());
    gateway.respond(nobody, &Response::json(BASELINE));
    gateway.tick();
    assert_eq!(gateway.count("perch_identity_total.source.body"), 1);
    assert_eq!(gateway.count("perch_identity_total.source.none"), 1);
}

#[test]
fn a_client_that_is_gone_leaves_nothing() {
    let mut gateway = Gateway::start("{}", 100);
    let (gone, token) = canary_call(&mut gateway);
    gateway.end(gone);
    let (waits, second) = canary_call(&mut gateway);
    gateway.respond(waits, &Response::json(BASELINE));
    gateway.end(waits);
    let next = gateway.send(&Request::of("u2", BODY));
    for token in [token, second, token, 4_711] {
        gateway.reply(token, &good());
    }
    assert!(gateway.given(next).1.is_empty());
    gateway.end(next);
    gateway.tick();
    assert_eq!(gateway.count("perch_passed_through_total.reason.gone"), 3);
    assert_eq!(gateway.sum("lm_ml_fallback_total"), 0);
    gateway.assert_accounts();
}

#[test]
fn an_application_that_breaks_off_is_not_the_candidates_fault() {
    let mut gateway = Gateway::start("{}", 100);
    let (request, token) = canary_call(&mut gateway);
    gateway.respond_half(request, &Response::json(BASELINE));
    assert!(gateway.is_waiting(request));
    // Envoy's own response in its place.
    gateway.respond(request, &Response::of(502, &[], b"upstream reset"));
    assert!(!gateway.is_waiting(request));
    gateway.reply(token, &good());
    gateway.end(request);
    gateway.tick();
    assert_eq!(gateway.count("perch_passed_through_total.reason.gone"), 1);
}

#[test]
fn without_a_result_the_items_of_what_was_under_way_and_of_what_waited_are_counted() {
    let mut gateway = Gateway::start("{}", 0);
    for user in ["u1", "u2"] {
        let request = gateway.send(&Request::of(user, BODY));
        gateway.respond(request, &Response::json(BASELINE));
        gateway.end(request);
        if user == "u1" {
            gateway.tick();
        }
    }
    gateway.stop();
    assert_eq!(gateway.count("lm_suggest_compare_total.agree.None"), 2);
    assert_eq!(gateway.count("perch_not_compared_total.reason.observer_failed"), 2);
    gateway.assert_accounts();
}

#[test]
fn a_result_that_counts_more_than_was_sent_is_refused() {
    let mut gateway = Gateway::start("{}", 0);
    let request = gateway.send(&Request::of("u1", BODY));
    gateway.respond(request, &Response::json(BASELINE));
    gateway.tick();
    let token = gateway.calls_to(OBSERVE_CLUSTER)[0].token;
    let lie = BatchResult {
        version: batch_result::VERSION,
        observations: 1,
        agree_true: 1_000_000,
        available: 1,
        ..BatchResult::default()
    };
    gateway.reply(token, &Response::of(200, &[("x-perch-scorer", "1")], &serde_json::to_vec(&lie).unwrap()));
    gateway.tick();
    assert_eq!(gateway.count("perch_batch_total.result.mismatched"), 1);
    assert_eq!(gateway.count("lm_suggest_compare_total.agree.True"), 0);
    assert_eq!(gateway.count("lm_suggest_compare_total.agree.None"), 1);
}

#[test]
fn a_response_without_a_body_is_observed_when_its_headers_pass() {
    let mut gateway = Gateway::start("{}", 0);
    let request = gateway.send(&Request::of("u1", BODY));
    gateway.respond(request, &Response::of(204, &[], b""));
    gateway.batch(|batch| assert_eq!(batch.observations[0].status, 204));
}

#[test]
fn a_worker_with_room_for_one_record_observes_one_after_the_other() {
    let record = contract::frame::RECORD_OVERHEAD + 100 + 10;
    let limits = format!(r#"{{"response_bytes":100,"candidate_bytes":10,"batch_bytes":200,"pending_bytes":{record}}}"#);
    let mut gateway = Gateway::start(&format!(r#"{{"limits":{limits}}}"#), 0);
    let observe = |gateway: &mut Gateway| {
        let request = gateway.send(&Request::of("u1", &[b'x'; 10]));
        gateway.respond(request, &Response::json(&[b' '; 100]));
    };
    for _ in 0..3 {
        observe(&mut gateway);
        gateway.tick();
    }
    observe(&mut gateway);
    observe(&mut gateway);
    gateway.tick();
    gateway.tick();
    assert_eq!(gateway.count("perch_observation_total.outcome.observed"), 4);
    assert_eq!(gateway.count("perch_observation_total.outcome.dropped_buffer_full"), 1);
}

#[test]
fn a_bad_configuration_is_refused_in_one_line() {
    let (accepted, log) =
        Gateway::configure(r#"{"salt":"0123456789abcdef","labels":["coffee"],"limits":{"flush_ms":0}}"#);
    assert!(!accepted);
    assert_eq!(log.len(), 1);
    assert!(log[0].contains("limits.flush_ms") && log[0].contains("1 to 10000"), "{log:?}");
}

#[test]
fn every_counter_is_there_from_the_start() {
    let counters = Gateway::start("{}", 0).counters();
    for name in [
        "lm_suggest_compare_total.agree.None",
        "lm_ml_fallback_total.reason.too_large",
        "perch_passed_through_total.reason.left_out",
        "perch_compare_abstained_total.arm.candidate",
        "perch_intercepted_total",
    ] {
        assert_eq!(counters.get(name), Some(&0), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    // Well-formed traffic with everything that can go wrong in it. When it is over: every intercepted request has one
    // outcome, every served item is counted once, each canary request has one fate, and no whole response waits.
    #[test]
    fn accounts_add_up_and_nobody_waits(
        plans in proptest::collection::vec(any_plan(), 1..12), share in prop_oneof![Just(0_u32), Just(100)],
    ) {
        let mut gateway = Gateway::start(SMALL_LIMITS, share);
        for plan in &plans {
            gateway.play(plan);
        }
        gateway.settle();
        gateway.assert_accounts();
        gateway.assert_all_compared();
        if share == 100 {
            let canary = gateway.sum("perch_identity_total.") - gateway.count("perch_identity_total.source.none");
            let fates = gateway.count("lm_suggest_source_total.source.model")
                + gateway.sum("lm_ml_fallback_total.")
                + gateway.sum("perch_passed_through_total.");
            prop_assert_eq!(fates, canary);
        }
    }
}
