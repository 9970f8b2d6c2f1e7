//! What goes wrong within: panics in each hook, and hooks that Envoy calls within a call of the module's.

use proptest::prelude::*;

use super::Gateway;
use super::cases::{BASELINE, BODY, SMALL_LIMITS, canary_call, good};
use super::fake_envoy::{fail_at, no_failure};
use super::gateway::{Envoy, LIVE_CLUSTER, OBSERVE_CLUSTER};
use super::messages::{Request, Response};
use super::plan::any_plan;
use crate::fault_injection::Place;

/// The number of the first stream, as the gateway counts.
const FIRST: u32 = 100;

/// A canary user's request with everything in it, whatever fails. What the client was given.
fn exchange(gateway: &mut Gateway, late: bool, trailers: bool) -> Vec<u8> {
    let mut request = Request::of("u1", BODY);
    let mut response = Response::json(BASELINE);
    if trailers {
        request = request.trailed().without("content-length");
        response = response.trailed(&[("server-timing", "db")]);
    }
    let request = gateway.send(&request);
    let call = gateway.calls_to(LIVE_CLUSTER).pop();
    if !late && let Some(call) = &call {
        gateway.reply(call.token, &good());
    }
    gateway.respond(request, &response);
    if late && let Some(call) = &call {
        gateway.reply(call.token, &good());
    }
    assert!(!gateway.is_waiting(request), "nobody waits for ever");
    let (headers, body, _) = gateway.given(request);
    assert_eq!(headers.get(":status").as_deref(), Some("200"));
    gateway.end(request);
    gateway.tick();
    if let Some(call) = gateway.calls_to(OBSERVE_CLUSTER).pop() {
        gateway.reply(call.token, &Response::failed());
    }
    body
}

#[test]
fn a_panic_in_any_hook_costs_no_client_anything() {
    for place in [Place::Hook, Place::Filter] {
        for (late, trailers) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut hooks = 0;
            loop {
                let mut gateway = Gateway::start("{}", 100);
                fail_at(place, hooks);
                let body = exchange(&mut gateway, late, trailers);
                let whole = no_failure();
                let candidate = good().body;
                assert!(body == BASELINE || body == candidate, "{place:?} {hooks}: {}", String::from_utf8_lossy(&body));
                if whole {
                    assert_eq!(body, candidate);
                    break;
                }
                hooks += 1;
                // The next request finds all in order again.
                assert_eq!(exchange(&mut gateway, late, trailers), candidate, "{place:?} {hooks}");
                assert!(gateway.envoy.log().iter().any(|line| line.contains("an injected failure")));
            }
            assert!(hooks > 8, "{place:?}: {hooks} places to fail at");
        }
    }
}

#[test]
fn a_failure_is_counted() {
    let mut gateway = Gateway::start("{}", 100);
    fail_at(Place::Filter, 0);
    let request = gateway.send(&Request::of("u1", BODY));
    gateway.respond(request, &Response::json(BASELINE));
    assert_eq!(gateway.given(request).1, BASELINE);
    assert_eq!(gateway.count(contract::series::FAILURES), 1);
}

