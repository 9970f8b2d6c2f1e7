//! Every field of the filter's configuration, the scorer's settings and the guard's plan.
//!
//! Names, types and meanings come from the types; defaults from the types or the program; ranges from what each says to
//! a value that is out of range.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use clap::{CommandFactory as _, Parser as _};
use filter::config::{Config, Module};
use serde_json::{Value, json};
use shadow_scorer::settings::{Raw, SettingsError};

use crate::declarations::{Declarations, Member};

const FILTER: [&str; 3] = ["filter/src/config/raw.rs", "contract/src/cohorts.rs", "contract/src/response.rs"];
const PLAN: &str = "perch/guard/src/plan/raw.rs";

/// Values that no number of a configuration may have, all of which are tried.
const OUT_OF_RANGE: [&str; 4] = ["0", "-1", "2", "4294967295"];

pub(crate) fn reference() -> String {
    let mut text = "# Configuration\n\n\
        Generated from the types by `make references`; a test fails when it is stale. A range is what the program itself says \
        to a value outside of it.\n"
        .to_owned();
    filter(&mut text);
    scorer(&mut text);
    plan(&mut text);
    text
}

fn read(files: &[&str]) -> Declarations {
    let mut declarations = Declarations::default();
    for file in files {
        declarations.read(&fs::read_to_string(crate::root().join(file)).unwrap());
    }
    declarations
}

/// A field, with its whole name and the struct it stands in.
struct Field<'a> {
    path: String,
    of: &'a str,
    member: &'a Member,
}

/// All fields below the struct `name`, in order; structs are replaced by their fields.
fn fields<'a>(declarations: &'a Declarations, name: &'a str, prefix: &str) -> Vec<Field<'a>> {
    let mut found = Vec::new();
    for member in &declarations.structs[name] {
        let path = format!("{prefix}{}", member.name);
        match declarations.structs.get_key_value(&member.kind) {
            Some((below, _)) => found.extend(fields(declarations, below, &format!("{path}."))),
            None => found.push(Field { path, of: name, member }),
        }
    }
    found
}

fn kind(rust: &str) -> String {
    if let Some(inner) = rust.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')) {
        return kind(inner);
    }
    if let Some(inner) = rust.strip_prefix("Vec<").and_then(|rest| rest.strip_suffix('>')) {
        return format!("list of {}", kind(inner));
    }
    match rust {
        "usize" | "u32" | "u64" => "integer".to_owned(),
        "f64" => "number".to_owned(),
        "String" => "text".to_owned(),
        "bool" => "boolean".to_owned(),
        other => other.trim_start_matches("Raw").to_owned(),
    }
}

fn variants(text: &mut String, declarations: &Declarations) {
    for (name, members) in &declarations.enums {
        if members.iter().any(|member| member.attributes.contains("error(")) {
            continue;
        }
        let _ = write!(text, "\n`{}` is one of:\n\n| form | meaning |\n|---|---|\n", name.trim_start_matches("Raw"));
        for member in members {
            let _ = writeln!(text, "| `{}` | {} |", member.name, member.help);
        }
    }
}

fn filter(text: &mut String) {
    let mut declarations = read(&FILTER);
    // Of contract/src/response.rs only the schema is configuration.
    declarations.enums.retain(|name, _| ["Source", "Member", "Items"].contains(&name.as_str()));
    text.push_str(
        "\n## Filter\n\nOne JSON document in Envoy's configuration; an unknown field is refused. `filter/README.md` says how \
         the fields work together.\n\n| field | type | default | range | meaning |\n|---|---|---|---|---|\n",
    );
    for Field { path, of, member } in fields(&declarations, "Document", "") {
        let default = filter_default(&declarations, &path, of, member);
        let range = filter_range(&path, member).unwrap_or_default();
        // The default's column says it for both modules.
        let help = member.help.split("; by default").next().unwrap_or_default();
        let _ = writeln!(text, "| `{path}` | {} | {default} | {range} | {} |", kind(&member.kind), help);
    }
    variants(text, &declarations);
}

