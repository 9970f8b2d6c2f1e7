//! Checks of the filter in one gateway: its place among the filters, its buffers, and whether it runs.

use canary::configuration;
use contract::headers;
use contract::names::IdentitySource;
use contract::percent::Percent;
use contract::series;
use serde_json::{Map, Value};

use super::config_dump::{Gateway, all};
use super::{Finding, Level, native};

/// Fraction of requests without an identity above which the identity is configured wrongly.
const MANY_WITHOUT: f64 = 0.5;
/// Fewest requests on which a fraction is judged.
const ENOUGH: f64 = 20.0;
/// Part of a pattern that removes the filter's headers whether they are written with hyphens or with underscores.
const SPELLED_BOTH_WAYS: &str = "perch[-_]";
/// The finding of a gateway without the filter.
const NO_FILTER: &str = "no listener has Perch's filter";
/// Envoy's default buffer limit of a connection, in bytes.
const ENVOYS_BUFFER: u64 = 1024 * 1024;

/// The connection managers with Perch's filter.
fn managers_with_filter(dump: &Value) -> Vec<&Map<String, Value>> {
    let has_filter = |fields: &&Map<String, Value>| {
        fields.get("http_filters").is_some_and(|filters| configuration::of_config_dump(filters).is_some())
    };
    all(dump).into_iter().filter(has_filter).collect()
}

/// Checks that every connection manager with Perch's filter removes Perch's headers from clients' requests.
pub(super) fn check_header_removal(Gateway { url, dump, .. }: Gateway<'_>) -> Finding {
    let strips = |fields: &Map<String, Value>| {
        let early = fields.get("early_header_mutation_extensions").map(all).unwrap_or_default();
        let text =
            |fields: &Map<String, Value>, name| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        early.iter().any(|matcher| {
            text(matcher, "prefix") == headers::PREFIX || text(matcher, "regex").contains(SPELLED_BOTH_WAYS)
        })
    };
    let with_filter = managers_with_filter(dump);
    if with_filter.is_empty() {
        return Finding::of(Level::Unknown, "headers", url, NO_FILTER, "");
    }
    if with_filter.iter().all(|fields| strips(fields)) {
        return Finding::ok("headers", url, format!("{}* is removed from clients' requests", headers::PREFIX));
    }
    Finding::of(
        Level::Error,
        "headers",
        url,
        format!("clients can send {}* headers, and the application may trust them", headers::PREFIX),
        "add early_header_mutation_extensions as marked [PERCH 4] in envoy/envoy.yaml.j2",
    )
}

/// Checks that a held response, with the largest chunk that the application's cluster delivers, fits into the
/// listener's buffer.
pub(super) fn check_buffer_limits(Gateway { url, dump, .. }: Gateway<'_>) -> Finding {
    let bytes = |fields: &Map<String, Value>| {
        fields.get("per_connection_buffer_limit_bytes").and_then(Value::as_u64).unwrap_or(ENVOYS_BUFFER)
    };
    let every = all(dump);
    let listeners = every.iter().filter(|fields| fields.contains_key("filter_chains"));
    let ours = listeners.filter(|fields| configuration::of_config_dump(&Value::Object((**fields).clone())).is_some());
    let clusters = every
        .iter()
        .filter(|fields| fields.contains_key("load_assignment") || fields.contains_key("eds_cluster_config"));
    let not_ours = |fields: &&&Map<String, Value>| {
        !fields.get("name").and_then(Value::as_str).is_some_and(|name| name.starts_with("perch_"))
    };
    let part = clusters.filter(not_ours).map(|fields| bytes(fields)).max().unwrap_or(ENVOYS_BUFFER);
    let configured = configuration::of_config_dump(dump).map(Value::Object);
    let limit = |name: &str, otherwise: usize| {
        let set = configured.as_ref().and_then(|document| document.pointer(&format!("/limits/{name}")));
        set.and_then(Value::as_u64).unwrap_or(otherwise as u64)
    };
    let defaults = filter::config::raw::Limits::default();
    let needed =
        (limit("held_bytes", defaults.held_bytes) + part).max(limit("candidate_bytes", defaults.candidate_bytes));
    let Some(room) = ours.map(|fields| bytes(fields)).min() else {
        return Finding::of(Level::Unknown, "buffers", url, "the filter's listener was not found", "");
    };
    if room >= needed {
        return Finding::ok(
            "buffers",
            url,
            format!("the listener buffers {room} bytes; a held response needs {needed}"),
        );
    }
    Finding::of(
        Level::Warn,
        "buffers",
        url,
        format!(
            "the listener buffers {room} bytes, but a held response may need {needed}: Envoy then responds with 500"
        ),
        format!(
            "set per_connection_buffer_limit_bytes of the listener to {needed}, as marked [PERCH 3] in \
             envoy/envoy.yaml.j2"
        ),
    )
}

