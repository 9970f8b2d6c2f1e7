//! Checks of one gateway: its configuration, its runtime, its counters.

use std::net::IpAddr;

use contract::names::{self, Agree, Outcome};
use contract::series;
use contract::share::{self, RUNTIME_KEY, Share};
use serde_json::Value;

use super::config_dump::{Gateway, bootstrap};
use super::{Finding, Level, filter, native};

/// The check of the admin interface's address.
const ADMIN_ADDRESS: &str = "admin configured address";

/// Runs all checks.
#[must_use]
pub fn check(gateway: Gateway<'_>) -> Vec<Finding> {
    vec![
        filter::check_header_removal(gateway),
        filter::check_buffer_limits(gateway),
        filter::check_admin_cluster(gateway),
        check_admin_address(gateway),
        check_runtime_layers(gateway),
        check_share(gateway),
        check_stats_tags(gateway),
        filter::check_health(gateway),
        filter::check_identity(gateway),
        filter::check_identity_header(gateway),
        check_observations(gateway),
        check_batches(gateway),
    ]
    .into_iter()
    .chain(native::check_share_notification(gateway))
    .collect()
}

/// Checks that the admin interface listens on loopback only.
fn check_admin_address(Gateway { url, dump, .. }: Gateway<'_>) -> Finding {
    let address = bootstrap(dump).and_then(|bootstrap| bootstrap.pointer("/admin/address"));
    let Some(address) = address else {
        return Finding::of(
            Level::Unknown,
            ADMIN_ADDRESS,
            url,
            "the admin interface's address is not in the configuration",
            "check `admin` in Envoy's configuration",
        );
    };
    let host = address.pointer("/socket_address/address").and_then(Value::as_str);
    match host.map(str::parse::<IpAddr>) {
        None if address.get("pipe").is_some() => {
            Finding::ok(ADMIN_ADDRESS, url, "the admin interface listens on a pipe")
        }
        Some(Ok(ip)) if ip.is_loopback() => {
            Finding::ok(ADMIN_ADDRESS, url, format!("the admin interface listens on {ip} only"))
        }
        _ => Finding::of(
            Level::Error,
            ADMIN_ADDRESS,
            url,
            format!(
                "the admin interface listens on {}: every client that reaches it can set the share",
                host.unwrap_or("an unknown address")
            ),
            "bind `admin` to 127.0.0.1, so that only this host or pod reaches it",
        ),
    }
}

/// Checks that the runtime has a disk layer below an admin layer.
fn check_runtime_layers(Gateway { url, dump, .. }: Gateway<'_>) -> Finding {
    let layers = bootstrap(dump).and_then(|bootstrap| bootstrap.pointer("/layered_runtime/layers"));
    let layers = layers.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let place = |kind: &str| layers.iter().position(|layer| layer.get(kind).is_some());
    match (place("disk_layer").or_else(|| place("rtds_layer")), place("admin_layer")) {
        (Some(disk), Some(admin)) if disk < admin => {
            Finding::ok("layers", url, "a share that is set wins over the disk layer, and survives a restart")
        }
        (_, None) => Finding::of(
            Level::Error,
            "layers",
            url,
            "there is no admin layer, so the share cannot be set",
            "add `admin_layer: {}` as the last layer, as marked [PERCH 1] in envoy/envoy.yaml.j2",
        ),
        (None, Some(_)) => Finding::of(
            Level::Warn,
            "layers",
            url,
            "there is no disk layer, so a restart returns to the share at start",
            "add a disk layer below the admin layer, as marked [PERCH 1] in envoy/envoy.yaml.j2",
        ),
        (Some(_), Some(_)) => Finding::of(
            Level::Error,
            "layers",
            url,
            "the disk layer is above the admin layer and hides the share that is set",
            "move the admin layer to the end",
        ),
    }
}

