//! The filter's promises on a fake host: those of every Envoy ([`cases`]), and those of a VM, which renews its shares
//! by calls and is held to a host that calls it in any order, with any bytes, and returns any status.

// A test's own mistake may end the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cases;
mod fake_host;
mod gateway;
mod messages;
mod plan;
mod steps;

use cases::{BASELINE, BODY, canary_call};
use gateway::{ADMIN_CLUSTER, LIVE_CLUSTER};
use messages::{Request, Response};
use proptest::prelude::*;
use steps::any_step;

type Gateway = gateway::Gateway<fake_host::Vm>;

#[test]
fn the_shares_are_renewed_each_second_and_an_old_copy_gives_nobody_the_candidate() {
    let mut gateway = Gateway::without_shares("{}");
    let early = gateway.send(&Request::of("u1", BODY));
    assert!(gateway.calls().is_empty(), "no share is known yet");
    gateway.end(early);
    gateway.tick();
    assert_eq!(gateway.calls_to(ADMIN_CLUSTER)[0].path, "/runtime");
    gateway.set_share(100);
    // An idle gateway with a canary keeps asking, once a second.
    for _ in 0..5 {
        gateway.tick();
    }
    assert_eq!(gateway.envoy.host.period(), 1_000);
    assert!(gateway.calls_to(ADMIN_CLUSTER).is_empty());
    gateway.wait_ms(1_000);
    gateway.tick();
    gateway.set_share(100);
    gateway.wait_ms(2_000);
    let (request, _) = canary_call(&mut gateway);
    gateway.end(request);
    gateway.wait_ms(1);
    let request = gateway.send(&Request::of("u1", BODY));
    assert!(gateway.calls_to(LIVE_CLUSTER).len() == 1, "two seconds and one millisecond are too old");
    gateway.end(request);
    gateway.tick();
    assert_eq!(gateway.count("perch_share_stale_total"), 1);
    gateway.set_share(0);
    for _ in 0..3 {
        gateway.tick();
    }
    assert_eq!(gateway.envoy.host.period(), 0, "without a canary an idle gateway sleeps");
}

#[test]
fn an_admin_interface_that_does_not_answer_is_logged_once() {
    let mut gateway = Gateway::without_shares("{}");
    for _ in 0..3 {
        gateway.tick();
        let call = gateway.calls_to(ADMIN_CLUSTER).remove(0);
        gateway.reply(call.token, &Response::of(200, &[], b"{}"));
        gateway.wait_ms(1_000);
    }
    assert_eq!(gateway.envoy.host.log().iter().filter(|line| line.contains("scorer.admin_cluster")).count(), 1);
}

#[test]
fn a_batch_that_envoy_does_not_take_is_counted_at_once() {
    let mut gateway = Gateway::start("{}", 0);
    let request = gateway.send(&Request::of("u1", BODY));
    gateway.respond(request, &Response::json(BASELINE));
    gateway.refuse("call", 10);
    gateway.tick();
    gateway.allow();
    gateway.tick();
    assert_eq!(gateway.count("perch_not_compared_total.reason.observer_failed"), 1);
    assert_eq!(gateway.count("perch_batch_total.result.failed"), 1);
    assert_eq!(gateway.count("perch_batch_total.result.sent"), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    // Whatever callbacks come, for whatever contexts, with whatever bytes, and whatever status the host returns to
    // whatever call: nothing panics.
    #[test]
    fn nothing_panics(
        steps in proptest::collection::vec(any_step(), 0..60),
        statuses in proptest::collection::vec(prop_oneof![3 => Just(0_u32), 1 => 0_u32..14], 1..40),
    ) {
        let mut gateway = Gateway::start(
            r#"{"identity":[{"header":"x-user-id"},{"cookie":"s"},{"jwt":{"payload":"p","claim":"c"}},{"body":"/u"}]}"#,
            100,
        );
        gateway.envoy.statuses(statuses);
        for step in steps {
            gateway.envoy.raw(&step);
        }
    }
}
