//! Checks of a gateway with the native module.

use contract::names::{FILTER, NATIVE_ACCESS_LOGGER};
use serde_json::Value;

use super::config_dump::{Gateway, all, bootstrap};
use super::{Finding, Level};

/// Returns `true` if the native module's filter is somewhere in `configuration`.
pub(super) fn has_filter(configuration: &Value) -> bool {
    names(configuration, "filter_name", FILTER)
}

fn names(configuration: &Value, field: &str, name: &str) -> bool {
    all(configuration).iter().any(|fields| fields.get(field).is_some_and(|value| value == name))
}

/// Checks that the admin interface's access log notifies the module of a new share; `None` where another module runs.
pub(super) fn check_share_notification(Gateway { url, dump, .. }: Gateway<'_>) -> Option<Finding> {
    let admin = has_filter(dump).then(|| bootstrap(dump)?.get("admin"))??;
    Some(if names(admin, "logger_name", NATIVE_ACCESS_LOGGER) {
        Finding::ok("share notification", url, "the native filter applies a changed share from the next request on")
    } else {
        Finding::of(
            Level::Warn,
            "share notification",
            url,
            "the native filter learns of a changed share only when it next reads the runtime, after two seconds at the \
             latest",
            "add access_log to `admin` as marked [PERCH 7] in envoy/envoy.yaml.j2",
        )
    })
}

#[cfg(test)]
mod tests {
    use clients::Scrape;
    use serde_json::json;

    use super::*;

    fn level_of(filter: &str, logger: &str) -> Option<Level> {
        let admin = json!({"access_log": [{"typed_config": {"logger_name": logger}}]});
        let filters = json!([{"typed_config": {"filter_name": filter}}]);
        let dump = json!({"configs": [{"bootstrap": {"admin": admin}}, {"http_filters": filters}]});
        let (runtime, scrape) = (json!({}), Scrape::parse(""));
        let gateway = Gateway { url: "http://g", dump: &dump, runtime: &runtime, scrape: &scrape };
        check_share_notification(gateway).map(|finding| finding.level)
    }

    #[test]
    fn only_the_native_filter_needs_the_share_notification() {
        assert_eq!(level_of(FILTER, NATIVE_ACCESS_LOGGER), Some(Level::Ok));
        assert_eq!(level_of(FILTER, "another"), Some(Level::Warn));
        assert_eq!(level_of("another", "another"), None);
    }
}
