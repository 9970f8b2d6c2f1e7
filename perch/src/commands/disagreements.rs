//! `perch disagreements`: single items on which the arms disagree.

use std::collections::BTreeMap;

use contract::analysis::Sample;
use contract::percent::Percent;
use serde::{Deserialize, Serialize};

use super::scorer::ScorerUrl;
use super::terminal;

const PATH: &str = "/perch/v1/disagreements";

const EXAMPLES: &str = "\
Examples:
  perch disagreements                                         some items of each pair of labels
  perch disagreements --baseline travel --candidate coffee    one pair of labels
  perch disagreements --json | jq '.samples[].item'

The items are a uniform sample of all disagreements since the model changed. Users are shown as pseudonyms.

Exit codes: 0 success, 1 failure, 2 wrong usage";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Only items with this label of the baseline
    #[arg(long, value_name = "LABEL")]
    baseline: Option<String>,
    /// Only items with this label of the candidate
    #[arg(long, value_name = "LABEL")]
    candidate: Option<String>,
    /// Print at most this many items of each pair
    #[arg(long, value_name = "N", default_value_t = 3)]
    each: usize,
    #[command(flatten)]
    scorer: ScorerUrl,
    /// Print all items as JSON
    #[arg(long)]
    json: bool,
}

/// The scorer's sample of disagreements.
#[derive(Debug, Serialize, Deserialize)]
struct DisagreementSample {
    model_version: Option<String>,
    seen: u64,
    samples: Vec<Sample>,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<u8> {
    let mut sample: DisagreementSample = options.scorer.client()?.get(PATH, &[]).await?;
    let kept = sample.samples.len();
    sample.samples.retain(|item| {
        options.baseline.as_ref().is_none_or(|label| *label == item.rule_label)
            && options.candidate.as_ref().is_none_or(|label| *label == item.model_label)
    });
    if options.json {
        println!("{}", serde_json::to_string(&sample)?);
    } else {
        print!("{}", text(&sample, kept, options));
    }
    Ok(0)
}

/// The items by pair of labels; `kept` counts the samples before the options selected some.
fn text(sample: &DisagreementSample, kept: usize, options: &Options) -> String {
    let model = sample.model_version.as_deref().unwrap_or("no model");
    let selected = match (&options.baseline, &options.candidate) {
        (None, None) => String::new(),
        (Some(_), Some(_)) => format!(", {} of them for this pair", sample.samples.len()),
        _ => format!(", {} of them with this label", sample.samples.len()),
    };
    let mut lines = vec![format!("{} disagreements with {model}, {kept} kept as samples{selected}", sample.seen)];
    let mut pairs: BTreeMap<(&str, &str), Vec<&Sample>> = BTreeMap::new();
    for item in &sample.samples {
        pairs.entry((&item.rule_label, &item.model_label)).or_default().push(item);
    }
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    pairs.sort_by_key(|(pair, samples)| (std::cmp::Reverse(samples.len()), *pair));
    for ((rule, model), samples) in pairs {
        lines.push(terminal::bold(&format!("\nbaseline {rule}, candidate {model}  ({} kept)", samples.len())));
        for item in samples.iter().take(options.each) {
            let confidence = item.model_confidence.map(|value| format!(", confidence {:.0}", Percent(value)));
            let user = item.user.as_deref().map(|user| format!("  user {user}")).unwrap_or_default();
            let served = format!("{} served{}", item.served.as_str(), confidence.unwrap_or_default());
            lines.push(format!("  item {:<12} {served}{user}", item.item));
        }
    }
    lines.join("\n") + "\n"
}