fn filter_default(declarations: &Declarations, path: &str, of: &str, member: &Member) -> String {
    if path == "limits.batch_bytes" {
        let [wasm, native] = [Module::Wasm, Module::Native].map(Module::batch_bytes);
        return format!("`{wasm}` (WebAssembly), `{native}` (native)");
    }
    if let Some(value) = declarations.defaults.get(&format!("{of}.{}", member.name)) {
        return shown(value);
    }
    let function = member.attributes.split("default = \"").nth(1).and_then(|rest| rest.split('"').next());
    if let Some(function) = function {
        return shown(&declarations.functions[function]);
    }
    if of == "Document" && !member.attributes.contains("default") {
        return "required".to_owned();
    }
    match member.kind.as_str() {
        "bool" => "`false`".to_owned(),
        list if list.starts_with("Vec<") => "`[]`".to_owned(),
        other => {
            let variant = declarations.enums[other].iter().find(|variant| variant.attributes.contains("#[default]"));
            format!("`{}`", variant.unwrap().name)
        }
    }
}

/// An expression as configuration would write its value.
fn shown(expression: &str) -> String {
    let plain = expression.replace(".into()", "").replace(".to_owned()", "");
    let plain = plain.trim_end_matches(".into").trim_start_matches("vec!");
    let factors = plain.split(" * ").map(|factor| factor.replace('_', "").parse::<u64>().ok());
    if let Some(product) = factors.product::<Option<u64>>() {
        return format!("`{product}`");
    }
    if plain.contains("headers::DEMO_IDENTITY") {
        return format!("`[{{\"header\": \"{}\"}}]`", contract::headers::DEMO_IDENTITY);
    }
    match plain {
        "None" => String::new(),
        "Vec::new()" => "`[]`".to_owned(),
        other => format!("`{}`", other.trim_matches('"')),
    }
}

fn filter_range(path: &str, member: &Member) -> Option<String> {
    let integer = ["usize", "u32", "u64", "Option<usize>"].contains(&member.kind.as_str());
    let tried = OUT_OF_RANGE.iter().filter(|_| integer).filter_map(|value| value.parse::<u64>().ok());
    tried.filter_map(|value| filter_rule(path, value)).next()
}

fn filter_rule(path: &str, value: u64) -> Option<String> {
    let mut document = json!({ "salt": "0123456789abcdef", "labels": [] });
    let mut at = &mut document;
    for step in path.split('.') {
        at = &mut at[step];
    }
    *at = json!(value);
    let error = Config::parse(document.to_string().as_bytes(), Module::Native).err()?.to_string();
    let (_, rule) = error.split_once(&format!("{path}: must be "))?;
    Some(rule.split(" and is").next().unwrap_or_default().to_owned())
}

fn scorer(text: &mut String) {
    text.push_str(
        "\n## Scorer\n\nFlags of `shadow-scorer`; a flag goes before its environment variable.\n\n\
         | flag | variable | value | default | range | meaning |\n|---|---|---|---|---|---|\n",
    );
    for argument in Raw::command().get_arguments() {
        let Some(flag) = argument.get_long().filter(|flag| !["help", "version"].contains(flag)) else { continue };
        let text_of =
            |value: Option<&std::ffi::OsStr>| value.map(|value| format!("`{}`", value.display())).unwrap_or_default();
        let values: Vec<String> =
            argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        let takes_value = argument.get_action().takes_values();
        let value = match (takes_value, values.is_empty(), argument.get_value_names()) {
            (false, ..) => String::new(),
            (true, false, _) => format!("`{}`", values.join("`, `")),
            (true, true, names) => names.and_then(|names| names.first()).map(ToString::to_string).unwrap_or_default(),
        };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
        let range = OUT_OF_RANGE.iter().filter(|_| takes_value).find_map(|value| scorer_rule(flag, value));
        let _ = writeln!(
            text,
            "| `--{flag}` | {} | {value} | {} | {} | {help} |",
            text_of(argument.get_env()),
            text_of(argument.get_default_values().first().map(|value| value.as_os_str())),
            range.unwrap_or_default(),
        );
    }
}

