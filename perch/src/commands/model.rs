//! `perch model`: the models in the scorer's registry, and their deployment.

use clap::Subcommand;
use clients::Scorer;
use clients::scorer::STATUS_PATH;
use serde_json::{Value, json};

use super::operator::TokenFile;
use super::scorer::ScorerUrl;
use super::terminal;

const DEPLOY: &str = "/ml/v2/model/deploy";
const ROLLBACK: &str = "/ml/v2/model/rollback";
const CHALLENGE: &str = "/ml/v2/model/challenge";

const EXAMPLES: &str = "\
Examples:
  perch model status                     champion with its F1, challenger, previous and rejected models
  perch model list                       every version in the registry
  perch model challenge 20261125-0100    evaluate a version beside the champion, without serving it
  perch model deploy 20261125-0100       serve a version, if the policy allows it
                                         (macro F1 of at least 0.72, or at least 1.02 times the champion's)
  perch model rollback                   return to the previous version; running it twice does not go further back

Words: the champion is the model that serves; a challenger is evaluated on the same requests and never served.
Deploy, rollback and challenge send the operator's token (--token-file) to the scorer.

Exit codes: 0 success, 1 failure, 2 wrong usage, 3 (status) no model is serving, or one was rejected";

/// Exit code of a status without a serving model or with a rejected one.
const FAULT: u8 = 3;

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Show champion, challenger, previous and rejected models
    Status {
        #[command(flatten)]
        at: Common,
    },
    /// List every version in the registry
    List {
        #[command(flatten)]
        at: Common,
    },
    /// Serve a version, if it passes its checks and the policy
    Deploy {
        /// The version, as `perch model list` names it
        #[arg(id = "model_version", value_name = "VERSION")]
        version: String,
        /// Ignore the policy; the checks still apply
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        at: Common,
        #[command(flatten)]
        token: TokenFile,
    },
    /// Return to the previous version; running it twice does not go further back. This changes the model; `perch
    /// rollback` changes the share
    Rollback {
        #[command(flatten)]
        at: Common,
        #[command(flatten)]
        token: TokenFile,
    },
    /// Evaluate a version beside the champion, without serving it
    Challenge {
        /// The version to evaluate; omit it to end the present evaluation
        #[arg(id = "model_version", value_name = "VERSION")]
        version: Option<String>,
        #[command(flatten)]
        at: Common,
        #[command(flatten)]
        token: TokenFile,
    },
}

/// Options of every subcommand.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    #[command(flatten)]
    scorer: ScorerUrl,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Status { at } => {
            let status = status(&at.scorer.client()?).await?;
            at.print(&status, status_text);
            let refused = status.get("refused").and_then(Value::as_array).is_some_and(|refused| !refused.is_empty());
            let serves = status.get("available").and_then(Value::as_bool) == Some(true);
            Ok(if serves && !refused { 0 } else { FAULT })
        }
        Command::List { at } => {
            let status = status(&at.scorer.client()?).await?;
            let rows = versions(&status);
            let document =
                Value::Array(rows.iter().map(|(name, roles)| json!({"version": name, "roles": roles})).collect());
            at.print(&document, |_| list_text(&rows));
            Ok(0)
        }
        Command::Deploy { version, force, at, token } => {
            change(&at, &token, DEPLOY, &json!({"version": version, "force": force})).await
        }
        Command::Rollback { at, token } => change(&at, &token, ROLLBACK, &json!({})).await,
        Command::Challenge { version, at, token } => change(&at, &token, CHALLENGE, &json!({"version": version})).await,
    }
}

async fn status(scorer: &Scorer) -> anyhow::Result<Value> {
    Ok(scorer.get(STATUS_PATH, &[]).await?)
}

/// Changes the model, and prints the serving version before and after.
async fn change(at: &Common, token: &TokenFile, path: &str, body: &Value) -> anyhow::Result<u8> {
    let scorer = at.scorer.client()?;
    let token = token.token()?;
    let before = serving(&status(&scorer).await?);
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
        let f1 = f1.map_or_else(|| "F1 unknown".to_owned(), |f1| format!("F1 {f1:.4}"));
        let classes = status.pointer(&format!("/{part}/class_count")).and_then(Value::as_u64).unwrap_or(0);
        Some(format!(
            "{version}  {f1}, {classes} classes, trained {}",
            text(status, &format!("/{part}/created")).unwrap_or("?")
        ))
    };
    let champion =
        of("meta").unwrap_or_else(|| "none: every user gets the baseline until a model is deployed".to_owned());
    let mut lines = vec![
        format!("champion       {champion}"),
        format!("challenger     {}", of("challenger").unwrap_or_else(|| "none".to_owned())),
        format!("previous       {}", text(status, "/previous").unwrap_or("none")),
    ];
    if let Some(version) = text(status, "/rolled_back_to").filter(|to| Some(*to) == text(status, "/meta/version")) {
        lines.push(format!(
            "rolled back    to {version}: running it twice does not go further back; `perch model deploy` serves \
             another version"
        ));
    }
    for refused in status.get("refused").and_then(Value::as_array).into_iter().flatten() {
        lines.push(terminal::red(&format!(
            "rejected       {} ({}): {}",
            text(refused, "/version").unwrap_or("?"),
            text(refused, "/alias").unwrap_or("?"),
            text(refused, "/message").unwrap_or("no reason given")
        )));
    }
    if let Some(summary) = text(status, "/drift/summary") {
        lines.push(format!("drift          {summary}"));
    }
    lines.join("\n") + "\n"
}

/// Versions with their roles, in the registry's order, the newest first.
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
        return "the registry is empty: `make ml-train` trains a model\n".to_owned();
    }
    rows.iter().map(|(name, roles)| format!("{name}  {}\n", roles.join(", "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_model_and_rejections_are_printed() {
        let text = status_text(&json!({
            "available": false, "meta": null, "challenger": null, "previous": null,
            "refused": [{"alias": "champion", "version": "v9", "message": "its hash differs", "reason": "hash"}],
        }));
        assert!(text.contains("champion       none") && text.contains("v9 (champion): its hash differs"), "{text}");
    }

    #[test]
    fn the_summary_of_the_drift_is_printed() {
        let text =
            status_text(&json!({"meta": {"version": "v1"}, "drift": {"state": "drifted", "summary": "mcc moved"}}));
        assert!(text.contains("drift          mcc moved"), "{text}");
    }

    #[test]
    fn a_rollback_shows_how_to_continue_case_b6() {
        let status = |to: &str| {
            status_text(&json!({"available": true, "meta": {"version": "v1"}, "previous": "v2", "rolled_back_to": to}))
        };
        assert!(
            status("v1").contains("rolled back    to v1: running it twice does not go further back"),
            "{}",
            status("v1")
        );
        assert!(!status("v0").contains("rolled back"), "another version was deployed since");
    }
}
