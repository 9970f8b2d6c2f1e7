//! The models in memory: who serves, who is judged, and what was refused.
//!
//! Readers take the champion by one atomic load and keep it for the whole answer, so that an answer and the version in
//! its header never belong to two models. A new version is loaded and checked beside the old one and then swapped in;
//! what fails a check is refused with a reason and the old one goes on. Changes happen one at a time: within the
//! program behind a mutex, between programs behind the folder's lock.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::folder::{Alias, Folder, Lock};
use super::loaded::Loaded;
use super::manifest::FeatureSchema;
use super::policy::{self, Decision};
use super::refusal::Refusal;
use crate::metrics::{self, Metrics};

/// A model that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The alias that named it.
    pub alias: Alias,
    /// The version.
    pub version: String,
    /// [`Refusal::reason`].
    pub reason: &'static str,
    /// The reason in words.
    pub message: String,
    /// When.
    pub at: SystemTime,
}

/// A change that did not happen. What served goes on.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The model failed its checks.
    #[error("version {version} is refused: {refusal}")]
    Refused {
        /// The version.
        version: String,
        /// Why.
        #[source]
        refusal: Refusal,
    },
    /// The deploy policy says no.
    #[error("version {version} is not deployed: {reason}; force it to deploy it all the same")]
    Policy {
        /// The version.
        version: String,
        /// Why.
        reason: String,
    },
    /// There is nothing to go back to.
    #[error("there is no previous version to go back to: the alias \"previous\" names none")]
    NoPrevious,
    /// The folder cannot be read or written.
    #[error("the registry {folder} cannot be changed: {source}")]
    Folder {
        /// Its path.
        folder: String,
        /// What the system said.
        source: io::Error,
    },
}

/// What a change led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Who serves now.
    pub champion: String,
    /// Where going back would go.
    pub previous: Option<String>,
    /// Versions that were removed, as only the last few are kept.
    pub removed: Vec<String>,
}

/// The registry in memory. Shared behind an `Arc`.
#[derive(Debug)]
pub struct Registry {
    folder: Folder,
    wanted: FeatureSchema,
    metrics: Arc<Metrics>,
    champion: ArcSwapOption<Loaded>,
    challenger: ArcSwapOption<Loaded>,
    refused: ArcSwap<Vec<Refused>>,
    change: Mutex<Seen>,
}

/// What was seen on disk; also the right to change anything.
#[derive(Debug, Default)]
struct Seen {
    /// Aliases at the last look.
    aliases: Vec<Option<String>>,
    /// Content of each version when it was first loaded.
    fingerprints: HashMap<String, String>,
}

impl Registry {
    /// A registry at `folder` for models of the feature schema `wanted`. Nothing is loaded yet: see [`Self::reload`].
    #[must_use]
    pub fn new(folder: Folder, wanted: FeatureSchema, metrics: Arc<Metrics>) -> Self {
        Self {
            folder,
            wanted,
            metrics,
            champion: ArcSwapOption::empty(),
            challenger: ArcSwapOption::empty(),
            refused: ArcSwap::default(),
            change: Mutex::default(),
        }
    }

    /// The model that answers, if there is one. Keep it for the whole answer.
    #[must_use]
    pub fn champion(&self) -> Option<Arc<Loaded>> {
        self.champion.load_full()
    }

    /// The model that is judged, if there is one.
    #[must_use]
    pub fn challenger(&self) -> Option<Arc<Loaded>> {
        self.challenger.load_full()
    }

    /// What is refused at present: at most one per alias.
    #[must_use]
    pub fn refused(&self) -> Arc<Vec<Refused>> {
        self.refused.load_full()
    }

    /// The folder on disk.
    #[must_use]
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Loads what the aliases name, even if the names did not change. What is refused is in [`Self::refused`] then, and
    /// the last good model goes on. Blocks: reads and checks files.
    pub fn reload(&self) {
        let mut seen = self.changing();
        self.load_aliases(&mut seen);
    }