fn scorer_rule(flag: &str, value: &str) -> Option<String> {
    let raw = Raw::try_parse_from(["shadow-scorer".to_owned(), format!("--{flag}={value}")]).ok()?;
    match raw.check(|_| None) {
        Err(SettingsError::Range { flag: named, rule, .. }) if named == flag => {
            Some(rule.trim_start_matches("give ").to_owned())
        }
        _ => None,
    }
}

fn plan(text: &mut String) {
    let output = crate::run("perch", &["ramp", "plan", "--json"]);
    let defaults: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut leaves = BTreeSet::new();
    paths(&defaults, "", &mut leaves);
    text.push_str(
        "\n## Guard's plan\n\nA YAML or JSON file for `perch ramp start --plan FILE`; every field may be left out, an unknown \
         one is refused. `perch ramp plan` prints the default plan.\n\n\
         | field | type | default | range | meaning |\n|---|---|---|---|---|\n",
    );
    let declarations = read(&[PLAN]);
    let folder = tempfile::tempdir().unwrap();
    for Field { path, member, .. } in fields(&declarations, "RawPlan", "") {
        assert!(leaves.remove(&path), "{path} is not in the plan that `perch ramp plan` prints");
        let default = defaults.pointer(&format!("/{}", path.replace('.', "/"))).unwrap();
        let range = plan_rule(folder.path(), &path, &member.kind).unwrap_or_default();
        let _ = writeln!(
            text,
            "| `{path}` | {} | {} | {range} | {} |",
            kind(&member.kind),
            if default.is_null() { "none".to_owned() } else { format!("`{}`", default.to_string().replace('"', "")) },
            member.help
        );
    }
    assert!(leaves.is_empty(), "in the default plan, and not in {PLAN}: {leaves:?}");
    text.push_str("\nA step is a share, e.g. `10%`, or a mapping with these fields:\n\n| field | type | meaning |\n|---|---|---|\n");
    for member in &declarations.structs["RawFullStep"] {
        let _ = writeln!(text, "| `{}` | {} | {} |", member.name, kind(&member.kind), member.help);
    }
    let on_breach = "`OnBreach` is one of:\n\n| form | meaning |\n|---|---|\n";
    let _ = write!(text, "\n{on_breach}");
    for member in &declarations.enums["RawOnBreach"] {
        let _ = writeln!(text, "| `{}` | {} |", member.name, member.help);
    }
}

fn paths(value: &Value, prefix: &str, into: &mut BTreeSet<String>) {
    let Value::Object(members) = value else { return };
    for (name, member) in members {
        let path = format!("{prefix}{name}");
        match member {
            Value::Object(_) => paths(member, &format!("{path}."), into),
            _ => drop(into.insert(path)),
        }
    }
}

/// What `perch ramp plan` says to a plan in which the field is out of range.
fn plan_rule(folder: &std::path::Path, path: &str, kind: &str) -> Option<String> {
    let bad = match kind {
        "f64" | "Option<f64>" => json!(-1.0),
        "u64" => json!(0),
        "String" => json!("-"),
        _ => return None,
    };
    let mut document = json!({});
    let mut at = &mut document;
    for step in path.split('.') {
        at = &mut at[step];
    }
    *at = bad;
    let file = folder.join("plan.json");
    fs::write(&file, document.to_string()).unwrap();
    let output = crate::run("perch", &["ramp", "plan", file.to_str().unwrap()]);
    let error = String::from_utf8(output.stderr).unwrap();
    let (_, rule) = error.split_once(&format!("{path} in the plan is "))?.1.split_once(": ")?;
    let rule = rule.trim().trim_start_matches("it must be ");
    Some(rule.split(", not a percentage").next().unwrap_or_default().to_owned())
}
