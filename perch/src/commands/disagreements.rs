//! `perch disagreements`: single cases to look at.

use std::collections::BTreeMap;

use contract::analysis::Sample;
use contract::percent::Percent;
use serde::{Deserialize, Serialize};

use super::scorer::At;
use super::terminal;

const PATH: &str = "/perch/v1/disagreements";

const EXAMPLES: &str = "\
Examples:
  perch disagreements                               some of each pair of labels
  perch disagreements --rule travel --model coffee  one pair
  perch disagreements --json | jq '.samples[].item'

What is shown is drawn evenly from all disagreements since the model changed. Users are pseudonyms.

Exit codes: 0 done, 1 it could not be done, 2 the command line is wrong";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Only where the rules say this
    #[arg(long, value_name = "LABEL")]
    rule: Option<String>,
    /// Only where the model says this
    #[arg(long, value_name = "LABEL")]
    model: Option<String>,
    /// Most cases of a pair
    #[arg(long, value_name = "N", default_value_t = 3)]
    each: usize,
    #[command(flatten)]
    scorer: At,
    /// Print JSON, all cases
    #[arg(long)]
    json: bool,
}

/// What the scorer keeps.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    model_version: Option<String>,
    seen: u64,
    samples: Vec<Sample>,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<u8> {
    let mut kept: Kept = options.scorer.client()?.get(PATH, &[]).await?;
    kept.samples.retain(|sample| {
        options.rule.as_ref().is_none_or(|label| *label == sample.rule_label)
            && options.model.as_ref().is_none_or(|label| *label == sample.model_label)
    });
    if options.json {
        println!("{}", serde_json::to_string(&kept)?);
    } else {
        print!("{}", text(&kept, options.each));
    }
    Ok(0)
}

fn text(kept: &Kept, each: usize) -> String {
    let model = kept.model_version.as_deref().unwrap_or("no model");
    let mut lines = vec![format!("{} disagreements with {model}, {} of them kept", kept.seen, kept.samples.len())];
    let mut pairs: BTreeMap<(&str, &str), Vec<&Sample>> = BTreeMap::new();
    for sample in &kept.samples {
        pairs.entry((&sample.rule_label, &sample.model_label)).or_default().push(sample);
    }
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    pairs.sort_by_key(|(pair, samples)| (std::cmp::Reverse(samples.len()), *pair));
    for ((rule, model), samples) in pairs {
        lines.push(terminal::bold(&format!("\nrules {rule}, model {model}  ({} kept)", samples.len())));
        for sample in samples.iter().take(each) {
            let sure = sample.model_confidence.map(|sure| format!(", {:.0} sure", Percent(sure))).unwrap_or_default();
            let user = sample.user.as_deref().map(|user| format!("  user {user}")).unwrap_or_default();
            lines.push(format!("  item {:<12} {} answered{sure}{user}", sample.item, sample.served.as_str()));
        }
    }
    lines.join("\n") + "\n"
}