#[test]
fn a_configuration_that_panics_leaves_every_request_alone() {
    fail_at(Place::Hook, 0);
    let (accepted, log) = Gateway::configure(r#"{"salt":"0123456789abcdef"}"#);
    assert!(!accepted && log.len() == 1, "{log:?}");
    assert!(!no_failure());
}

#[test]
fn a_call_that_fails_within_the_call_that_begins_it_is_one_that_was_not_made() {
    let mut gateway = Gateway::start("{}", 100);
    let stream = gateway.envoy.handle(FIRST);
    gateway.envoy.within(move |call| stream.call_over(call, &Response::failed()));
    let request = gateway.send(&Request::of("u1", BODY));
    gateway.respond(request, &Response::json(BASELINE));
    assert!(!gateway.is_waiting(request));
    assert_eq!(gateway.given(request).1, BASELINE);
    gateway.end(request);
    gateway.tick();
    assert_eq!(gateway.count("lm_ml_fallback_total.reason.refused"), 1);
    gateway.assert_accounts();
}

#[test]
fn a_stream_that_ends_within_its_own_callback_is_concluded_and_gives_back_what_it_took() {
    let mut gateway = Gateway::start(r#"{"limits":{"body_bytes":100}}"#, 100);
    for round in 0..3 {
        let stream = gateway.envoy.handle(FIRST + round);
        gateway.envoy.within(move |_| stream.end());
        gateway.send(&Request::of("u1", BODY));
    }
    gateway.tick();
    assert_eq!(gateway.count("perch_intercepted_total"), 3);
    assert_eq!(gateway.count("perch_passed_through_total.reason.gone"), 3);
    gateway.assert_accounts();
}

#[test]
fn a_stream_that_ends_while_its_body_is_replaced_or_goes_on_is_over() {
    for late in [false, true] {
        for ends in [true, false] {
            let mut gateway = Gateway::start("{}", 100);
            let (request, token) = canary_call(&mut gateway);
            let stream = gateway.envoy.handle(FIRST);
            if !late {
                gateway.reply(token, &good());
            }
            gateway.envoy.within(move |_| if ends { stream.end() } else { stream.response_ends() });
            gateway.respond(request, &Response::json(BASELINE));
            if late {
                gateway.reply(token, &good());
            }
            gateway.end(request);
            gateway.tick();
            gateway.assert_accounts();
        }
    }
}

#[test]
fn a_hook_of_another_stream_within_a_callback_lets_that_one_go_on() {
    let mut gateway = Gateway::start("{}", 100);
    let (waits, token) = canary_call(&mut gateway);
    gateway.respond(waits, &Response::json(BASELINE));
    assert!(gateway.is_waiting(waits));
    let other = gateway.envoy.handle(FIRST);
    // The connection to the scorer breaks while the second call is sent by it.
    gateway.envoy.within(move |_| other.call_over(u64::from(token), &Response::failed()));
    let (second, token) = canary_call(&mut gateway);
    assert!(!gateway.is_waiting(waits));
    assert_eq!(gateway.given(waits).1, BASELINE);
    gateway.reply(token, &good());
    gateway.respond(second, &Response::json(BASELINE));
    assert_eq!(gateway.given(second).1, good().body);
    gateway.end(waits);
    gateway.end(second);
    gateway.tick();
    assert_eq!(gateway.count("perch_intercepted_total"), 2);
    assert_eq!(gateway.count("perch_passed_through_total.reason.gone"), 1);
    gateway.assert_accounts();
}

#[test]
fn another_stream_that_ends_within_a_callback_is_concluded() {
    let mut gateway = Gateway::start("{}", 100);
    let (gone, _) = canary_call(&mut gateway);
    let other = gateway.envoy.handle(FIRST);
    gateway.envoy.within(move |_| other.end());
    let (second, token) = canary_call(&mut gateway);
    gateway.reply(token, &good());
    gateway.respond(second, &Response::json(BASELINE));
    gateway.end(gone);
    gateway.end(second);
    gateway.tick();
    assert_eq!(gateway.count("perch_passed_through_total.reason.gone"), 1);
    gateway.assert_accounts();
}

#[test]
fn a_batch_that_fails_within_the_call_that_begins_it_is_counted() {
    let mut gateway = Gateway::start("{}", 0);
    let request = gateway.send(&Request::of("u1", BODY));
    gateway.respond(request, &Response::json(BASELINE));
    gateway.end(request);
    let batches = gateway.envoy.batches();
    gateway.envoy.within(move |call| batches.reset(call));
    gateway.tick();
    gateway.tick();
    assert_eq!(gateway.count("perch_batch_total.result.failed"), 1);
    gateway.assert_accounts();
}

#[test]
fn a_large_batch_goes_in_pieces_and_arrives_whole() {
    let mut gateway = Gateway::start(r#"{"limits":{"flush_ms":10000}}"#, 0);
    let body = format!(r#"{{"items":[{{"txn_id":1,"text":"{}"}}]}}"#, "x".repeat(50_000));
    for _ in 0..3 {
        let request = gateway.send(&Request::of("u1", BODY));
        gateway.respond(request, &Response::json(body.as_bytes()));
        gateway.end(request);
    }
    gateway.tick();
    gateway.settle();
    gateway.assert_accounts();
    gateway.assert_all_compared();
    assert_eq!(gateway.count("perch_observation_total.outcome.observed"), 3);
}

#[test]
fn a_share_that_is_not_a_whole_number_is_asked_for() {
    let mut gateway = Gateway::without_shares("{}");
    let call = gateway.calls_to(super::gateway::ADMIN_CLUSTER).remove(0);
    assert_eq!(call.path, "/runtime");
    gateway.reply(call.token, &Response::of(200, &[], b"not a listing"));
    gateway.wait_ms(1_000);
    gateway.tick();
    let call = gateway.calls_to(super::gateway::ADMIN_CLUSTER).remove(0);
    let entries = [
        (contract::share::RUNTIME_KEY, "100"),
        (contract::share::BETA_KEY, "0"),
        (contract::share::OBSERVE_KEY, "100"),
    ]
    .map(|(key, value)| format!(r#""{key}":{{"final_value":"{value}"}}"#))
    .join(",");
    gateway.reply(call.token, &Response::of(200, &[], format!(r#"{{"entries":{{{entries}}}}}"#).as_bytes()));
    canary_call(&mut gateway);
    let log = gateway.envoy.log();
    assert_eq!(log.iter().filter(|line| line.contains("scorer.admin_cluster")).count(), 1, "{log:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    // Whatever Envoy does within the calls of the module's, of the same stream or of another: no hook panics, nobody waits, and
    // the accounts add up.
    #[test]
    fn hooks_within_hooks_leave_the_accounts_right(
        plans in proptest::collection::vec((any_plan(), 0_u8..6, 0_u32..4), 1..10),
    ) {
        let mut gateway = Gateway::start(SMALL_LIMITS, 100);
        for (number, (plan, what, back)) in (0_u32..).zip(&plans) {
            let stream = gateway.envoy.handle(FIRST + number.saturating_sub(*back));
            let batches = gateway.envoy.batches();
            match what {
                0 => gateway.envoy.within(move |_| stream.end()),
                1 => gateway.envoy.within(move |_| stream.calls_fail()),
                2 => gateway.envoy.within(move |_| stream.response_ends()),
                3 => gateway.envoy.within(move |call| batches.reset(call)),
                _ => {}
            }
            gateway.play(plan);
        }
        gateway.envoy.within(|_| {});
        gateway.settle();
        gateway.assert_accounts();
        prop_assert!(!gateway.envoy.log().iter().any(|line| line.contains("filter_panicked")));
    }

    // Whatever happens to the requests, and wherever the module fails: nobody waits, no hook panics, and nothing is
    // left when all is destroyed.
    #[test]
    fn failures_leave_nobody_waiting_and_nothing_behind(
        plans in proptest::collection::vec(any_plan(), 1..8), hook in any::<bool>(), after in 0_u32..120,
    ) {
        let mut gateway = Gateway::start("{}", 100);
        fail_at(if hook { Place::Hook } else { Place::Filter }, after);
        for plan in &plans {
            gateway.play(plan);
        }
        no_failure();
        gateway.settle();
    }
}
