//! What may happen, made up by chance: whole requests with their fates ([`Plan`]), and single callbacks with any bytes
//! ([`Step`]).

use filter::pairs;
use proptest::prelude::*;

use super::{Gateway, Reply, Request};

/// One request and its fate.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    canary: bool,
    identified: bool,
    unsampled: bool,
    other_path: bool,
    body: usize,
    cut: bool,
    trailers: bool,
    scorer: u8,
    refused: bool,
    rules: u8,
    observer: u8,
    left: bool,
}

/// See [`Plan`].
pub(crate) fn any_plan() -> impl Strategy<Value = Plan> {
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    let more = (0_usize..80, prop::bool::weighted(0.1), any::<bool>(), 0_u8..8, prop::bool::weighted(0.15));
    let last = (0_u8..7, 0_u8..5, prop::bool::weighted(0.1));
    (flags, more, last).prop_map(|(flags, more, last)| Plan {
        canary: flags.0,
        identified: flags.1,
        unsampled: flags.2,
        other_path: flags.3,
        body: more.0,
        cut: more.1 && more.0 > 0,
        trailers: more.2,
        scorer: more.3,
        refused: more.4,
        rules: last.0,
        observer: last.1,
        left: last.2,
    })
}

const ONE: &[u8] = br#"{"items":[{"txn_id":1,"candidates":[{"label":"coffee"}]}]}"#;
const TWO: &[u8] = br#"{"items":[{"txn_id":1,"candidates":[]},{"txn_id":2}]}"#;

impl Gateway {
    /// Plays it, up to what happens later by itself.
    pub(crate) fn play(&mut self, plan: &Plan) {
        let mut request = Request::of("u1", &vec![b'x'; plan.body]);
        if plan.canary {
            request = request.canary();
        }
        if !plan.identified {
            request = request.without("x-user-id");
        }
        if plan.unsampled {
            request = request.with("x-perch-unsampled", "1");
        }
        if plan.other_path {
            request = request.with(":path", "/other");
        }
        if plan.cut {
            request = request.cut(plan.body / 2);
        }
        if plan.trailers {
            request = request.trailed().without("content-length");
        }
        if plan.refused {
            self.refuse("call", 10);
        }
        let index = self.send(&request);
        if let Some(call) = self.calls().into_iter().find(|call| call.cluster == "perch_scorer_live") {
            let signed = [("x-perch-scorer", "1")];
            let reply = match plan.scorer {
                0 => Some(Reply::failed()),
                1 => Some(Reply::of(503, &[], b"no healthy upstream")),
                2 => Some(Reply::of(200, &signed, b"garbage")),
                3 => Some(Reply::of(200, &signed, &[b' '; 300])),
                4 => None,
                5 => Some(Reply::of(200, &signed, TWO)),
                _ => Some(Reply::of(200, &signed, ONE)),
            };
            if let Some(reply) = reply {
                self.reply(call.token, &reply);
            }
        }
        self.allow();
        if plan.left {
            self.end(index);
        }
        if !self.is_over(index) && !self.held(index) && self.answered(index).is_none() {
            match plan.rules {
                0 => self.answer(index, 500, &[], b"oops"),
                1 => self.answer(index, 200, &[("x-perch-fallback", "reset"), ("x-perch-arm", "model")], TWO),
                2 => self.break_off(index, ONE),
                3 => self.answer(index, 200, &[], &[b' '; 250]),
                4 => self.answer(index, 200, &[], b"garbage"),
                5 => self.answer(index, 204, &[], b""),
                _ => self.answer(index, 200, &[], ONE),
            }
        }
        if plan.observer == 3 {
            self.refuse("call", 10);
        }
        if plan.observer != 4 {
            self.tick();
        }
        self.allow();
        if let Some(call) = self.calls().into_iter().find(|call| call.cluster == "perch_scorer_observe") {
            match plan.observer {
                0 => self.reply(call.token, &Reply::failed()),
                1 => self.reply(call.token, &Reply::of(503, &[], b"overflow")),
                2 => {
                    let reply = self.judge(&call);
                    self.reply(call.token, &reply);
                }
                _ => {}
            }
        }
        if !self.held(index) && plan.rules.is_multiple_of(2) {
            self.end(index);
        }
    }
}

/// One callback.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Created { context: u32, root: u32 },
    Configured { root: u32, json: Vec<u8> },
    RequestHeaders { context: u32, end: bool, map: Vec<u8> },
    RequestBody { context: u32, length: usize, end: bool, chunk: Vec<u8> },
    RequestTrailers { context: u32 },
    AnswerHeaders { context: u32, end: bool, map: Vec<u8> },
    AnswerBody { context: u32, length: usize, end: bool, chunk: Vec<u8> },
    AnswerTrailers { context: u32 },
    Called { root: u32, token: u32, headers: usize, length: usize, map: Vec<u8>, chunk: Vec<u8> },
    Tick { root: u32 },
    Deleted { context: u32 },
    Wait { ms: u64 },
}