/// Checks that the filter can read the shares.
pub(super) fn check_admin_cluster(Gateway { url, dump, .. }: Gateway<'_>) -> Finding {
    let configured = configuration::of_config_dump(dump).map(Value::Object);
    let name =
        configured.as_ref().and_then(|document| document.pointer("/scorer/admin_cluster")).and_then(Value::as_str);
    let name = name.map_or_else(|| filter::config::raw::Scorer::default().admin_cluster, str::to_owned);
    let known = all(dump).iter().any(|fields| {
        fields.get("name").and_then(Value::as_str) == Some(&name) && fields.contains_key("load_assignment")
    });
    if known {
        return Finding::ok("share source", url, format!("the filter reads the share through the cluster {name}"));
    }
    // The native module reads whole percentages from Envoy's runtime itself; a share that it cannot read makes its
    // whole copy stale.
    let effect = if native::has_filter(dump) {
        "every user gets the baseline while a share in the runtime is absent or not a whole percentage"
    } else {
        "every user gets the baseline"
    };
    Finding::of(
        Level::Error,
        "share source",
        url,
        format!("the cluster {name:?}, through which the filter reads the share, does not exist: {effect}"),
        "add the cluster of Envoy's own admin interface, as marked [PERCH 6] in envoy/envoy.yaml.j2",
    )
}

/// Checks that the filter is configured, runs and has never failed.
pub(super) fn check_health(Gateway { url, dump, scrape, .. }: Gateway<'_>) -> Finding {
    if managers_with_filter(dump).is_empty() {
        return Finding::of(
            Level::Error,
            "filter",
            url,
            NO_FILTER,
            "add the filter marked [PERCH 5] in envoy/envoy.yaml.j2, see envoy/README.md",
        );
    }
    if scrape.get(series::INTERCEPTED, &[]).is_none() {
        return Finding::of(
            Level::Error,
            "filter",
            url,
            "the filter is not loaded, or it rejected its configuration: every user gets the baseline",
            "Envoy's log names the field, the rule and the fix",
        );
    }
    let reload = |name: &str| name.starts_with("envoy_wasm_perch_") && name.contains("_vm_reload_");
    let reloads: f64 = scrape.samples().iter().filter(|sample| reload(&sample.name)).map(|sample| sample.value).sum();
    if reloads > 0.0 {
        return Finding::of(
            Level::Warn,
            "filter",
            url,
            format!(
                "the filter's VM was reloaded {reloads} times since Envoy started; each time requests in flight \
                 got a 503"
            ),
            "report it, with Envoy's log",
        );
    }
    let failures = scrape.sum(series::FAILURES, &[]);
    if failures > 0.0 {
        return Finding::of(
            Level::Warn,
            "filter",
            url,
            format!("the filter failed {failures} times since Envoy started; each time the request bypassed Perch"),
            "report it, with Envoy's log (\"perch: filter_panicked\")",
        );
    }
    Finding::ok("filter", url, "the filter runs and has not failed since Envoy started")
}

/// Checks that most requests carry a user's identity.
pub(super) fn check_identity(Gateway { url, scrape, .. }: Gateway<'_>) -> Finding {
    let all: f64 = scrape.sum(series::IDENTITY, &[]);
    let without = scrape.sum(series::IDENTITY, &[("source", IdentitySource::Missing.as_str())]);
    if all < ENOUGH {
        return Finding::of(
            Level::Unknown,
            "identity",
            url,
            format!("the filter has seen {all} requests; {ENOUGH} are needed to judge"),
            "run this again under traffic",
        );
    }
    let share = without / all;
    if share <= MANY_WITHOUT {
        return Finding::ok(
            "identity",
            url,
            format!("{:.1} of the requests carry a user's identity", Percent(1.0 - share)),
        );
    }
    Finding::of(
        Level::Warn,
        "identity",
        url,
        format!("{:.1} of the requests carry no identity and get the baseline at every share", Percent(share)),
        "set the filter's `identity` to where your authentication leaves the user, and place the filter after it",
    )
}

/// Warns of the demo's identity header, which any client can send.
pub(super) fn check_identity_header(Gateway { url, dump, .. }: Gateway<'_>) -> Finding {
    let Some(document) = configuration::of_config_dump(dump) else {
        return Finding::of(Level::Unknown, "identity header", url, "the filter's configuration was not found", "");
    };
    let demo = document.get("identity").is_none_or(|identity| identity.to_string().contains(headers::DEMO_IDENTITY));
    if demo {
        return Finding::of(
            Level::Warn,
            "identity header",
            url,
            format!("users are identified by {}, the demo's header", headers::DEMO_IDENTITY),
            "let your authentication set it and remove it from clients' requests, or name another in `identity`",
        );
    }
    Finding::ok("identity header", url, "users are not identified by the demo's header")
}
