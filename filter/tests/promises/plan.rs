//! Whole requests with their fates, made up at random.

use proptest::prelude::*;

use super::gateway::{Envoy, Gateway, LIVE_CLUSTER, OBSERVE_CLUSTER, judge};
use super::messages::{Request, Response};

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

impl<E: Envoy> Gateway<E> {
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
        if !self.is_waiting(index) && plan.application.is_multiple_of(2) {
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