fn any_map() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        Just(":method"),
        Just(":path"),
        Just(":status"),
        Just("x-user-id"),
        Just("cookie"),
        Just("content-length"),
        Just("content-encoding"),
        Just("x-perch-bucket"),
        Just("x-perch-arm"),
        Just("x-perch-fallback"),
        Just("x-perch-scorer"),
        Just("x-perch-unsampled"),
        Just("x-perch-model-version"),
        Just("upgrade"),
    ];
    let value = prop_oneof![
        Just(b"POST".to_vec()),
        Just(b"/ml/suggestions".to_vec()),
        Just(b"200".to_vec()),
        Just(b"model".to_vec()),
        Just(b"0".to_vec()),
        Just(b"s=1; t".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    let well_formed = proptest::collection::vec((name, value), 0..8).prop_map(|headers| {
        let mut all: Vec<(&[u8], &[u8])> =
            vec![(b":method", b"POST"), (b":path", b"/ml/suggestions"), (b":status", b"200")];
        all.extend(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())));
        let mut bytes = Vec::new();
        pairs::write(&mut bytes, &all);
        bytes
    });
    prop_oneof![4 => well_formed, 1 => proptest::collection::vec(any::<u8>(), 0..60)]
}

/// See [`Step`].
pub(crate) fn any_step() -> impl Strategy<Value = Step> {
    let context = 3_u32..9;
    let root = 0_u32..4;
    let chunk = || {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..30),
            Just(ONE.to_vec()),
            Just(br#"{"u":"x"}"#.to_vec()),
            Just(br#"{"version":1,"observations":1,"agree_true":1}"#.to_vec()),
        ]
    };
    let json = prop_oneof![
        Just(br#"{"salt":"0123456789abcdef","identity":[{"body":"/u"}]}"#.to_vec()),
        Just(br#"{"salt":"0123456789abcdef","role":"model"}"#.to_vec()),
        proptest::collection::vec(any::<u8>(), 0..30),
    ];
    prop_oneof![
        4 => (context.clone(), root.clone()).prop_map(|(context, root)| Step::Created { context, root }),
        1 => (root.clone(), json).prop_map(|(root, json)| Step::Configured { root, json }),
        4 => (context.clone(), any::<bool>(), any_map()).prop_map(|(context, end, map)| Step::RequestHeaders { context, end, map }),
        4 => (context.clone(), 0_usize..40, any::<bool>(), chunk())
            .prop_map(|(context, length, end, chunk)| Step::RequestBody { context, length, end, chunk }),
        1 => context.clone().prop_map(|context| Step::RequestTrailers { context }),
        3 => (context.clone(), any::<bool>(), any_map()).prop_map(|(context, end, map)| Step::AnswerHeaders { context, end, map }),
        3 => (context.clone(), 0_usize..80, any::<bool>(), chunk())
            .prop_map(|(context, length, end, chunk)| Step::AnswerBody { context, length, end, chunk }),
        1 => context.clone().prop_map(|context| Step::AnswerTrailers { context }),
        3 => (root.clone(), 0_u32..40, 0_usize..3, 0_usize..80, any_map(), chunk())
            .prop_map(|(root, token, headers, length, map, chunk)| Step::Called { root, token, headers, length, map, chunk }),
        2 => root.prop_map(|root| Step::Tick { root }),
        1 => (1_u32..9).prop_map(|context| Step::Deleted { context }),
        1 => (0_u64..10_000).prop_map(|ms| Step::Wait { ms }),
    ]
}

impl Gateway {
    /// One callback as it comes, whatever came before.
    pub(crate) fn raw(&mut self, step: &Step) {
        let Self { worker, host, .. } = self;
        match step {
            Step::Created { context, root } => {
                host.stream(*context, super::Headers::default());
                worker.created(*context, *root);
            }
            Step::Configured { root, json } => {
                host.enter(*root);
                host.set_chunk(json);
                worker.configured(host, *root, json.len());
            }
            Step::RequestHeaders { context, end, map } => {
                host.enter(*context);
                host.set_raw_map(map);
                worker.request_headers(host, *context, *end);
            }
            Step::RequestBody { context, length, end, chunk } => {
                host.enter(*context);
                host.set_chunk(chunk);
                worker.request_body(host, *context, *length, *end);
            }
            Step::RequestTrailers { context } => {
                host.enter(*context);
                worker.request_trailers(host, *context);
            }
            Step::AnswerHeaders { context, end, map } => {
                host.enter(*context);
                host.set_raw_map(map);
                worker.answer_headers(host, *context, *end);
            }
            Step::AnswerBody { context, length, end, chunk } => {
                host.enter(*context);
                host.set_chunk(chunk);
                worker.answer_body(host, *context, *length, *end);
            }
            Step::AnswerTrailers { context } => {
                host.enter(*context);
                worker.answer_trailers(host, *context);
            }
            Step::Called { root, token, headers, length, map, chunk } => {
                host.enter(*root);
                host.set_raw_map(map);
                host.set_chunk(chunk);
                worker.call_answered(host, *root, *token, *headers, *length);
            }
            Step::Tick { root } => {
                host.enter(*root);
                worker.tick(host, *root);
            }
            Step::Deleted { context } => {
                host.enter(*context);
                worker.deleted(host, *context);
            }
            Step::Wait { ms } => host.wait_ms(*ms),
        }
        host.take_actions();
    }

    pub(super) fn is_over(&self, index: usize) -> bool {
        self.requests[index].over
    }
}