    /// As [`Self::reload`], if an alias changed since the last look. Did one?
    pub fn reload_if_moved(&self) -> bool {
        let mut seen = self.changing();
        if self.aliases() == seen.aliases {
            return false;
        }
        self.load_aliases(&mut seen);
        true
    }

    /// Makes `version` the champion, the champion the previous one, and removes versions that are no longer kept.
    /// Blocks.
    ///
    /// # Errors
    /// When it fails a check, the policy says no and it is not `forced`, or the folder cannot be written; the champion
    /// stays.
    pub fn deploy(&self, version: &str, forced: bool) -> Result<Changed, ChangeError> {
        let mut seen = self.changing();
        let lock = self.folder.lock().map_err(|source| self.fault(source))?;
        let loaded = self.checked(&mut seen, version)?;
        let champion = self.champion().map(|champion| champion.manifest.metrics.val_f1_macro);
        match policy::decide(loaded.manifest.metrics.val_f1_macro, champion) {
            Decision::Keep(reason) if !forced => Err(ChangeError::Policy { version: version.to_owned(), reason }),
            _ => self.promote(&mut seen, &lock, loaded),
        }
    }

    /// Makes the previous champion the champion again, and the champion the previous one. Blocks.
    ///
    /// # Errors
    /// When there is none, it fails a check, or the folder cannot be written; the champion stays.
    pub fn roll_back(&self) -> Result<Changed, ChangeError> {
        let mut seen = self.changing();
        let lock = self.folder.lock().map_err(|source| self.fault(source))?;
        let previous = self.folder.alias(Alias::Previous).map_err(|source| self.fault(source))?;
        let loaded = self.checked(&mut seen, &previous.ok_or(ChangeError::NoPrevious)?)?;
        self.promote(&mut seen, &lock, loaded)
    }

    /// Lets `version` be judged on the observations beside the champion; `None` ends that. Blocks.
    ///
    /// # Errors
    /// When it fails a check or the folder cannot be written; the challenger stays.
    pub fn challenge(&self, version: Option<&str>) -> Result<(), ChangeError> {
        let mut seen = self.changing();
        let lock = self.folder.lock().map_err(|source| self.fault(source))?;
        let loaded = version.map(|version| self.checked(&mut seen, version)).transpose()?;
        self.folder.set_alias(&lock, Alias::Challenger, version).map_err(|source| self.fault(source))?;
        self.challenger.store(loaded);
        self.settle(&mut seen);
        Ok(())
    }

    fn promote(&self, seen: &mut Seen, lock: &Lock, loaded: Arc<Loaded>) -> Result<Changed, ChangeError> {
        let version = &loaded.manifest.version.clone();
        let write = || -> io::Result<Vec<String>> {
            let champion = self.folder.alias(Alias::Champion)?;
            // In this order: stopped in between, "previous" names the champion that still is one.
            if let Some(champion) = champion.filter(|champion| champion != version) {
                self.folder.set_alias(lock, Alias::Previous, Some(&champion))?;
            }
            self.folder.set_alias(lock, Alias::Champion, Some(version))?;
            if self.folder.alias(Alias::Challenger)?.as_deref() == Some(version) {
                self.folder.set_alias(lock, Alias::Challenger, None)?;
            }
            self.folder.prune(lock)
        };
        let removed = write().map_err(|source| self.fault(source))?;
        self.take(Alias::Champion, loaded);
        if self.challenger().is_some_and(|challenger| challenger.version() == version) {
            self.challenger.store(None);
        }
        self.settle(seen);
        let previous = self.folder.alias(Alias::Previous).map_err(|source| self.fault(source))?;
        Ok(Changed { champion: version.to_owned(), previous, removed })
    }

    fn checked(&self, seen: &mut Seen, version: &str) -> Result<Arc<Loaded>, ChangeError> {
        self.load(seen, version).map_err(|refusal| {
            self.metrics.model_refusals.with_label_values(&[refusal.reason()]).inc();
            ChangeError::Refused { version: version.to_owned(), refusal }
        })
    }

