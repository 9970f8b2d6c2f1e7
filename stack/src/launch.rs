//! How each part is launched: its command line, and the configuration that it reads.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use contract::ports::Part;

use crate::checkout::Checkout;
use crate::error::Error;
use crate::layout::Layout;
use crate::part;
use crate::template;

/// Writes the configuration of `part`, if it has one, and returns its path.
///
/// # Errors
/// When it cannot be made or written.
pub fn configure(layout: &Layout, part: Part) -> Result<Option<PathBuf>, Error> {
    let (name, text) = match part {
        Part::Gateway => ("envoy.yaml", layout.gateway_config()?),
        Part::Prometheus => ("prometheus.yml", monitoring_config(layout, "prometheus.yml.j2")?),
        Part::Alertmanager => ("alertmanager.yml", monitoring_config(layout, "alertmanager.yml.j2")?),
        Part::Console => return layout.console_token().map(Some),
        _ => return Ok(None),
    };
    let path = layout.run().join(name);
    write(&path, &text)?;
    Ok(Some(path))
}

/// The command that starts `part`, whose configuration it writes.
pub(crate) fn command(layout: &Layout, part: Part) -> Result<Command, Error> {
    let config = configure(layout, part)?.unwrap_or_default();
    let mut command = match part {
        Part::Gateway => envoy(layout, &config)?,
        Part::Rules => rules(layout)?,
        Part::Scorer => scorer(layout)?,
        Part::Prometheus => prometheus(layout, &config)?,
        Part::Alertmanager => alertmanager(layout, &config)?,
        Part::Console => guard(layout, &config)?,
        other => return Err(Error::Setting(format!("the stack does not start {}", crate::error::name(other)))),
    };
    command.current_dir(layout.checkout().root());
    // A part that cannot start says why in its last lines; a backtrace of that error would push the reason out of
    // sight.
    command.env("RUST_LIB_BACKTRACE", "0");
    for (_, key, value) in layout.settings.environment.iter().filter(|(owner, _, _)| *owner == part) {
        command.env(key, value);
    }
    Ok(command)
}

fn envoy(layout: &Layout, config: &Path) -> Result<Command, Error> {
    let program =
        Checkout::existing("Envoy", layout.checkout().envoy(), "`make setup` fetches it, or set PERCH_ENVOY to one")?;
    let mut command = Command::new(program);
    command
        .arg("--config-path")
        .arg(config)
        .args(["--concurrency", &layout.settings.concurrency.to_string()])
        // Several Envoys share this machine, and none is hot-restarted. Connections of an old listener are closed at
        // once instead of after minutes.
        .args(["--drain-strategy", "immediate", "--drain-time-s", "1"])
        .args(["--disable-hot-restart", "--log-level", "warning", "--component-log-level", "wasm:info"]);
    Ok(command)
}

fn program(layout: &Layout, name: &str) -> Result<Command, Error> {
    let path = Checkout::existing(name, layout.checkout().program(name), "run `make build`")?;
    Ok(Command::new(path))
}

fn rules(layout: &Layout) -> Result<Command, Error> {
    let mut command = program(layout, "rules-backend")?;
    command.args(["serve", "--listen", &layout.ports.address(Part::Rules).to_string(), "--store", &layout.store()]);
    Ok(command)
}

fn scorer(layout: &Layout) -> Result<Command, Error> {
    let mut command = program(layout, "shadow-scorer")?;
    command
        .args(["--listen", &layout.ports.address(Part::Scorer).to_string(), "--role", "both"])
        .args(["--store", &layout.store()])
        .arg("--registry")
        .arg(layout.registry())
        .arg("--token-file")
        .arg(layout.console_token()?);
    Ok(command)
}

fn guard(layout: &Layout, token: &Path) -> Result<Command, Error> {
    let mut command = program(layout, "perch")?;
    command
        .args(["guard", "--listen", &layout.ports.address(Part::Console).to_string()])
        .args(["--gateway", &layout.url(Part::Admin), "--scorer", &layout.url(Part::Scorer)])
        .arg("--runtime")
        .arg(layout.runtime_link())
        .arg("--folder")
        .arg(layout.guard_folder())
        .arg("--token-file")
        .arg(token)
        .arg("--hook-token-file")
        .arg(hook_token(layout)?);
    if layout.parts().contains(&Part::Prometheus) {
        command.args(["--prometheus", &layout.url(Part::Prometheus)]);
    }
    Ok(command)
}

fn prometheus(layout: &Layout, config: &Path) -> Result<Command, Error> {
    let mut command = Command::new(tool(layout, "prometheus")?);
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", layout.dir().join("data/prometheus").display()))
        .arg(format!("--web.listen-address={}", layout.ports.address(Part::Prometheus)))
        .args(["--storage.tsdb.retention.time=30d", "--log.level=warn"]);
    Ok(command)
}

fn alertmanager(layout: &Layout, config: &Path) -> Result<Command, Error> {
    let mut command = Command::new(tool(layout, "alertmanager")?);
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", layout.dir().join("data/alertmanager").display()))
        .arg(format!("--web.listen-address={}", layout.ports.address(Part::Alertmanager)))
        // A single instance: it searches for no peers.
        .args(["--cluster.listen-address=", "--log.level=warn"]);
    Ok(command)
}

fn monitoring_config(layout: &Layout, template: &str) -> Result<String, Error> {
    let ports: BTreeMap<&str, u16> =
        Part::ALL.iter().map(|part| (part::port_name(*part), layout.ports.port(*part))).collect();
    template::render(
        &layout.checkout().file("prometheus").join(template),
        minijinja::context! {
            host => layout.ports.address(Part::Prometheus).ip().to_string(),
            ports => minijinja::value::Serde(ports),
            rules => layout.checkout().file("prometheus/rules").display().to_string(),
            hook_path => contract::alerts::HOOK_PATH,
            hook_token_file => hook_token(layout)?.display().to_string(),
        },
    )
}

/// The token with which Alertmanager posts to the guard; made once, like the salt.
fn hook_token(layout: &Layout) -> Result<PathBuf, Error> {
    let file = layout.run().join(contract::alerts::HOOK_TOKEN_FILE);
    crate::secret::read_or_create(&file)?;
    Ok(file)
}

/// A program that setup has put into `.perch/bin`.
fn tool(layout: &Layout, name: &str) -> Result<PathBuf, Error> {
    let path = layout.checkout().state().join("bin").join(name);
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
