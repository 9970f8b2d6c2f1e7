//! The demo's models: a registry of its own, so that nothing it does to a model outlives it, and a model that is bad in
//! a way that everybody can follow.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

const CHAMPION: &str = "champion";
const MANIFEST: &str = "manifest.json";
/// Two labels that many transactions have.
const SWAPPED: [&str; 2] = ["groceries", "restaurants"];

/// Copies the model that serves from one registry to another.
pub(crate) fn copy_champion(from: &Path, to: &Path) -> anyhow::Result<()> {
    let alias = from.join(CHAMPION);
    let version = fs::read_to_string(&alias)
        .with_context(|| format!("reading {}: `make ml-train` trains a model", alias.display()))?;
    copy_version(from, version.trim(), to, version.trim())?;
    point(to, version.trim())
}

/// Deploys the serving model again with two of its labels swapped, as a mix-up in training would: everything else about
/// it is in order, so that nothing refuses it. Its version, and the labels.
pub(crate) fn deploy_swapped(registry: &Path) -> anyhow::Result<(String, [&'static str; 2])> {
    let good = fs::read_to_string(registry.join(CHAMPION))?;
    let bad = format!("{}-swapped", good.trim());
    copy_version(registry, good.trim(), registry, &bad)?;
    let file = registry.join(&bad).join(MANIFEST);
    let mut manifest: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    let classes = manifest.get_mut("classes").and_then(Value::as_array_mut).context("a manifest without classes")?;
    let at = |label: &str| classes.iter().position(|class| class.as_str() == Some(label));
    let (Some(one), Some(other)) = (at(SWAPPED[0]), at(SWAPPED[1])) else {
        anyhow::bail!("the model does not know the labels {SWAPPED:?}");
    };
    classes.swap(one, other);
    if let Some(version) = manifest.get_mut("version") {
        *version = Value::String(bad.clone());
    }
    fs::write(&file, serde_json::to_string_pretty(&manifest)?)?;
    point(registry, &bad)?;
    Ok((bad, SWAPPED))
}

fn copy_version(from: &Path, version: &str, to: &Path, name: &str) -> anyhow::Result<()> {
    let (from, to) = (from.join(version), to.join(name));
    fs::create_dir_all(&to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(&from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Lets the alias name `version`, by one rename, as the registry does.
fn point(registry: &Path, version: &str) -> anyhow::Result<()> {
    let fresh = registry.join("champion.new");
    fs::write(&fresh, version)?;
    Ok(fs::rename(&fresh, registry.join(CHAMPION))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swapped_model_differs_in_two_labels_and_its_name() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = from.path().join("v1");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("model.onnx"), "graph").unwrap();
        let manifest = r#"{"version":"v1","classes":["coffee","groceries","restaurants"],"model_sha256":"ab"}"#;
        fs::write(folder.join(MANIFEST), manifest).unwrap();
        fs::write(from.path().join(CHAMPION), "v1\n").unwrap();

        copy_champion(from.path(), to.path()).unwrap();
        let (version, _) = deploy_swapped(to.path()).unwrap();
        assert_eq!(fs::read_to_string(to.path().join(CHAMPION)).unwrap(), version);
        let text = fs::read_to_string(to.path().join(&version).join(MANIFEST)).unwrap();
        let manifest: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(manifest["classes"], serde_json::json!(["coffee", "restaurants", "groceries"]));
        assert_eq!((manifest["version"].as_str(), manifest["model_sha256"].as_str()), (Some("v1-swapped"), Some("ab")));
        assert_eq!(fs::read_to_string(to.path().join(&version).join("model.onnx")).unwrap(), "graph");
        assert_eq!(fs::read_to_string(from.path().join(CHAMPION)).unwrap(), "v1\n", "the deployment's own stays");
    }
}
