//! Perch end to end: the real Envoy, the built filter, the real scorer, and upstreams that misbehave on command.
//!
//! The tests are in `tests/tests/e2e`, a module per subject; this library is what they are written with.
//!
//! | module | what it gives a test |
//! |---|---|
//! | [`upstream`] | a server that responds by script, in place of the application or of the scorer |
//! | [`client`], [`raw_client`] | clients that see the wire as it is |
//! | [`channel_body`] | bodies that are fed piece by piece |
//! | [`changes`] | what moved between two scrapes, compared with what is expected |
//! | [`eventually`] | waiting with a bound |
//! | [`monitoring`] | the queries of rules and dashboards, and a real Prometheus to ask |
//! | [`scripted_stack`] | Envoy with the filter between two such servers |
//! | [`real_stack`] | the whole deployment, with the demo's rules backend and scorer |
//! | [`postgres`] | a PostgreSQL server of a test's own |
//! | [`load`] | many clients at once that look at every response |
//! | [`jwt`] | signed tokens for the identity in a JWT |
//! | [`workspace`] | the packages of the workspace |

pub mod changes;
pub mod channel_body;
pub mod client;
pub mod eventually;
pub mod jwt;
pub mod load;
pub mod monitoring;
pub mod postgres;
pub mod raw_client;
pub mod real_stack;
pub mod scripted_stack;
pub mod upstream;
pub mod workspace;