/// Checks that the runtime holds a share, and that a restart does not change it.
fn check_share(Gateway { url, dump, runtime, .. }: Gateway<'_>) -> Finding {
    let entry = runtime.get("entries").and_then(|entries| entries.get(RUNTIME_KEY));
    let Some(held) = share::runtime_value(runtime, RUNTIME_KEY) else {
        return Finding::of(
            Level::Warn,
            "share",
            url,
            "no layer sets the share, so it is 0%",
            "set it with `perch canary set off`, so that it does not depend on a default",
        );
    };
    let Some(share) = Share::from_runtime(held) else {
        return Finding::of(
            Level::Error,
            "share",
            url,
            format!("{RUNTIME_KEY} is {held:?}, which is not a share: every user gets the baseline"),
            "set a share with `perch canary set`",
        );
    };
    // Without the admin layer, which is the last one.
    let layers = entry.and_then(|entry| entry.get("layer_values")).and_then(Value::as_array);
    let names = runtime.get("layers").and_then(Value::as_array).map_or(0, Vec::len);
    let below = layers.into_iter().flatten().take(names.saturating_sub(1)).filter_map(Value::as_str);
    let after = below.filter(|value| !value.is_empty()).last().and_then(Share::from_runtime);
    match after {
        Some(after) if after != share && bootstrap(dump).is_some() => Finding::of(
            Level::Warn,
            "share",
            url,
            format!("{share} now, and {after} after a restart"),
            "set it with `perch canary set SHARE --runtime LINK`, which writes the disk layer too",
        ),
        _ => Finding::ok("share", url, share.to_string()),
    }
}

/// Checks that every series has its own name and its labels.
fn check_stats_tags(Gateway { url, scrape, .. }: Gateway<'_>) -> Finding {
    let mut wrong = Vec::new();
    for series in series::GATEWAY {
        let found: Vec<_> = scrape.samples().iter().filter(|sample| sample.name == series.name).collect();
        let labelled = found.iter().all(|sample| series.labels.iter().all(|label| sample.labels.contains_key(*label)));
        if found.is_empty() || !labelled {
            wrong.push(series.name);
        }
    }
    let values = [
        (series::COMPARE, "agree", Agree::ALL.iter().map(|value| value.as_str()).collect::<Vec<_>>()),
        (series::SOURCE, "source", names::Source::ALL.iter().map(|value| value.as_str()).collect()),
        (series::OBSERVATION, "outcome", Outcome::ALL.iter().map(|value| value.as_str()).collect()),
    ];
    for (name, label, all) in values {
        if !wrong.contains(&name) && all.iter().any(|value| scrape.get(name, &[(label, value)]).is_none()) {
            wrong.push(name);
        }
    }
    if wrong.is_empty() {
        return Finding::ok("stats_tags", url, "every metric of the filter has its labels");
    }
    Finding::of(
        Level::Error,
        "stats_tags",
        url,
        format!("these metrics are missing or have no labels: {}", wrong.join(", ")),
        "add stats_tags as marked [PERCH 2] in envoy/envoy.yaml.j2; if all metrics are missing, load the filter",
    )
}

/// Checks that few observations are dropped.
fn check_observations(Gateway { url, scrape, .. }: Gateway<'_>) -> Finding {
    let intercepted = scrape.sum(series::INTERCEPTED, &[]);
    let outcomes = scrape.sum(series::OBSERVATION, &[]);
    let dropped: f64 =
        Outcome::DROPPED.iter().map(|outcome| scrape.sum(series::OBSERVATION, &[("outcome", outcome.as_str())])).sum();
    if dropped > 0.01 * intercepted.max(1.0) {
        return Finding::of(
            Level::Warn,
            "observations",
            url,
            format!("{dropped} of {intercepted} requests were not observed: a buffer was full, or a body was too long"),
            "raise `limits` in the filter's configuration, or give the scorer more threads",
        );
    }
    Finding::ok(
        "observations",
        url,
        format!(
            "{intercepted} requests: {outcomes} with an outcome, {} without (in progress, or lost)",
            (intercepted - outcomes).max(0.0)
        ),
    )
}

