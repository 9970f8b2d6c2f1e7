//! Models come, go and are refused; who answers is whole throughout.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::small_model::{SWAPPED, Schema, Version, alias, edit_manifest, sha256};
use crate::{Client, Lock, Rows};

const WIDTH: usize = 6;

fn schema() -> Schema {
    Schema(1, "abc".into(), WIDTH)
}

fn wanted() -> Arc<scorer_features::Schema> {
    Arc::new(scorer_features::Schema { version: 1, hash: "abc".into(), width: WIDTH, ..Default::default() })
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
    registry.reload(&Caller::without_client()).unwrap();
    assert_eq!(serving(&registry).as_deref(), Some("v1"), "{:?}", registry.refused());
    (root, registry)
}

#[test]
fn an_empty_registry_has_no_model_and_refuses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let registry = registry(root.path());
    registry.reload(&Caller::without_client()).unwrap();
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
        assert!(scorer_metrics::REFUSALS.contains(&reason), "{reason}");
        let (root, registry) = with_champion();
        damage(&Version::new("v2", &schema()).write(root.path()));
        alias(root.path(), "champion", "v2");
        assert!(registry.reload_if_moved());
        assert_eq!(serving(&registry).as_deref(), Some("v1"));
        let refused = registry.refused();
        assert_eq!((refused[0].version.as_str(), refused[0].reason), ("v2", reason), "{}", refused[0].message);
        assert_eq!(registry.metrics.model_refusals.with_label_values(&[reason]).get(), 1);

        let error = registry.deploy("v2", false, &Caller::without_client()).unwrap_err();
        assert!(matches!(&error, ChangeError::Refused { refusal, .. } if refusal.reason() == reason), "{error}");

        alias(root.path(), "champion", "v1");
        registry.reload(&Caller::without_client()).unwrap();
        assert!(registry.refused().is_empty(), "a repaired version is not reported any more");
    }
}

