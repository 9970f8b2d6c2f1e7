//! What may happen, made up at random: whole requests with their fates ([`Plan`]), and single callbacks with any bytes
//! ([`Step`]).

use filter::pairs;
use filter::plugin::host::Flow;
use proptest::prelude::*;

use super::{Gateway, LIVE_CLUSTER, OBSERVE_CLUSTER, Request, Response, judge};

/// One request and its fate.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    identified: bool,
    other_path: bool,
    body: usize,
    cut: bool,
    trailers: bool,
    scorer: u8,
    /// The scorer's reply comes after the application's response.
    late: bool,
    refused: bool,
    application: u8,
    observer: u8,
    left: bool,
}

/// See [`Plan`].
pub(crate) fn any_plan() -> impl Strategy<Value = Plan> {
    let request = (any::<bool>(), prop::bool::weighted(0.1), 0_usize..80, prop::bool::weighted(0.1), any::<bool>());
    let scorer = (0_u8..9, any::<bool>(), prop::bool::weighted(0.15));
    let rest = (0_u8..12, 0_u8..5, prop::bool::weighted(0.1));
    (request, scorer, rest).prop_map(|(request, scorer, rest)| Plan {
        identified: request.0,
        other_path: request.1,
        body: request.2,
        cut: request.3 && request.2 > 0,
        trailers: request.4,
        scorer: scorer.0,
        late: scorer.1,
        refused: scorer.2,
        application: rest.0,
        observer: rest.1,
        left: rest.2,
    })
}

const ONE: &[u8] = br#"{"items":[{"txn_id":1,"candidates":[{"label":"coffee"}]}]}"#;
const TWO: &[u8] = br#"{"items":[{"txn_id":1,"candidates":[]},{"txn_id":2}]}"#;

