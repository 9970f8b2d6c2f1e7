//! How each part is launched: its command line, the configuration that it reads, the ports that it takes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use contract::ports::Part;

use crate::checkout::Checkout;
use crate::error::Error;
use crate::stack::Stack;
use crate::template;

/// Prefix of the directories that Perch makes for a runtime's disk layer; a number follows. Directories with other names
/// are not Perch's, and are never removed.
pub const RUNTIME_LAYER: &str = "perch-layer-";

/// The part's name in file names and on the command line.
#[must_use]
pub const fn file_name(part: Part) -> &'static str {
    match part {
        Part::Gateway | Part::Admin => "envoy",
        Part::Rules => "rules-backend",
        Part::Scorer => "shadow-scorer",
        Part::Console => "perch-guard",
        Part::Prometheus => "prometheus",
        Part::Alertmanager => "alertmanager",
        Part::Grafana => "grafana",
        Part::Postgres => "postgres",
    }
}

/// The ports that a part takes.
pub(crate) const fn listens(part: Part) -> &'static [Part] {
    match part {
        Part::Gateway => &[Part::Gateway, Part::Admin],
        Part::Rules => &[Part::Rules],
        Part::Scorer => &[Part::Scorer],
        Part::Console => &[Part::Console],
        Part::Prometheus => &[Part::Prometheus],
        Part::Alertmanager => &[Part::Alertmanager],
        Part::Grafana => &[Part::Grafana],
        Part::Postgres => &[Part::Postgres],
        Part::Admin => &[],
    }
}

/// Prometheus and Alertmanager, where the repository has a configuration for them.
pub(crate) fn monitoring(checkout: &Checkout) -> Vec<Part> {
    let mut parts = Vec::new();
    if checkout.file("prometheus/alertmanager.yml.j2").is_file() {
        parts.push(Part::Alertmanager);
    }
    if checkout.file("prometheus/prometheus.yml.j2").is_file() {
        parts.push(Part::Prometheus);
    }
    parts
}

/// Writes the configuration of `part`, if it has one, and returns its path.
///
/// # Errors
/// When it cannot be made or written.
pub fn configure(stack: &Stack, part: Part) -> Result<Option<PathBuf>, Error> {
    let (name, text) = match part {
        Part::Gateway => ("envoy.yaml", stack.gateway_config()?),
        Part::Prometheus => ("prometheus.yml", monitoring_config(stack, "prometheus.yml.j2")?),
        Part::Alertmanager => ("alertmanager.yml", monitoring_config(stack, "alertmanager.yml.j2")?),
        Part::Console => return stack.console_token().map(Some),
        _ => return Ok(None),
    };
    let path = stack.run().join(name);
    write(&path, &text)?;
    Ok(Some(path))
}

/// The command that starts `part`, whose configuration it writes.
pub(crate) fn command(stack: &Stack, part: Part) -> Result<Command, Error> {
    let config = configure(stack, part)?.unwrap_or_default();
    let mut command = match part {
        Part::Gateway => envoy(stack, &config)?,
        Part::Rules => rules(stack)?,
        Part::Scorer => scorer(stack)?,
        Part::Prometheus => prometheus(stack, &config)?,
        Part::Alertmanager => alertmanager(stack, &config)?,
        Part::Console => guard(stack, &config)?,
        other => return Err(Error::Setting(format!("the stack does not start {}", crate::error::name(other)))),
    };
    command.current_dir(stack.checkout().root());
    // A part that cannot start says why in its last lines; a backtrace of that error would push the reason out of sight.
    command.env("RUST_LIB_BACKTRACE", "0");
    for (_, key, value) in stack.settings.environment.iter().filter(|(owner, _, _)| *owner == part) {
        command.env(key, value);
    }
    Ok(command)
}

fn envoy(stack: &Stack, config: &Path) -> Result<Command, Error> {
    let program =
        Checkout::existing("Envoy", stack.checkout().envoy(), "`make setup` fetches it, or set PERCH_ENVOY to one")?;
    let mut command = Command::new(program);
    command
        .arg("--config-path")
        .arg(config)
        .args(["--concurrency", &stack.settings.concurrency.to_string()])
        // Several Envoys share this machine, and none is hot-restarted. Connections of an old listener are closed at once
        // instead of after minutes.
        .args(["--drain-strategy", "immediate", "--drain-time-s", "1"])
        .args(["--disable-hot-restart", "--log-level", "warning", "--component-log-level", "wasm:info"]);
    Ok(command)
}

/// The disk layer must exist when Envoy starts: an empty directory behind a symlink, so that a change is a new directory
/// and a rename of the link, which is also what a ConfigMap mount does.
pub(crate) fn make_runtime(link: &Path) -> Result<(), Error> {
    if link.exists() {
        return Ok(());
    }
    let doing = format!("making the runtime's disk layer {}", link.display());
    let Some(parent) = link.parent() else { return Err(Error::Setting(format!("{doing}: it has no parent"))) };
    let layer = format!("{RUNTIME_LAYER}0");
    fs::create_dir_all(parent.join(&layer).join("perch")).map_err(Error::io(doing.clone()))?;
    std::os::unix::fs::symlink(layer, link).map_err(Error::io(doing))
}