/// Checks that the scorer accepts the filter's batches.
fn check_batches(Gateway { url, scrape, .. }: Gateway<'_>) -> Finding {
    let of = |result: &str| scrape.sum(series::BATCH, &[("result", result)]);
    let (succeeded, failed) = (of("answered"), of("failed") + of("mismatched"));
    if failed > 0.0 && failed >= succeeded {
        return Finding::of(
            Level::Error,
            "batches",
            url,
            format!("{failed} observation batches failed, {succeeded} succeeded"),
            "check that this gateway reaches the scorer, and run filter and scorer of the same release",
        );
    }
    Finding::ok("batches", url, format!("{succeeded} observation batches succeeded, {failed} failed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clients::Scrape;
    use serde_json::json;

    fn plugin(identity: &str) -> String {
        json!({"identity": [{"header": identity}], "salt": "0123456789abcdef"}).to_string()
    }

    fn dump(strip: bool, admin: &str, layers: &Value) -> Value {
        let early = json!([{"typed_config": {"mutations": [{"remove_on_match": {"key_matcher": {"safe_regex": {"regex": "(?i)x[-_]perch[-_].*"}}}}]}}]);
        json!({"configs": [
            {"bootstrap": {
                "admin": {"address": {"socket_address": {"address": admin, "port_value": 9901}}},
                "layered_runtime": {"layers": layers},
            }},
            {"listener": {"per_connection_buffer_limit_bytes": 2_097_152, "filter_chains": [{
                "http_filters": [{"configuration": {"value": plugin("x-account")}}],
                "early_header_mutation_extensions": if strip { early } else { json!([]) }}]}},
            {"clusters": [{"name": "rules", "load_assignment": {}}, {"name": "perch_admin", "load_assignment": {}}]},
        ]})
    }

    fn good_layers() -> Value {
        json!([{"static_layer": {}}, {"disk_layer": {}}, {"admin_layer": {}}])
    }

    fn runtime(layers: [&str; 3]) -> Value {
        let last = layers.iter().rev().find(|value| !value.is_empty()).unwrap();
        json!({"layers": ["start", "disk", "admin"],
               "entries": {RUNTIME_KEY: {"final_value": last, "layer_values": layers}}})
    }

    fn exposition() -> String {
        let mut text = String::new();
        for series in series::GATEWAY {
            let labels: Vec<String> = series.labels.iter().map(|label| format!("{label}=\"x\"")).collect();
            text += &format!("{}{{{}}} 0\n", series.name, labels.join(","));
        }
        for value in Agree::ALL {
            text += &format!("{}{{agree=\"{}\"}} 1\n", series::COMPARE, value.as_str());
        }
        for value in names::Source::ALL {
            text += &format!("{}{{source=\"{}\"}} 1\n", series::SOURCE, value.as_str());
        }
        for value in Outcome::ALL {
            text += &format!("{}{{outcome=\"{}\"}} 0\n", series::OBSERVATION, value.as_str());
        }
        text + &format!("{}{{source=\"header\"}} 95\n{}{{source=\"none\"}} 5\n", series::IDENTITY, series::IDENTITY)
    }

    fn findings(dump: &Value, runtime: &Value, text: &str) -> Vec<Finding> {
        check(Gateway { url: "http://g", dump, runtime, scrape: &Scrape::parse(text) })
    }

    fn of<'a>(findings: &'a [Finding], check: &str) -> &'a Finding {
        findings.iter().find(|finding| finding.check == check).unwrap()
    }

    #[test]
    fn a_sound_gateway_has_nothing_to_fix() {
        let findings = findings(&dump(true, "127.0.0.1", &good_layers()), &runtime(["0", "10", "10"]), &exposition());
        assert!(findings.iter().all(|finding| finding.level == Level::Ok), "{findings:#?}");
        assert!(!format!("{findings:?}").contains("0123456789abcdef"), "the salt is a secret");
    }

    #[test]
    fn each_fault_is_found_and_has_its_fix() {
        let (good, even) = (dump(true, "127.0.0.1", &good_layers()), runtime(["0", "10", "10"]));
        let text = exposition();
        let with = |from: &str, to: &str| serde_json::from_str::<Value>(&good.to_string().replace(from, to)).unwrap();
        let (small, without_admin) = (with("2097152", "1048576"), with("perch_admin", "another"));
        let no_tags = text.replace("{agree=", "_agree{x=");
        let strangers = text.clone() + "perch_identity_total{source=\"none\"} 900\n";
        let failing = text.clone() + "perch_batch_total{result=\"failed\"} 9\n";
        let dropping =
            text.clone() + "perch_intercepted_total 100\nperch_observation_total{outcome=\"dropped_body_limit\"} 9\n";
        let cases = [
            ("headers", Level::Error, dump(false, "127.0.0.1", &good_layers()), even.clone(), text.clone()),
            ("filter", Level::Error, json!({"configs": []}), even.clone(), text.clone()),
            ("buffers", Level::Warn, small, even.clone(), text.clone()),
            ("share source", Level::Error, without_admin, even.clone(), text.clone()),
            (ADMIN_ADDRESS, Level::Error, dump(true, "0.0.0.0", &good_layers()), even.clone(), text.clone()),
            ("layers", Level::Error, dump(true, "127.0.0.1", &json!([{"disk_layer": {}}])), even.clone(), text.clone()),
            ("layers", Level::Warn, dump(true, "::1", &json!([{"admin_layer": {}}])), even.clone(), text.clone()),
            ("share", Level::Warn, good.clone(), runtime(["0", "10", "20"]), text.clone()),
            ("share", Level::Error, good.clone(), runtime(["0", "", "plenty"]), text.clone()),
            ("stats_tags", Level::Error, good.clone(), even.clone(), no_tags),
            ("identity", Level::Warn, good.clone(), even.clone(), strangers),
            ("batches", Level::Error, good.clone(), even.clone(), failing),
            ("observations", Level::Warn, good.clone(), even.clone(), dropping),
            ("filter", Level::Error, good.clone(), even.clone(), String::new()),
            ("filter", Level::Warn, good.clone(), even.clone(), text.clone() + "perch_filter_failures_total 1\n"),
            ("filter", Level::Warn, good, even, text + "envoy_wasm_perch_vm_reload_success 1\n"),
        ];
        for (check, level, dump, runtime, text) in cases {
            let findings = findings(&dump, &runtime, &text);
            let finding = of(&findings, check);
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(!finding.fix.is_empty(), "{finding:?}");
        }
    }

    #[test]
    fn a_gateway_without_the_filter_is_a_fault_of_the_filter_and_not_of_its_headers() {
        let findings = findings(&json!({"configs": []}), &runtime(["0", "10", "10"]), &exposition());
        let (filter, headers) = (of(&findings, "filter"), of(&findings, "headers"));
        assert_eq!((filter.level, filter.found.as_str()), (Level::Error, "no listener has Perch's filter"));
        assert_eq!(headers.level, Level::Unknown, "{headers:?}");
    }

    #[test]
    fn without_the_admin_cluster_only_the_native_module_still_reads_whole_percentages() {
        let mut dump = dump(true, "127.0.0.1", &good_layers());
        dump["configs"][2] = json!({"clusters": []});
        let source = |dump: &Value| {
            let findings = findings(dump, &runtime(["0", "10", "10"]), &exposition());
            of(&findings, "share source").found.clone()
        };
        assert!(source(&dump).ends_with("does not exist: every user gets the baseline"), "{}", source(&dump));
        dump["configs"][1]["listener"]["filter_chains"][0]["http_filters"][0]["filter_name"] = json!(names::FILTER);
        let found = source(&dump);
        assert!(found.ends_with("while a share in the runtime is absent or not a whole percentage"), "{found}");
    }

    #[test]
    fn requests_without_an_outcome_are_never_negative() {
        let (good, even) = (dump(true, "127.0.0.1", &good_layers()), runtime(["0", "10", "10"]));
        for (intercepted, without) in [(9, "4 without (in progress, or lost)"), (3, "0 without")] {
            let counts =
                format!("perch_intercepted_total {intercepted}\nperch_observation_total{{outcome=\"observed\"}} 5\n");
            let findings = findings(&good, &even, &(exposition() + &counts));
            let found = &of(&findings, "observations").found;
            assert!(found.contains("5 with an outcome") && found.contains(without), "{found}");
        }
    }

    #[test]
    fn too_few_requests_to_judge_the_identity_are_counted() {
        let text = exposition().replace("{source=\"header\"} 95", "{source=\"header\"} 7");
        let findings = findings(&dump(true, "127.0.0.1", &good_layers()), &runtime(["0", "10", "10"]), &text);
        let identity = of(&findings, "identity");
        assert_eq!(identity.level, Level::Unknown);
        assert_eq!(identity.found, "the filter has seen 12 requests; 20 are needed to judge");
    }

    #[test]
    fn the_demos_identity_header_is_pointed_at() {
        let text = dump(true, "127.0.0.1", &good_layers()).to_string().replace("x-account", "x-user-id");
        let findings = findings(&serde_json::from_str(&text).unwrap(), &runtime(["0", "0", "0"]), &exposition());
        assert_eq!(of(&findings, "identity header").level, Level::Warn);
    }
}
