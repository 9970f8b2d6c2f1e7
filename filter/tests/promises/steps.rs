//! Single callbacks of a VM, made up at random, with any bytes.

use filter::pairs;
use filter::plugin::replacement::Flow;
use proptest::prelude::*;

use super::fake_host::{FakeHost, Reply, Vm};
use super::messages::Headers;

const ONE: &[u8] = br#"{"items":[{"txn_id":1,"candidates":[{"label":"coffee"}]}]}"#;

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
        Just(br#"{"salt":"0123456789abcdef","labels":["coffee"],"identity":[{"body":"/u"}]}"#.to_vec()),
        Just(br#"{"salt":"0123456789abcdef","labels":["coffee"],"items":"any"}"#.to_vec()),
        proptest::collection::vec(any::<u8>(), 0..30),
    ];
    prop_oneof![
        4 => (context.clone(), root.clone()).prop_map(|(context, root)| Step::Created { context, root }),
        1 => (root.clone(), json).prop_map(|(root, json)| Step::Configured { root, json }),
        4 => (context.clone(), any::<bool>(), any_map())
            .prop_map(|(context, end, map)| Step::RequestHeaders { context, end, map }),
        4 => (context.clone(), 0_usize..40, any::<bool>(), chunk())
            .prop_map(|(context, length, end, chunk)| Step::RequestBody { context, length, end, chunk }),
        1 => context.clone().prop_map(|context| Step::RequestTrailers { context }),
        3 => (context.clone(), any::<bool>(), any_map())
            .prop_map(|(context, end, map)| Step::ResponseHeaders { context, end, map }),
        3 => (context.clone(), 0_usize..80, any::<bool>(), chunk())
            .prop_map(|(context, length, end, chunk)| Step::ResponseBody { context, length, end, chunk }),
        1 => context.clone().prop_map(|context| Step::ResponseTrailers { context }),
        3 => (root.clone(), 0_u32..40, 0_usize..3, 0_usize..80, any_map(), chunk())
            .prop_map(|(root, token, headers, length, map, chunk)| {
                Step::Called { root, token, headers, length, map, chunk }
            }),
        2 => root.prop_map(|root| Step::Tick { root }),
        1 => (1_u32..9).prop_map(|context| Step::Deleted { context }),
        1 => (0_u64..10_000).prop_map(|ms| Step::Wait { ms }),
    ]
}

impl Vm {
    /// One callback as it comes, whatever came before.
    pub(crate) fn raw(&mut self, step: &Step) {
        let Self { worker, host, .. } = self;
        match step {
            Step::Created { context, root } => {
                host.stream(*context, Headers::default());
                host.respond(*context, Headers::default(), Headers::default());
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
                let reply = (*headers > 0).then_some(Reply { host, length: *length });
                if let Some((context, flow)) = worker.call_over(host, *root, *token, reply.as_ref()) {
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

fn flows(host: &FakeHost, context: u32, flow: &Flow) {
    if let Flow::Replace(replacement) = flow {
        replacement.apply(host);
    }
    if *flow != Flow::Hold {
        host.goes(context);
    }
}