fn program(stack: &Stack, name: &str) -> Result<Command, Error> {
    let path = Checkout::existing(name, stack.checkout().program(name), "run `make build`")?;
    Ok(Command::new(path))
}

fn rules(stack: &Stack) -> Result<Command, Error> {
    let mut command = program(stack, "rules-backend")?;
    command.args(["serve", "--listen", &stack.ports.address(Part::Rules).to_string(), "--store", &store(stack)]);
    Ok(command)
}

fn scorer(stack: &Stack) -> Result<Command, Error> {
    let mut command = program(stack, "shadow-scorer")?;
    command
        .args(["--listen", &stack.ports.address(Part::Scorer).to_string(), "--role", "both"])
        .args(["--store", &store(stack)])
        .arg("--registry")
        .arg(registry(stack))
        .arg("--token-file")
        .arg(stack.console_token()?);
    Ok(command)
}

fn guard(stack: &Stack, token: &Path) -> Result<Command, Error> {
    let mut command = program(stack, "perch")?;
    command
        .args(["guard", "--listen", &stack.ports.address(Part::Console).to_string()])
        .args(["--gateway", &stack.url(Part::Admin), "--scorer", &stack.url(Part::Scorer)])
        .arg("--runtime")
        .arg(stack.runtime_link())
        .arg("--folder")
        .arg(stack.guard_folder())
        .arg("--token-file")
        .arg(token)
        .arg("--hook-token-file")
        .arg(hook_token(stack)?);
    if stack.parts().contains(&Part::Prometheus) {
        command.args(["--prometheus", &stack.url(Part::Prometheus)]);
    }
    Ok(command)
}

/// The store's URL: the one given, or a SQLite file in the stack's directory.
pub(crate) fn store(stack: &Stack) -> String {
    let default = || format!("sqlite://{}", stack.dir().join("data/perch.sqlite").display());
    stack.settings.store.clone().unwrap_or_else(default)
}

/// The registry's folder: the one given, or one in the stack's directory.
pub(crate) fn registry(stack: &Stack) -> PathBuf {
    stack.settings.registry.clone().unwrap_or_else(|| stack.dir().join("registry"))
}

fn prometheus(stack: &Stack, config: &Path) -> Result<Command, Error> {
    let mut command = Command::new(tool(stack, "prometheus")?);
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", stack.dir().join("data/prometheus").display()))
        .arg(format!("--web.listen-address={}", stack.ports.address(Part::Prometheus)))
        .args(["--storage.tsdb.retention.time=30d", "--log.level=warn"]);
    Ok(command)
}

fn alertmanager(stack: &Stack, config: &Path) -> Result<Command, Error> {
    let mut command = Command::new(tool(stack, "alertmanager")?);
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", stack.dir().join("data/alertmanager").display()))
        .arg(format!("--web.listen-address={}", stack.ports.address(Part::Alertmanager)))
        // A single instance: it searches for no peers.
        .args(["--cluster.listen-address=", "--log.level=warn"]);
    Ok(command)
}

fn monitoring_config(stack: &Stack, template: &str) -> Result<String, Error> {
    let ports: BTreeMap<&str, u16> = Part::ALL.iter().map(|part| (port_name(*part), stack.ports.port(*part))).collect();
    template::render(
        &stack.checkout().file("prometheus").join(template),
        minijinja::context! {
            host => stack.ports.address(Part::Prometheus).ip().to_string(),
            ports => minijinja::value::Serde(ports),
            rules => stack.checkout().file("prometheus/rules").display().to_string(),
            hook_path => contract::alerts::HOOK_PATH,
            hook_token_file => hook_token(stack)?.display().to_string(),
        },
    )
}

/// The token with which Alertmanager posts to the guard; made once, like the salt.
fn hook_token(stack: &Stack) -> Result<PathBuf, Error> {
    let file = stack.run().join(contract::alerts::HOOK_TOKEN_FILE);
    crate::secret::read_or_create(&file)?;
    Ok(file)
}

const fn port_name(part: Part) -> &'static str {
    match part {
        Part::Gateway => "gateway",
        Part::Rules => "rules",
        Part::Scorer => "scorer",
        Part::Console => "console",
        Part::Admin => "admin",
        Part::Prometheus => "prometheus",
        Part::Alertmanager => "alertmanager",
        Part::Grafana => "grafana",
        Part::Postgres => "postgres",
    }
}

/// A program that setup has put into `.perch/bin`.
fn tool(stack: &Stack, name: &str) -> Result<PathBuf, Error> {
    let path = stack.checkout().state().join("bin").join(name);
    Checkout::existing(name, path, "`setup/run monitoring` fetches it; or start without: `make up MONITORING=no`")
}

/// Writes a configuration that only its owner may read.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, text: &str) -> Result<(), Error> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let doing = format!("writing {}", path.display());
    // The filter's configuration holds the salt.
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::io(doing.clone()))?;
    file.write_all(text.as_bytes()).map_err(Error::io(doing))
}