    fn load(&self, seen: &mut Seen, version: &str) -> Result<Arc<Loaded>, Refusal> {
        let loaded = Loaded::load(&self.folder.version(version)?, &self.wanted)?;
        match seen.fingerprints.get(version) {
            Some(first) if *first != loaded.fingerprint => return Err(Refusal::Changed(version.to_owned())),
            Some(_) => {}
            None => {
                seen.fingerprints.insert(version.to_owned(), loaded.fingerprint.clone());
            }
        }
        Ok(Arc::new(loaded))
    }

    fn load_aliases(&self, seen: &mut Seen) {
        let champion = self.folder.alias(Alias::Champion);
        let challenger = self.folder.alias(Alias::Challenger);
        let same = matches!((&champion, &challenger), (Ok(Some(a)), Ok(Some(b))) if a == b);
        let mut refused = Vec::new();
        refused.extend(self.load_alias(seen, Alias::Champion, champion));
        refused.extend(self.load_alias(seen, Alias::Challenger, if same { Ok(None) } else { challenger }));
        self.refused.store(Arc::new(refused));
        self.settle(seen);
    }

    fn load_alias(&self, seen: &mut Seen, alias: Alias, named: io::Result<Option<String>>) -> Option<Refused> {
        let (version, refusal) = match named {
            Ok(Some(version)) => match self.load(seen, &version) {
                Ok(loaded) => {
                    self.take(alias, loaded);
                    return None;
                }
                Err(refusal) => (version, refusal),
            },
            Ok(None) => {
                // A champion serves on without its alias: a registry that cannot be reached must not take it away.
                if alias == Alias::Challenger {
                    self.challenger.store(None);
                }
                return None;
            }
            Err(source) => (String::new(), Refusal::Missing { file: alias.as_str(), source }),
        };
        let reason = refusal.reason();
        self.metrics.model_refusals.with_label_values(&[reason]).inc();
        let serving = self.champion().map_or_else(|| "none".to_owned(), |champion| champion.version().to_owned());
        log::error!("{} {version:?} is refused: {refusal}. Serving on: {serving}", alias.as_str());
        Some(Refused { alias, version, reason, message: refusal.to_string(), at: SystemTime::now() })
    }

    fn take(&self, alias: Alias, loaded: Arc<Loaded>) {
        let slot = if alias == Alias::Champion { &self.champion } else { &self.challenger };
        let before = slot.swap(Some(loaded.clone()));
        self.metrics.model_loads.with_label_values(&[alias.as_str()]).inc();
        if before.is_none_or(|before| before.version() != loaded.version()) {
            log::info!("{} is now {}", alias.as_str(), loaded.version());
        }
    }

    /// Notes what the aliases are, and lets the gauges say what is loaded.
    fn settle(&self, seen: &mut Seen) {
        seen.aliases = self.aliases();
        let champion = self.champion();
        let challenger = self.challenger();
        self.metrics.model_available.set(i64::from(champion.is_some()));
        self.metrics.model_info.reset();
        for (alias, model) in [(Alias::Champion, &champion), (Alias::Challenger, &challenger)] {
            if let Some(model) = model {
                self.metrics.model_info.with_label_values(&[alias.as_str(), model.version()]).set(1.0);
            }
        }
        if let Some(champion) = champion {
            metrics::set(&self.metrics.model_f1, champion.manifest.metrics.val_f1_macro);
        }
    }

    fn aliases(&self) -> Vec<Option<String>> {
        [Alias::Champion, Alias::Challenger].iter().map(|alias| self.folder.alias(*alias).ok().flatten()).collect()
    }

    fn changing(&self) -> MutexGuard<'_, Seen> {
        // What is behind the mutex is valid after every statement, so a panic in between leaves it usable.
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, source: io::Error) -> ChangeError {
        ChangeError::Folder { folder: self.folder.root().display().to_string(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::super::small_model::{SWAPPED, Schema, Version, alias, edit_manifest, sha256};
    use super::*;

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
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (registry, done) = (Arc::clone(&registry), Arc::clone(&done));
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
}
