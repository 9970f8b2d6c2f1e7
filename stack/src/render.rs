//! Envoy's configuration: `envoy/envoy.yaml.j2` plus what this deployment decides.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use contract::headers;
use contract::names::{FILTER, NATIVE_ACCESS_LOGGER};
use contract::share::{self, Denominator, Share};
use minijinja::context;
use minijinja::value::Serde;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::Error;
use crate::template;

/// Where one of the gateway's clusters leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// A name or an address.
    pub host: String,
    /// 1..=65535.
    pub port: u16,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

/// Everything that the template needs.
#[derive(Debug, Clone, Serialize)]
pub struct Gateway {
    /// Where clients come in.
    pub listen: Endpoint,
    /// Envoy's admin interface; loopback.
    pub admin: Endpoint,
    /// The application.
    pub rules: Endpoint,
    /// The scorer, for live requests.
    pub scorer_live: Endpoint,
    /// The scorer, for observations.
    pub scorer_observe: Endpoint,
    /// The scorer's API, as far as clients reach it (status, predict, train, reload, feedback).
    pub scorer_api: Endpoint,
    /// The filter's module; without it Envoy is a plain proxy.
    pub module: Option<PathBuf>,
    /// It is native code, not WebAssembly.
    pub native: bool,
    /// The filter's configuration.
    pub plugin: Value,
    /// The share at start.
    #[serde(serialize_with = "as_runtime")]
    pub share: Share,
    /// The symlink that the runtime's disk layer follows.
    pub runtime: PathBuf,
    /// Where the access log goes; none is written without it.
    pub access_log: Option<PathBuf>,
    /// Outlier detection and health checks on the scorer.
    pub scorer_checks: bool,
    /// What Envoy buffers for a client's connection at most, in bytes: what the filter holds of a response with the
    /// largest part in which it comes.
    pub buffer_bytes: u64,
    /// What Envoy reads from the application in one go at most, in bytes.
    pub upstream_buffer_bytes: u64,
    /// Envoy's heap, in bytes, at which it sheds.
    pub heap_bytes: u64,
    /// Client connections at once.
    pub max_connections: u32,
}

/// Room for the filter's default limits with what comes from the application in one go.
pub const BUFFER_BYTES: u64 = 2 * UPSTREAM_BUFFER_BYTES;
/// Envoy's own default.
pub const UPSTREAM_BUFFER_BYTES: u64 = 1024 * 1024;
/// Envoy's heap by default.
pub const HEAP_BYTES: u64 = 1024 * 1024 * 1024;
/// Client connections by default.
pub const MAX_CONNECTIONS: u32 = 20_000;

fn as_runtime<S: serde::Serializer>(share: &Share, serializer: S) -> Result<S::Ok, S::Error> {
    match share.denominator() {
        // A bare number is a percentage to Envoy.
        Denominator::Hundred => share.numerator().serialize(serializer),
        // As an object: the static layer does not read JSON text, it would count as 0.
        finer => json!({ "numerator": share.numerator(), "denominator": finer.name() }).serialize(serializer),
    }
}

impl Gateway {
    /// Fills in the template at `path` (`envoy/envoy.yaml.j2`).
    ///
    /// # Errors
    /// When it cannot be read, or uses a name that is not there.
    pub fn render(&self, path: &Path) -> Result<String, Error> {
        let values = context! {
            gateway => Serde(self),
            filter => FILTER,
            native_switch => NATIVE_ACCESS_LOGGER,
            filter_config => self.plugin.to_string(),
            stats_namespace => if self.native { "dynamicmodulescustom" } else { "wasmcustom" },
            canary_key => share::RUNTIME_KEY,
            beta_key => share::BETA_KEY,
            observe_key => share::OBSERVE_KEY,
            perch_headers => format!("(?i){}.*", headers::PREFIX.replace('-', "[-_]")),
            arm_header => headers::ARM,
            fallback_header => headers::FALLBACK,
            model_version_header => headers::MODEL_VERSION,
        };
        template::render(path, values)
    }
}
