//! The packages of the workspace, as cargo knows them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// One package.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// The first files of its library and its programs.
    pub roots: Vec<PathBuf>,
    /// Packages that its library and programs, or their build, depend on; those of tests are not among them.
    pub dependencies: Vec<String>,
}

/// All packages of the workspace.
///
/// # Errors
/// When cargo fails, or says something else than it is known to say.
pub fn packages() -> anyhow::Result<Vec<Package>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = Command::new(cargo).args(arguments).current_dir(root).output().context("running cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata.get("packages").and_then(Value::as_array).context("cargo metadata names no packages")?;
    packages.iter().map(package).collect::<Option<_>>().context("a package of cargo metadata has another shape")
}

fn package(package: &Value) -> Option<Package> {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let list = |name: &str| package.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is_program = |target: &&Value| {
        let kinds = target.get("kind").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        kinds.iter().filter_map(Value::as_str).any(|kind| kind == "bin" || kind.ends_with("lib"))
    };
    let roots = list("targets").iter().filter(is_program).filter_map(|target| text(target, "src_path"));
    let dependencies = list("dependencies").iter().filter(|one| text(one, "kind").as_deref() != Some("dev"));
    Some(Package {
        name: text(package, "name")?,
        folder: Path::new(&text(package, "manifest_path")?).parent()?.to_path_buf(),
        roots: roots.map(PathBuf::from).collect(),
        dependencies: dependencies.filter_map(|one| text(one, "name")).collect(),
    })
}
