//! Models come, go and are refused; who answers is whole throughout.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::model::Rows;
use crate::model::small_model::{SWAPPED, Schema, Version, alias, edit_manifest, sha256};

const WIDTH: usize = 6;

fn schema() -> Schema {
    Schema(1, "abc".into(), WIDTH)
}

fn wanted() -> FeatureSchema {
    FeatureSchema { version: 1, hash: "abc".into(), width: WIDTH }
}

fn registry(root: &Path) -> Registry {
    Registry::new(Folder::new(root), wanted(), Arc::new(Metrics::new().unwrap()))
}

fn serving(registry: &Registry) -> Option<String> {
    registry.champion().map(|champion| champion.version().to_owned())
}

/// A registry with "v1" as its champion, loaded.
fn with_champion() -> (tempfile::TempDir, Registry) {
    let root = tempfile::tempdir().unwrap();
    Version::new("v1", &schema()).write(root.path());
    alias(root.path(), "champion", "v1");
    let registry = registry(root.path());
    registry.reload();
    assert_eq!(serving(&registry).as_deref(), Some("v1"), "{:?}", registry.refused());
    (root, registry)
}

#[test]
fn an_empty_registry_has_no_model_and_refuses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let registry = registry(root.path());
    registry.reload();
    assert_eq!(serving(&registry), None);
    assert!(registry.refused().is_empty());
}

/// What may be wrong with a version, and the reason by which it is refused.
type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 9] = [
    ("hash", |folder| {
        let whole = fs::read(folder.join("model.onnx")).unwrap();
        fs::write(folder.join("model.onnx"), &whole[..whole.len() / 2]).unwrap();
    }),
    ("hash", |folder| fs::write(folder.join("reference.json"), "{}").unwrap()),
    ("missing", |folder| fs::remove_file(folder.join("model.onnx")).unwrap()),
    ("manifest", |folder| fs::write(folder.join("manifest.json"), "{").unwrap()),
    ("manifest", |folder| edit_manifest(folder, |manifest| manifest["version"] = "v9".into())),
    ("schema", |folder| edit_manifest(folder, |manifest| manifest["feature_schema"]["hash"] = "other".into())),
    ("graph", |folder| {
        // Its hash is right, but it is no graph.
        fs::write(folder.join("model.onnx"), "not a graph").unwrap();
        edit_manifest(folder, |manifest| manifest["model_sha256"] = sha256(b"not a graph").into());
    }),
    ("reference", |folder| {
        let path = folder.join("reference.json");
        let mut reference: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let seen = reference["probabilities"][3][0].as_f64().unwrap();
        reference["probabilities"][3][0] = (seen + 2e-5).into();
        fs::write(&path, reference.to_string()).unwrap();
        edit_manifest(folder, |manifest| {
            manifest["reference_sha256"] = sha256(reference.to_string().as_bytes()).into();
        });
    }),
    ("reference", |folder| {
        edit_manifest(folder, |manifest| manifest["classes"] = serde_json::json!(["a", "b"]));
    }),
];

#[test]
fn a_damaged_version_is_refused_with_its_reason_and_the_champion_goes_on() {
    for (reason, damage) in DAMAGES {
        let (root, registry) = with_champion();
        damage(&Version::new("v2", &schema()).write(root.path()));
        alias(root.path(), "champion", "v2");
        assert!(registry.reload_if_moved());
        assert_eq!(serving(&registry).as_deref(), Some("v1"));
        let refused = registry.refused();
        assert_eq!((refused[0].version.as_str(), refused[0].reason), ("v2", reason), "{}", refused[0].message);
        assert_eq!(registry.metrics.model_refusals.with_label_values(&[reason]).get(), 1);

        let error = registry.deploy("v2", false).unwrap_err();
        assert!(matches!(&error, ChangeError::Refused { refusal, .. } if refusal.reason() == reason), "{error}");

        alias(root.path(), "champion", "v1");
        registry.reload();
        assert!(registry.refused().is_empty(), "what is mended is not reported any more");
    }
}

