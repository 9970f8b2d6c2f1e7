//! What is left when Envoy has destroyed a configuration: nothing, in whatever state it was.

use super::Gateway;
use super::cases::{BASELINE, BODY, canary_call, good};
use super::fake_envoy::NativeModule;
use super::gateway::{Envoy, LIVE_CLUSTER};
use super::messages::{Request, Response};
use crate::abi::Address;
use crate::hooks;

/// A gateway whose configuration is destroyed while a stream is in some state.
fn in_each_state(mut end: impl FnMut(&mut Gateway)) {
    let states: [fn(&mut Gateway); 6] = [
        |_| {},
        // A request of which not all has come.
        |gateway| {
            gateway.send(&Request::of("u1", BODY).cut(3));
        },
        // A call is under way.
        |gateway| {
            canary_call(gateway);
        },
        // A response waits.
        |gateway| {
            let (request, _) = canary_call(gateway);
            gateway.respond(request, &Response::json(BASELINE));
        },
        // A response is under way, with the candidate's.
        |gateway| {
            let (request, token) = canary_call(gateway);
            gateway.reply(token, &good());
            gateway.respond_half(request, &Response::json(BASELINE));
        },
        // A batch is under way, and another waits.
        |gateway| {
            for _ in 0..2 {
                let request = gateway.send(&Request::of("u1", BODY));
                gateway.respond(request, &Response::json(BASELINE));
                gateway.end(request);
                gateway.tick();
            }
        },
    ];
    for state in states {
        let mut gateway = Gateway::start("{}", 100);
        state(&mut gateway);
        end(&mut gateway);
        assert!(gateway.envoy.is_gone());
    }
}

#[test]
fn a_configuration_ends_after_its_streams_and_nothing_is_left() {
    in_each_state(super::gateway::Gateway::stop);
}

#[test]
fn a_configuration_that_ends_before_its_streams_is_freed_with_the_last_of_them() {
    in_each_state(|gateway| {
        gateway.envoy.end_configuration();
        gateway.stop();
    });
}

#[test]
fn streams_that_outlive_their_configuration_pass() {
    let mut gateway = Gateway::start("{}", 100);
    let (waits, token) = canary_call(&mut gateway);
    gateway.respond(waits, &Response::json(BASELINE));
    gateway.envoy.end_configuration();
    assert!(!gateway.envoy.is_gone(), "a stream holds what it needs");
    gateway.reply(token, &good());
    assert!(!gateway.is_waiting(waits));
    assert_eq!(gateway.given(waits).1, BASELINE);
    gateway.end(waits);
    assert!(gateway.envoy.is_gone());
}

#[test]
fn a_refused_configuration_keeps_nothing_and_its_streams_pass() {
    let (mut module, accepted) = NativeModule::start(r#"{"salt":""}"#);
    assert!(!accepted);
    let headers = super::messages::Headers::of(&[(":method", "POST"), (":path", "/ml/suggestions")]);
    module.request_headers(1, headers, true);
    module.response_headers(1, super::messages::Headers::of(&[(":status", "200")]), Default::default(), false);
    module.response_body(1, BASELINE, true);
    assert_eq!(module.given(1).1, BASELINE);
    module.stop();
}

#[test]
fn a_second_configuration_takes_over_what_is_known_of_the_shares() {
    let mut first = Gateway::start("{}", 100);
    canary_call(&mut first);
    // Its runtime has no whole number to show.
    let mut second = Gateway::without_shares("{}");
    let request = second.send(&Request::of("u1", BODY));
    assert_eq!(second.calls_to(LIVE_CLUSTER).len(), 1);
    second.end(request);
    first.stop();
    second.stop();
}

#[test]
fn workers_on_threads_of_their_own_are_freed_too() {
    let mut gateway = Gateway::start("{}", 0);
    let configured = gateway.envoy.configured();
    let streams: Vec<usize> = (1..=3).map(|stream| gateway.envoy.add_stream(stream)).collect();
    std::thread::scope(|scope| {
        for envoy in streams {
            scope.spawn(move || {
                let (envoy, configured): (Address, Address) =
                    (std::ptr::without_provenance_mut(envoy), std::ptr::with_exposed_provenance_mut(configured));
                for _ in 0..100 {
                    let stream = hooks::envoy_dynamic_module_on_http_filter_new(configured, envoy);
                    hooks::envoy_dynamic_module_on_http_filter_request_headers(envoy, stream, true);
                    hooks::envoy_dynamic_module_on_http_filter_destroy(stream);
                }
            });
        }
        // The main thread takes the workers' locks meanwhile.
        for _ in 0..20 {
            gateway.tick();
        }
    });
    gateway.tick();
    assert_eq!(gateway.count("perch_intercepted_total"), 300);
    gateway.settle();
    gateway.assert_accounts();
}