#[test]
fn a_broken_reference_file_is_not_blamed_on_the_graph() {
    for (content, error) in [("{", "cannot be read"), (r#"{"rows":[],"probabilities":[]}"#, "needs at least one row")] {
        let (root, registry) = with_champion();
        let folder = Version::new("v2", &schema()).write(root.path());
        fs::write(folder.join("reference.json"), content).unwrap();
        edit_manifest(&folder, |manifest| manifest["reference_sha256"] = sha256(content.as_bytes()).into());
        alias(root.path(), "champion", "v2");
        assert!(registry.reload_if_moved());
        let refused = registry.refused();
        let message = &refused[0].message;
        assert_eq!(refused[0].reason, "reference");
        assert!(
            message.contains(error) && message.ends_with(": train again") && !message.contains("graph"),
            "{message}"
        );
    }
}

#[test]
fn a_version_that_changed_under_its_name_is_refused() {
    let (root, registry) = with_champion();
    Version { classes: SWAPPED, ..Version::new("v1", &schema()) }.write(root.path());
    registry.reload(&Caller::without_client()).unwrap();
    assert_eq!(registry.refused()[0].reason, "changed");
    assert_eq!(registry.champion().unwrap().manifest.classes[0], "coffee");
}

#[test]
fn a_registry_that_vanishes_takes_no_champion_away() {
    let (root, registry) = with_champion();
    fs::remove_file(root.path().join("champion")).unwrap();
    registry.reload(&Caller::without_client()).unwrap();
    assert_eq!(serving(&registry).as_deref(), Some("v1"));
}

#[test]
fn deploying_and_going_back_move_the_aliases() {
    let (root, registry) = with_champion();
    let folder = Folder::new(root.path());
    for name in ["v2", "v3"] {
        Version::new(name, &schema()).write(root.path());
    }
    registry.challenge(Some("v2"), &Caller::without_client()).unwrap();
    assert_eq!(registry.challenger().unwrap().version(), "v2");

    let changed = registry.deploy("v2", false, &Caller::without_client()).unwrap();
    assert_eq!((changed.champion.as_str(), changed.previous.as_deref()), ("v2", Some("v1")));
    assert!(registry.challenger().is_none(), "it serves now, there is nothing left to judge");
    assert_eq!(folder.alias(Alias::Challenger).unwrap(), None);

    let back = registry.roll_back(&Caller::without_client()).unwrap();
    assert_eq!((back.champion.as_str(), back.previous.as_deref()), ("v1", Some("v2")));
    assert_eq!(serving(&registry).as_deref(), Some("v1"));
    assert_eq!(folder.alias(Alias::Champion).unwrap().as_deref(), Some("v1"));
    assert!(!registry.reload_if_moved(), "its own changes are no news");
}

#[test]
fn the_policy_keeps_a_weak_model_from_serving_unless_forced() {
    let (root, registry) = with_champion();
    Version { f1: 0.5, ..Version::new("weak", &schema()) }.write(root.path());
    let error = registry.deploy("weak", false, &Caller::without_client()).unwrap_err();
    assert!(matches!(error, ChangeError::Policy { .. }) && error.to_string().contains("0.5000"), "{error}");
    assert_eq!(serving(&registry).as_deref(), Some("v1"));
    assert_eq!(registry.deploy("weak", true, &Caller::without_client()).unwrap().champion, "weak");
}

#[test]
fn there_must_be_something_to_go_back_to() {
    let (_root, registry) = with_champion();
    assert!(matches!(registry.roll_back(&Caller::without_client()), Err(ChangeError::NoPrevious)));
    assert_eq!(serving(&registry).as_deref(), Some("v1"));
}

#[test]
fn a_challenger_that_is_the_champion_is_none() {
    let (root, registry) = with_champion();
    alias(root.path(), "challenger", "v1");
    registry.reload(&Caller::without_client()).unwrap();
    assert!(registry.challenger().is_none());
}

/// The aliases are read, the load takes its time, and meanwhile one is moved back.
#[test]
fn an_alias_that_moves_twice_during_a_load_is_followed_case_a4() {
    let (root, registry) = with_champion();
    Version::new("v2", &schema()).write(root.path());
    alias(root.path(), "champion", "v2");
    let names = registry.names();
    alias(root.path(), "champion", "v1");
    registry.load_aliases(
        &mut registry.changing(&Caller::without_client()).unwrap(),
        names,
        Load::News,
        Instant::now(),
    );
    assert_eq!(serving(&registry).as_deref(), Some("v2"), "what was read was loaded");
    assert!(registry.reload_if_moved());
    assert_eq!(serving(&registry).as_deref(), Some("v1"));
    assert!(!registry.reload_if_moved());
}

#[test]
fn an_alias_that_moves_after_a_deployment_is_followed_case_a4() {
    let (root, registry) = with_champion();
    Version::new("v2", &schema()).write(root.path());
    registry.deploy("v2", false, &Caller::without_client()).unwrap();
    alias(root.path(), "champion", "v1");
    assert!(registry.reload_if_moved());
    assert_eq!(serving(&registry).as_deref(), Some("v1"));
}

/// At a start and with a champion, as the alias may be copied before its version.
#[test]
fn a_version_whose_copy_is_still_under_way_is_taken_when_it_is_whole_case_a5() {
    let whole = tempfile::tempdir().unwrap();
    let from = Version::new("v2", &schema()).write(whole.path());
    for champion in [None, Some("v1")] {
        let root = tempfile::tempdir().unwrap();
        let registry = registry(root.path());
        if let Some(v1) = champion {
            Version::new(v1, &schema()).write(root.path());
            alias(root.path(), "champion", v1);
            registry.reload(&Caller::without_client()).unwrap();
        }
        alias(root.path(), "champion", "v2");
        let mut reasons = Vec::new();
        fs::create_dir(root.path().join("v2")).unwrap();
        for (step, file) in ["", "manifest.json", "model.onnx", "reference.json"].into_iter().enumerate() {
            if let Ok(bytes) = fs::read(from.join(file)) {
                // Half of it is there at one check, all of it at the next.
                fs::write(root.path().join("v2").join(file), &bytes[..bytes.len() / 2]).unwrap();
                assert!(registry.reload_if_moved(), "{file}");
                fs::write(root.path().join("v2").join(file), &bytes).unwrap();
            }
            assert!(registry.reload_if_moved(), "step {step}");
            reasons.extend(registry.refused().first().map(|refused| refused.reason));
            assert_eq!(serving(&registry).as_deref(), if step == 3 { Some("v2") } else { champion });
        }
        assert_eq!(reasons, ["missing"; 3]);
        assert!(registry.refused().is_empty() && !registry.reload_if_moved());
    }
}

#[test]
fn what_is_refused_for_good_is_tried_once_and_counted_once_case_a10() {
    let (root, registry) = with_champion();
    let folder = Version::new("v2", &schema()).write(root.path());
    fs::write(folder.join("model.onnx"), "not a graph").unwrap();
    edit_manifest(&folder, |manifest| manifest["model_sha256"] = sha256(b"not a graph").into());
    alias(root.path(), "champion", "v2");
    assert!(registry.reload_if_moved());
    let first = registry.refused();
    assert!(!registry.check_aliases(Instant::now() + std::time::Duration::from_secs(86_400)), "not again by itself");
    registry.reload(&Caller::without_client()).unwrap();
    assert_eq!(registry.refused(), first);
    assert_eq!(registry.metrics.model_refusals.with_label_values(&["graph"]).get(), 1);
    // Other files are a reason to try again, and what serves then is not reported any more.
    Version::new("v2", &schema()).write(root.path());
    assert!(registry.reload_if_moved());
    assert!(registry.refused().is_empty());
}

#[test]
fn a_file_that_could_not_be_read_for_a_moment_is_read_again_case_a5() {
    let (root, registry) = with_champion();
    let folder = Version::new("v2", &schema()).write(root.path());
    // Neither length nor time of any file tells that it can be read again.
    fs::rename(folder.join("model.onnx"), root.path().join("kept")).unwrap();
    alias(root.path(), "champion", "v2");
    assert!(registry.reload_if_moved());
    let mut seen = registry.changing(&Caller::without_client()).unwrap();
    let whole = fs::rename(root.path().join("kept"), folder.join("model.onnx"));
    whole.unwrap();
    let now = Instant::now();
    let stamps = vec![("v2".to_owned(), registry.stamp("v2").unwrap())];
    seen.retry.plan(now, &registry.refused(), stamps, false);
    drop(seen);
    assert!(!registry.check_aliases(now));
    assert!(registry.check_aliases(now + std::time::Duration::from_secs(2)));
    assert_eq!(serving(&registry).as_deref(), Some("v2"));
}

#[test]
fn while_something_holds_the_lock_changes_end_and_aliases_are_followed_case_a11() {
    let (root, registry) = with_champion();
    Version::new("v2", &schema()).write(root.path());
    let held = Lock::take(registry.folder().root(), &Caller::without_client()).unwrap();
    let hasty = Caller::without_client().waiting(std::time::Duration::from_millis(1));
    for error in [
        registry.deploy("v2", false, &hasty).unwrap_err(),
        registry.roll_back(&hasty).unwrap_err(),
        registry.challenge(Some("v2"), &hasty).unwrap_err(),
    ] {
        assert!(matches!(error, ChangeError::Lock(LockError::Held { .. })), "{error}");
    }
    alias(root.path(), "champion", "v2");
    assert!(registry.reload_if_moved());
    assert_eq!(serving(&registry).as_deref(), Some("v2"));
    alias(root.path(), "champion", "v1");
    drop(held);
    assert!(registry.reload_if_moved());
    assert_eq!(serving(&registry).as_deref(), Some("v1"), "what was reported as failed does not come true");
}

#[test]
fn a_change_whose_client_went_away_does_not_happen_case_a11() {
    let (root, registry) = with_champion();
    Version::new("v2", &schema()).write(root.path());
    let (client, caller) = Client::new();
    drop(client);
    let error = registry.deploy("v2", false, &caller).unwrap_err();
    assert!(matches!(error, ChangeError::Lock(LockError::Abandoned)), "{error}");
    assert_eq!(registry.folder().alias(Alias::Champion).unwrap().as_deref(), Some("v1"));
}

#[test]
fn a_repeated_rollback_does_not_bring_the_bad_model_back_case_b6() {
    let (root, registry) = with_champion();
    let other = self::registry(root.path());
    for name in ["v2", "v3"] {
        Version::new(name, &schema()).write(root.path());
    }
    registry.deploy("v2", false, &Caller::without_client()).unwrap();
    let back = registry.roll_back(&Caller::without_client()).unwrap();
    // Repeated, by this scorer and by another one, it finds its work done.
    for again in [&registry, &registry, &other] {
        assert_eq!(again.roll_back(&Caller::without_client()).unwrap(), back);
        assert_eq!(serving(again).as_deref(), Some("v1"));
    }
    // A later deployment can be taken back, also that of the version that was taken away.
    for (next, before) in [("v3", "v1"), ("v2", "v1"), ("v1", "v1")] {
        registry.deploy(next, false, &Caller::without_client()).unwrap();
        if next != before {
            assert_eq!(registry.roll_back(&Caller::without_client()).unwrap().champion, before);
        }
    }
    assert_eq!(registry.roll_back(&Caller::without_client()).unwrap().champion, "v2", "v1 was deployed by name");
}

#[test]
fn what_fails_after_the_alias_was_moved_does_not_make_a_failure_of_a_deployment() {
    let (root, registry) = with_champion();
    Version::new("v2", &schema()).write(root.path());
    // An alias that cannot be read, so that neither it nor the old versions can be tidied up.
    fs::create_dir(root.path().join("challenger")).unwrap();
    let changed = registry.deploy("v2", false, &Caller::without_client()).unwrap();
    assert_eq!((changed.champion.as_str(), serving(&registry).as_deref()), ("v2", Some("v2")));
}

#[test]
fn a_previous_version_that_is_gone_leaves_the_champion_and_is_named() {
    let (root, registry) = with_champion();
    Version::new("v2", &schema()).write(root.path());
    registry.deploy("v2", false, &Caller::without_client()).unwrap();
    fs::remove_dir_all(root.path().join("v1")).unwrap();
    let error = registry.roll_back(&Caller::without_client()).unwrap_err();
    assert!(
        matches!(&error, ChangeError::Refused { version, refusal } if version == "v1" && refusal.reason() == "missing")
    );
    assert_eq!(serving(&registry).as_deref(), Some("v2"));
    assert_eq!(registry.folder().alias(Alias::Champion).unwrap().as_deref(), Some("v2"));
    assert_eq!(registry.folder().rolled_back_to().unwrap(), None);
}

#[test]
fn an_alias_that_cannot_be_read_is_refused_and_followed_once_it_can() {
    for damage in [
        (|path| fs::create_dir(path).unwrap()) as fn(&Path),
        |path| fs::write(path, [0xff, 0xfe, 0x00]).unwrap(),
        |path| fs::write(path, "v1\n".repeat(1_000_000)).unwrap(),
    ] {
        let (root, registry) = with_champion();
        fs::remove_file(root.path().join("champion")).unwrap();
        damage(&root.path().join("champion"));
        assert!(registry.reload_if_moved());
        let refused = registry.refused();
        assert_eq!((refused.len(), refused[0].alias, refused[0].reason), (1, Alias::Champion, "missing"));
        assert!(refused[0].message.len() < 500, "{}", refused[0].message.len());
        assert_eq!(serving(&registry).as_deref(), Some("v1"));
        let _ = fs::remove_dir(root.path().join("champion"));
        Version::new("v2", &schema()).write(root.path());
        alias(root.path(), "champion", "v2");
        assert!(registry.reload_if_moved());
        assert_eq!((serving(&registry).as_deref(), registry.refused().len()), (Some("v2"), 0));
    }
}

#[test]
fn a_manifest_with_nan_says_where_it_is_not_json() {
    let (root, registry) = with_champion();
    let folder = Version::new("v2", &schema()).write(root.path());
    let text = fs::read_to_string(folder.join("manifest.json")).unwrap();
    fs::write(folder.join("manifest.json"), text.replace("0.8", "NaN")).unwrap();
    let error = registry.deploy("v2", true, &Caller::without_client()).unwrap_err().to_string();
    assert!(error.contains("manifest.json cannot be read") && error.contains("column"), "{error}");
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
        registry.deploy(if swap % 2 == 0 { "v2" } else { "v1" }, false, &Caller::without_client()).unwrap();
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
}