#[test]
fn a_version_that_changed_under_its_name_is_refused() {
    let (root, registry) = with_champion();
    Version { classes: SWAPPED, ..Version::new("v1", &schema()) }.write(root.path());
    registry.reload();
    assert_eq!(registry.refused()[0].reason, "changed");
    assert_eq!(registry.champion().unwrap().manifest.classes[0], "coffee");
}

#[test]
fn a_registry_that_vanishes_takes_no_champion_away() {
    let (root, registry) = with_champion();
    fs::remove_file(root.path().join("champion")).unwrap();
    registry.reload();
    assert_eq!(serving(&registry).as_deref(), Some("v1"));
}

#[test]
fn deploying_and_going_back_move_the_aliases() {
    let (root, registry) = with_champion();
    let folder = Folder::new(root.path());
    for name in ["v2", "v3"] {
        Version::new(name, &schema()).write(root.path());
    }
    registry.challenge(Some("v2")).unwrap();
    assert_eq!(registry.challenger().unwrap().version(), "v2");

    let changed = registry.deploy("v2", false).unwrap();
    assert_eq!((changed.champion.as_str(), changed.previous.as_deref()), ("v2", Some("v1")));
    assert!(registry.challenger().is_none(), "it serves now, there is nothing left to judge");
    assert_eq!(folder.alias(Alias::Challenger).unwrap(), None);

    let back = registry.roll_back().unwrap();
    assert_eq!((back.champion.as_str(), back.previous.as_deref()), ("v1", Some("v2")));
    assert_eq!(serving(&registry).as_deref(), Some("v1"));
    assert_eq!(folder.alias(Alias::Champion).unwrap().as_deref(), Some("v1"));
    assert!(!registry.reload_if_moved(), "its own changes are no news");
}

#[test]
fn the_policy_keeps_a_weak_model_from_serving_unless_forced() {
    let (root, registry) = with_champion();
    Version { f1: 0.5, ..Version::new("weak", &schema()) }.write(root.path());
    let error = registry.deploy("weak", false).unwrap_err();
    assert!(matches!(error, ChangeError::Policy { .. }) && error.to_string().contains("0.5000"), "{error}");
    assert_eq!(serving(&registry).as_deref(), Some("v1"));
    assert_eq!(registry.deploy("weak", true).unwrap().champion, "weak");
}

#[test]
fn there_must_be_something_to_go_back_to() {
    let (_root, registry) = with_champion();
    assert!(matches!(registry.roll_back(), Err(ChangeError::NoPrevious)));
    assert_eq!(serving(&registry).as_deref(), Some("v1"));
}

#[test]
fn a_challenger_that_is_the_champion_is_none() {
    let (root, registry) = with_champion();
    alias(root.path(), "challenger", "v1");
    registry.reload();
    assert!(registry.challenger().is_none());
}

#[test]
fn readers_never_see_a_mixture_while_models_are_swapped() {
    let (root, registry) = with_champion();
    Version { classes: SWAPPED, ..Version::new("v2", &schema()) }.write(root.path());
    let registry = Arc::new(registry);
    let done = Arc::new(AtomicBool::new(false));
    let row = [-5.0_f32, 5.0, 0.0, 1.0, 0.0, 0.0];
    let row = Rows::new(1, row.len(), |values| values.copy_from_slice(&row)).unwrap();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (registry, done, row) = (Arc::clone(&registry), Arc::clone(&done), row.clone());
            thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let model = registry.champion().unwrap();
                    let probabilities = model.session.predict(&row).unwrap();
                    let top = (0..3).max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b])).unwrap();
                    let wanted = if model.version() == "v1" { "coffee" } else { "groceries" };
                    assert_eq!(model.manifest.classes[top], wanted);
                }
            })
        })
        .collect();
    for swap in 0..20 {
        registry.deploy(if swap % 2 == 0 { "v2" } else { "v1" }, false).unwrap();
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
}