impl Gateway {
    /// Plays it, up to what happens later by itself.
    pub(crate) fn play(&mut self, plan: &Plan) {
        let mut request = Request::of("u1", &vec![b'x'; plan.body]);
        if !plan.identified {
            request = request.without("x-user-id");
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
        self.allow();
        let calls = self.calls_to(LIVE_CLUSTER);
        let live = calls.last().map(|call| call.token);
        if !plan.late {
            self.scorer(plan.scorer, live);
        }
        if plan.left {
            self.end(index);
        } else {
            self.application(plan.application, index);
        }
        if plan.late {
            self.scorer(plan.scorer, live);
        }
        if plan.observer == 3 {
            self.refuse("call", 10);
        }
        if plan.observer != 4 {
            self.tick();
        }
        self.allow();
        if let Some(call) = self.calls_to(OBSERVE_CLUSTER).pop() {
            match plan.observer {
                0 => self.reply(call.token, &Response::failed()),
                1 => self.reply(call.token, &Response::of(503, &[], b"overflow")),
                2 => self.reply(call.token, &judge(&call)),
                _ => {}
            }
        }
        if !self.held(index) && plan.application.is_multiple_of(2) {
            self.end(index);
        }
    }

    fn scorer(&mut self, how: u8, token: Option<u32>) {
        let Some(token) = token else { return };
        let signed = [("x-perch-scorer", "1")];
        let reply = match how {
            0 => Response::failed(),
            1 => Response::of(503, &[], b"no healthy upstream"),
            2 => Response::of(200, &signed, b"garbage"),
            3 => Response::of(200, &signed, &[b' '; 300]),
            4 => return,
            5 => Response::of(200, &signed, TWO),
            6 => Response::of(400, &signed, b"{}"),
            _ => Response::of(200, &signed, ONE),
        };
        self.reply(token, &reply);
    }

    fn application(&mut self, how: u8, index: usize) {
        let response = match how {
            0 => Response::of(500, &[], b"oops"),
            1 => Response::json(TWO).with("x-perch-fallback", "reset").with("x-perch-arm", "candidate"),
            2 => return self.respond_half(index, &Response::json(ONE)),
            3 => Response::json(&[b' '; 250]),
            4 => Response::json(b"garbage"),
            5 => Response::of(204, &[], b""),
            6 => Response::json(ONE).trailed(&[("digest", "x")]),
            7 => Response::json(br#"{"items":[]}"#),
            8 => Response::json(ONE).with("content-encoding", "gzip"),
            9 => {
                self.respond_half(index, &Response::json(TWO));
                Response::of(502, &[], b"upstream reset")
            }
            _ => Response::json(ONE),
        };
        self.respond(index, &response);
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
    ResponseHeaders { context: u32, end: bool, map: Vec<u8> },
    ResponseBody { context: u32, length: usize, end: bool, chunk: Vec<u8> },
    ResponseTrailers { context: u32 },
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
        Just("content-type"),
        Just("accept-encoding"),
        Just("x-perch-arm"),
        Just("x-perch-fallback"),
        Just("x-perch-scorer"),
        Just("x-request-id"),
        Just("x-perch-model-version"),
        Just("upgrade"),
    ];
    let value = prop_oneof![
        Just(b"POST".to_vec()),
        Just(b"/ml/suggestions".to_vec()),
        Just(b"200".to_vec()),
        Just(b"candidate".to_vec()),
        Just(b"gzip".to_vec()),
        Just(b"application/json".to_vec()),
        Just(b"0".to_vec()),
        Just(b"s=1; t".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    let well_formed = proptest::collection::vec((name, value), 0..8).prop_map(|headers| {
        let mut all: Vec<(&[u8], &[u8])> = vec![
            (b":method", b"POST"),
            (b":path", b"/ml/suggestions"),
            (b":status", b"200"),
            (b"x-perch-scorer", b"1"),
        ];
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
    let root = 0_u32..3;
    let chunk = || {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..30),
            Just(ONE.to_vec()),
            Just(br#"{"u":"x"}"#.to_vec()),
            Just(br#"{"version":2,"observations":1,"agree_true":1}"#.to_vec()),
            Just(br#"{"entries":{"suggest.use_model_canary":{"final_value":"100"}}}"#.to_vec()),
        ]
    };
    let json = prop_oneof![
        Just(br#"{"salt":"0123456789abcdef","identity":[{"body":"/u"}]}"#.to_vec()),
        Just(br#"{"salt":"0123456789abcdef","items":"any"}"#.to_vec()),
        proptest::collection::vec(any::<u8>(), 0..30),
    ];
    prop_oneof![
        4 => (context.clone(), root.clone()).prop_map(|(context, root)| Step::Created { context, root }),
        1 => (root.clone(), json).prop_map(|(root, json)| Step::Configured { root, json }),
        4 => (context.clone(), any::<bool>(), any_map()).prop_map(|(context, end, map)| Step::RequestHeaders { context, end, map }),
        4 => (context.clone(), 0_usize..40, any::<bool>(), chunk())
            .prop_map(|(context, length, end, chunk)| Step::RequestBody { context, length, end, chunk }),
        1 => context.clone().prop_map(|context| Step::RequestTrailers { context }),
        3 => (context.clone(), any::<bool>(), any_map()).prop_map(|(context, end, map)| Step::ResponseHeaders { context, end, map }),
        3 => (context.clone(), 0_usize..80, any::<bool>(), chunk())
            .prop_map(|(context, length, end, chunk)| Step::ResponseBody { context, length, end, chunk }),
        1 => context.clone().prop_map(|context| Step::ResponseTrailers { context }),
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
                host.respond(*context, super::Headers::default(), super::Headers::default());
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
            Step::ResponseHeaders { context, end, map } => {
                host.enter(*context);
                host.set_raw_map(map);
                flows(host, *context, &worker.response_headers(host, *context, *end));
            }
            Step::ResponseBody { context, length, end, chunk } => {
                host.enter(*context);
                host.comes(*context, chunk);
                flows(host, *context, &worker.response_body(host, *context, *length, *end));
            }
            Step::ResponseTrailers { context } => {
                host.enter(*context);
                flows(host, *context, &worker.response_trailers(host, *context));
            }
            Step::Called { root, token, headers, length, map, chunk } => {
                host.enter(*root);
                host.set_raw_map(map);
                host.set_chunk(chunk);
                if let Some((context, flow)) = worker.call_over(host, *root, *token, *headers, *length) {
                    flows(host, context, &flow);
                }
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
    }
}

fn flows(host: &super::FakeHost, context: u32, flow: &Flow) {
    if let Flow::Replace(replacement) = flow {
        replacement.apply(host);
    }
    if *flow != Flow::Hold {
        host.goes(context);
    }
}
