//! The champion, the challenger and the registry of the scorer.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Html;
use clients::error_chain;
use clients::scorer::Models;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Chip, PageError};
use crate::{Console, clock};

#[derive(Serialize)]
struct ModelPage {
    error: Option<String>,
    models: [Model; 2],
    versions: Vec<Version>,
    refused: Vec<Refused>,
}

#[derive(Serialize)]
struct Model {
    alias: &'static str,
    title: &'static str,
    chip: Chip,
    /// Name, text, and whether the text is code.
    facts: Vec<(&'static str, String, bool)>,
    none: &'static str,
}

#[derive(Serialize)]
struct Version {
    name: String,
    roles: Vec<&'static str>,
}

#[derive(Serialize)]
struct Refused {
    alias: String,
    version: String,
    message: String,
}

pub(crate) async fn show(State(console): State<Console>, headers: HeaderMap) -> Result<Html<String>, PageError> {
    let found = match &console.0.scorer {
        Some(scorer) => scorer.models().await.map_err(|error| error_chain(&error)),
        None => Err("this guard was started without a scorer".to_owned()),
    };
    let (models, error) = match found {
        Ok(models) => (Some(models), None),
        Err(reason) => (None, Some(format!("No data: {reason}."))),
    };
    console.page(&headers, "model.html", "Model", view(models, error))
}

fn view(models: Option<Models>, error: Option<String>) -> ModelPage {
    let known = models.is_some();
    let models = models.unwrap_or_default();
    let version = |meta: &Option<Map<String, Value>>| {
        meta.as_ref().and_then(|meta| meta.get("version")).and_then(Value::as_str).map(str::to_owned)
    };
    let (champion, challenger) = (version(&models.meta), version(&models.challenger));
    let roles = |name: &str| {
        let all = [(&champion, "champion"), (&challenger, "challenger"), (&models.previous, "previous")];
        all.into_iter().filter(|(is, _)| is.as_deref() == Some(name)).map(|(_, role)| role).collect()
    };
    let mut versions: Vec<Version> =
        models.versions.iter().map(|name| Version { name: name.clone(), roles: roles(name) }).collect();
    // A version's name begins with its date.
    versions.sort_by(|a, b| b.name.cmp(&a.name));
    let champion_chip = match (&models.meta, known) {
        (Some(_), _) => Chip::new("good", "serving"),
        (None, true) => Chip::new("bad", "none"),
        (None, false) => Chip::new("", "no data"),
    };
    let challenger_chip = match (&models.challenger, known) {
        (Some(_), _) => Chip::new("", "being evaluated"),
        (None, true) => Chip::new("", "none"),
        (None, false) => Chip::new("", "no data"),
    };
    let none = |text| if known { text } else { "No data." };
    ModelPage {
        error,
        models: [
            Model {
                alias: "champion",
                title: "Champion",
                chip: champion_chip,
                facts: facts(models.meta.as_ref()),
                none: none("No model is serving: every user gets the baseline."),
            },
            Model {
                alias: "challenger",
                title: "Challenger",
                chip: challenger_chip,
                facts: facts(models.challenger.as_ref()),
                none: none("No model is evaluated beside the champion."),
            },
        ],
        versions,
        refused: models
            .refused
            .into_iter()
            .map(|of| Refused { alias: of.alias, version: of.version, message: of.message })
            .collect(),
    }
}

/// The facts of a manifest that are shown; missing ones are left out.
fn facts(meta: Option<&Map<String, Value>>) -> Vec<(&'static str, String, bool)> {
    let Some(meta) = meta else { return Vec::new() };
    let at = |path: &[&str]| {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(meta.get(*first)?, |value, key| value.get(*key))
    };
    let text = |path: &[&str]| at(path).and_then(Value::as_str).map(str::to_owned);
    let number = |path: &[&str], digits: usize| at(path).and_then(Value::as_f64).map(|of| format!("{of:.digits$}"));
    let day = |path: &[&str]| text(path).map(|text| text.get(..10).unwrap_or(&text).to_owned());
    let span = |part: &str| {
        let days = day(&["data_span", part, "from"]).zip(day(&["data_span", part, "to"]));
        days.map(|(from, to)| format!("{from} to {to}"))
    };
    let loaded = at(&["loaded_at"]).and_then(Value::as_u64).map(|seconds| clock::stamp(seconds.saturating_mul(1_000)));
    let all = [
        ("Version", text(&["version"]), true),
        ("Trained", text(&["created"]).map(|text| text.replace('T', " ").replace("+00:00", "")), false),
        ("Loaded", loaded, false),
        ("Macro F1", number(&["val_f1_macro"], 3), false),
        ("Baseline’s macro F1", number(&["metrics", "rules_f1_macro"], 3), false),
        ("Accuracy", number(&["metrics", "val_accuracy"], 3), false),
        ("Calibration error", number(&["metrics", "calibration_error"], 4), false),
        ("Classes", number(&["class_count"], 0), false),
        ("Trained on", span("train"), false),
        ("Validated on", span("validate"), false),
        ("SHA-256", text(&["model_sha256"]).map(|hash| hash.get(..16).unwrap_or(&hash).to_owned() + "…"), true),
    ];
    all.into_iter().filter_map(|(name, text, code)| Some((name, text?, code))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn known_facts_are_shown_and_missing_ones_are_left_out() {
        let models: Models = serde_json::from_value(json!({
            "available": true,
            "meta": {"version": "v2", "val_f1_macro": 0.9315, "data_span": {"train": {"from": "2026-05-05T00:06:36+00:00", "to": "2026-09-08T05:01:37+00:00"}}},
            "challenger": null, "previous": "v1", "versions": ["v1", "v2"], "refused": [],
        }))
        .unwrap();
        let shown = view(Some(models), None);
        let facts: Vec<_> = shown.models[0].facts.iter().map(|(name, text, _)| (*name, text.as_str())).collect();
        assert_eq!(facts, [("Version", "v2"), ("Macro F1", "0.931"), ("Trained on", "2026-05-05 to 2026-09-08")]);
        let roles: Vec<_> =
            shown.versions.iter().map(|version| (version.name.as_str(), version.roles.clone())).collect();
        assert_eq!(roles, [("v2", vec!["champion"]), ("v1", vec!["previous"])]);
    }

    #[test]
    fn no_response_is_not_no_model() {
        assert_eq!(view(None, Some("down".into())).models[0].chip.text, "no data");
        assert_eq!(view(Some(Models::default()), None).models[0].chip.text, "none");
    }
}
