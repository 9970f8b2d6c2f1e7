//! `perch model`: what serves, what is judged, and how to move between versions, through the scorer.

use clap::Subcommand;
use clients::Scorer;
use clients::scorer::STATUS_PATH;
use serde_json::{Value, json};

use super::operator::Shown;
use super::scorer::At;
use super::terminal;

const DEPLOY: &str = "/ml/v2/model/deploy";
const ROLLBACK: &str = "/ml/v2/model/rollback";
const CHALLENGE: &str = "/ml/v2/model/challenge";

const EXAMPLES: &str = "\
Examples:
  perch model status                     what serves, with its F1, and what was refused
  perch model list                       every version in the registry
  perch model challenge 20261125-0100    judge a version beside the champion, without serving it
  perch model deploy 20261125-0100       let it serve, if the policy allows (F1 ≥ 0.72, or 2% better)
  perch model rollback                   back to the version that served before; repeated, it stays there

Deploy, rollback and challenge show the scorer the operator's token (--token-file).
Exit codes: 0 done, 1 it could not be done, 2 the command line is wrong, 3 status: no model serves, or one was refused";

/// Exit code of a status with a fault.
const FAULT: u8 = 3;

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// What serves, what is judged beside it, and what was refused
    Status {
        #[command(flatten)]
        at: Common,
    },
    /// Every version in the registry
    List {
        #[command(flatten)]
        at: Common,
    },
    /// Let a version serve, if it passes its checks and the policy
    Deploy {
        /// The version, as `perch model list` names it
        #[arg(id = "model_version", value_name = "VERSION")]
        version: String,
        /// Pass over the policy; the checks hold all the same
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        at: Common,
        #[command(flatten)]
        shown: Shown,
    },
    /// Back to the version that served before; repeated, it stays there
    Rollback {
        #[command(flatten)]
        at: Common,
        #[command(flatten)]
        shown: Shown,
    },
    /// Judge a version beside the champion, without serving it
    Challenge {
        /// The version; without it the judging ends
        #[arg(id = "model_version", value_name = "VERSION")]
        version: Option<String>,
        #[command(flatten)]
        at: Common,
        #[command(flatten)]
        shown: Shown,
    },
}

/// Options of all of them.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    #[command(flatten)]
    scorer: At,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Status { at } => {
            let status = ask(&at.scorer.client()?).await?;
            at.print(&status, status_text);
            let refused = status.get("refused").and_then(Value::as_array).is_some_and(|refused| !refused.is_empty());
            let serves = status.get("available").and_then(Value::as_bool) == Some(true);
            Ok(if serves && !refused { 0 } else { FAULT })
        }
        Command::List { at } => {
            let status = ask(&at.scorer.client()?).await?;
            let rows = versions(&status);
            let document =
                Value::Array(rows.iter().map(|(name, roles)| json!({"version": name, "roles": roles})).collect());
            at.print(&document, |_| list_text(&rows));
            Ok(0)
        }
        Command::Deploy { version, force, at, shown } => {
            change(&at, &shown, DEPLOY, &json!({"version": version, "force": force})).await
        }
        Command::Rollback { at, shown } => change(&at, &shown, ROLLBACK, &json!({})).await,
        Command::Challenge { version, at, shown } => change(&at, &shown, CHALLENGE, &json!({"version": version})).await,
    }
}

async fn ask(scorer: &Scorer) -> anyhow::Result<Value> {
    Ok(scorer.get(STATUS_PATH, &[]).await?)
}

/// A change, told by what served before and serves then.
async fn change(at: &Common, shown: &Shown, path: &str, body: &Value) -> anyhow::Result<u8> {
    let scorer = at.scorer.client()?;
    let token = shown.token()?;
    let before = serving(&ask(&scorer).await?);
    let after = scorer.post(path, body, token.as_ref()).await?;
    at.print(&after, |after| {
        let now = serving(after);
        let moved =
            if before == now { format!("serving: {now}") } else { format!("serving: {now} (before: {before})") };
        format!("{moved}\n{}", status_text(after))
    });
    Ok(0)
}

