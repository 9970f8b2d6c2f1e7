//! The queries that stand in rule files and dashboards.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

/// What a query is for, which decides what an empty response means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Its value is kept under a name. Empty without traffic.
    Record(String),
    /// Empty as long as all is well.
    Alert(String),
    /// A panel of a dashboard. Empty without traffic.
    Panel,
    /// Marks moments. Empty as long as nothing happens.
    Annotation,
}

/// One query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// File and rule or panel.
    pub place: String,
    /// What it is for.
    pub kind: Kind,
    /// The expression as written.
    pub expr: String,
}

impl Query {
    /// The expression as Grafana sends it: its variables replaced, windows of `window` (e.g. `1m`).
    #[must_use]
    pub fn resolved(&self, window: &str) -> String {
        self.expr.replace("$__rate_interval", window)
    }
}

/// Every query of the repository at `root`.
///
/// # Errors
/// When a file cannot be read or is not what it should be.
pub fn all(root: &Path) -> anyhow::Result<Vec<Query>> {
    let mut found = Vec::new();
    for file in files(&root.join("prometheus/rules"), "yml")? {
        found.extend(of_rules(&file)?);
    }
    for file in files(&root.join("grafana/dashboards"), "json")? {
        found.extend(of_dashboard(&file)?);
    }
    Ok(found)
}

/// The files of `folder` with that ending, sorted.
///
/// # Errors
/// When the folder cannot be read, or holds none: then nothing would be checked.
pub fn files(folder: &Path, ending: &str) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut found = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    found.retain(|path| path.extension().is_some_and(|found| found == ending));
    found.sort();
    anyhow::ensure!(!found.is_empty(), "no .{ending} file in {}", folder.display());
    Ok(found)
}

fn of_rules(file: &Path) -> anyhow::Result<Vec<Query>> {
    let rules: Value = serde_yaml_ng::from_str(&fs::read_to_string(file)?)
        .with_context(|| format!("{} is not YAML", file.display()))?;
    let mut found = Vec::new();
    for rule in list(&rules, "groups").iter().flat_map(|group| list(group, "rules")) {
        let kind = match (text(rule, "record"), text(rule, "alert")) {
            (Some(name), None) => Kind::Record(name.to_owned()),
            (None, Some(name)) => Kind::Alert(name.to_owned()),
            _ => anyhow::bail!("{}: a rule is neither record nor alert: {rule}", file.display()),
        };
        let place = format!("{} {kind:?}", name_of(file));
        let expr = text(rule, "expr").with_context(|| format!("{place} has no expr"))?.to_owned();
        found.push(Query { place, kind, expr });
    }
    Ok(found)
}

fn of_dashboard(file: &Path) -> anyhow::Result<Vec<Query>> {
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(file)?).with_context(|| format!("{} is not JSON", file.display()))?;
    let mut found = Vec::new();
    for panel in list(&dashboard, "panels") {
        let place = format!("{} {:?}", name_of(file), text(panel, "title").unwrap_or("a panel without title"));
        for target in list(panel, "targets") {
            let expr = text(target, "expr").with_context(|| format!("{place}: a target has no expr"))?.to_owned();
            found.push(Query { place: place.clone(), kind: Kind::Panel, expr });
        }
    }
    for annotation in dashboard.pointer("/annotations/list").and_then(Value::as_array).into_iter().flatten() {
        let place = format!("{} annotation {:?}", name_of(file), text(annotation, "name").unwrap_or_default());
        let expr = text(annotation, "expr").with_context(|| format!("{place} has no expr"))?.to_owned();
        found.push(Query { place, kind: Kind::Annotation, expr });
    }
    Ok(found)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