impl Common {
    fn print(&self, document: &Value, text: impl FnOnce(&Value) -> String) {
        if self.json {
            println!("{document}");
        } else {
            print!("{}", text(document));
        }
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn serving(status: &Value) -> String {
    text(status, "/meta/version").unwrap_or("no model").to_owned()
}

fn status_text(status: &Value) -> String {
    let of = |part: &str| {
        let version = text(status, &format!("/{part}/version"))?;
        let f1 = status.pointer(&format!("/{part}/val_f1_macro")).and_then(Value::as_f64);
        let f1 = f1.map_or_else(|| "F1 not known".to_owned(), |f1| format!("F1 {f1:.4}"));
        let classes = status.pointer(&format!("/{part}/class_count")).and_then(Value::as_u64).unwrap_or(0);
        Some(format!(
            "{version}  {f1}, {classes} classes, made {}",
            text(status, &format!("/{part}/created")).unwrap_or("?")
        ))
    };
    let champion = of("meta").unwrap_or_else(|| "none: live answers are the rules' until one is deployed".to_owned());
    let mut lines = vec![
        format!("champion       {champion}"),
        format!("challenger     {}", of("challenger").unwrap_or_else(|| "none".to_owned())),
        format!("previous       {}", text(status, "/previous").unwrap_or("none: there is nothing to go back to")),
    ];
    if let Some(version) = text(status, "/rolled_back_to").filter(|to| Some(*to) == text(status, "/meta/version")) {
        lines.push(format!(
            "rolled back    to {version}: a repeated rollback stays there, `perch model deploy VERSION` moves on"
        ));
    }
    for refused in status.get("refused").and_then(Value::as_array).into_iter().flatten() {
        lines.push(terminal::red(&format!(
            "refused        {} ({}): {}",
            text(refused, "/version").unwrap_or("?"),
            text(refused, "/alias").unwrap_or("?"),
            text(refused, "/message").unwrap_or("no reason given")
        )));
    }
    for drifted in status.pointer("/drift/moved").and_then(Value::as_array).into_iter().flatten() {
        lines.push(format!("drift          {drifted}"));
    }
    lines.join("\n") + "\n"
}

/// Versions with what each of them is at present, newest first as the registry lists them.
fn versions(status: &Value) -> Vec<(String, Vec<&'static str>)> {
    let roles = [("champion", "/meta/version"), ("challenger", "/challenger/version"), ("previous", "/previous")];
    let names = status.get("versions").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    names
        .map(|name| {
            let of = roles.iter().filter(|(_, pointer)| text(status, pointer) == Some(name)).map(|(role, _)| *role);
            (name.to_owned(), of.collect())
        })
        .collect()
}

fn list_text(rows: &[(String, Vec<&'static str>)]) -> String {
    if rows.is_empty() {
        return "no version: `make ml-train` makes one\n".to_owned();
    }
    rows.iter().map(|(name, roles)| format!("{name}  {}\n", roles.join(", "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_model_and_refusals_are_said_in_words() {
        let text = status_text(&json!({
            "available": false, "meta": null, "challenger": null, "previous": null,
            "refused": [{"alias": "champion", "version": "v9", "message": "its hash differs", "reason": "hash"}],
        }));
        assert!(text.contains("champion       none") && text.contains("v9 (champion): its hash differs"), "{text}");
    }
    #[test]
    fn a_rollback_says_how_to_move_on_case_b6() {
        let status = |to: &str| {
            status_text(&json!({"available": true, "meta": {"version": "v1"}, "previous": "v2", "rolled_back_to": to}))
        };
        assert!(status("v1").contains("rolled back    to v1: a repeated rollback stays there"), "{}", status("v1"));
        assert!(!status("v0").contains("rolled back"), "something else serves since");
    }
}
