//! Label by label: where the sides disagree, how often, and on what.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Html;
use contract::analysis::{Analysis, Sample, Took};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::{PageError, Window};
use crate::console::{Console, clock};
use crate::guard::clock::now_ms;
use crate::guard::error_chain;

/// Pairs shown.
const PAIRS: usize = 20;
/// Labels in the matrix, the most frequent.
const LABELS: usize = 24;
/// Samples shown of one pair.
const SAMPLES: usize = 50;
/// How a side without an opinion is shown.
const NO_OPINION: &str = "no opinion";

#[derive(Debug, Default, Deserialize)]
pub(in crate::console) struct Asked {
    window: Option<String>,
    rule: Option<String>,
    model: Option<String>,
}

#[derive(Serialize)]
struct Labels {
    windows: [&'static str; 5],
    shown: &'static str,
    trouble: Option<String>,
    pair: Option<ShownPair>,
    totals: String,
    pairs: Vec<Row>,
    none: &'static str,
    matrix: Option<Matrix>,
    by_label: Vec<ByLabel>,
}

#[derive(Serialize)]
struct ShownPair {
    rule: String,
    model: String,
    words: String,
    samples: Vec<ShownSample>,
}

#[derive(Serialize)]
struct ShownSample {
    at: String,
    item: String,
    user: String,
    served: &'static str,
    confidence: String,
    version: String,
}

#[derive(Serialize)]
struct Row {
    rule: String,
    model: String,
    query: String,
    items: u64,
    percent: String,
    took: String,
}

#[derive(Serialize)]
struct Matrix {
    columns: Vec<String>,
    rows: Vec<MatrixRow>,
}

#[derive(Serialize)]
struct MatrixRow {
    label: String,
    cells: Vec<Cell>,
}

#[derive(Serialize)]
struct Cell {
    class: &'static str,
    text: String,
    /// To the samples of this pair, where it is one of those that disagree most.
    link: Option<String>,
    words: String,
}

#[derive(Serialize)]
struct ByLabel {
    label: String,
    both: u64,
    only_rule: u64,
    only_model: u64,
    percent: String,
}

/// Items by what the rules and what the model say.
type Pairs = BTreeMap<(String, String), u64>;

pub(in crate::console) async fn show(
    State(console): State<Console>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Html<String>, PageError> {
    let window = Window::named(asked.window.as_deref(), "24h");
    let since = now_ms().saturating_sub(window.seconds * 1_000);
    let found = match &console.0.scorer {
        Some(scorer) => scorer.analysis(since).await.map_err(|error| error_chain(&error)),
        None => Err("this guard was started without a scorer".to_owned()),
    };
    let (analysis, trouble) = match found {
        Ok(analysis) => (Some(analysis), None),
        Err(why) => (None, Some(format!("No data: {why}."))),
    };
    console.page(&headers, "labels.html", "Labels", view(window, &asked, analysis.as_ref(), trouble))
}

fn view(window: Window, asked: &Asked, analysis: Option<&Analysis>, trouble: Option<String>) -> Labels {
    let mut pairs = Pairs::new();
    for pair in analysis.iter().flat_map(|analysis| &analysis.pairs) {
        let name = |label: &Option<String>| label.clone().unwrap_or_else(|| NO_OPINION.to_owned());
        *pairs.entry((name(&pair.rule), name(&pair.model))).or_default() += pair.items;
    }
    let most = most(&pairs);
    let differ: u64 = most.iter().map(|(_, _, items)| items).sum();
    let agree: u64 =
        pairs.iter().filter(|((rule, model), _)| rule == model && rule != NO_OPINION).map(|(_, n)| n).sum();
    let pair = asked.rule.as_ref().zip(asked.model.as_ref());
    Labels {
        windows: Window::names(),
        shown: window.name,
        trouble,
        pair: pair.zip(analysis).map(|((rule, model), analysis)| shown_pair(rule, model, &analysis.samples)),
        totals: if pairs.is_empty() { String::new() } else { format!("{agree} items agree, {differ} differ") },
        pairs: most.iter().take(PAIRS).map(|pair| row(*pair, differ, analysis)).collect(),
        none: if pairs.is_empty() {
            "No data: nothing was compared in this time."
        } else {
            "The sides agree on every item."
        },
        matrix: (!pairs.is_empty()).then(|| matrix(&pairs, &most)),
        by_label: by_label(&pairs),
    }
}

/// The pairs on which both sides have an opinion and differ, the most frequent first.
fn most(pairs: &Pairs) -> Vec<(&str, &str, u64)> {
    let differs = |rule: &str, model: &str| rule != model && rule != NO_OPINION && model != NO_OPINION;
    let mut most: Vec<_> = pairs
        .iter()
        .map(|((rule, model), items)| (rule.as_str(), model.as_str(), *items))
        .filter(|(rule, model, _)| differs(rule, model))
        .collect();
    most.sort_by_key(|pair| std::cmp::Reverse(pair.2));
    most
}

fn row((rule, model, items): (&str, &str, u64), differ: u64, analysis: Option<&Analysis>) -> Row {
    let took = |took: Took| -> u64 {
        let of_pair = analysis.iter().flat_map(|analysis| &analysis.taken);
        of_pair.filter(|taken| taken.rule == rule && taken.model == model && taken.took == took).map(|t| t.times).sum()
    };
    let words = [(Took::Rule, "rules"), (Took::Model, "model"), (Took::Another, "another"), (Took::Nothing, "neither")];
    let took: Vec<String> = words
        .into_iter()
        .map(|(which, word)| (took(which), word))
        .filter(|(times, _)| *times > 0)
        .map(|(times, word)| format!("{word} {times}"))
        .collect();
    Row {
        rule: rule.to_owned(),
        model: model.to_owned(),
        query: query(rule, model),
        items,
        percent: percent(items, differ),
        took: if took.is_empty() { "no data".to_owned() } else { took.join(", ") },
    }
}

fn query(rule: &str, model: &str) -> String {
    // Only the query is used; a URL knows how to write one.
    let url = Url::parse_with_params("http://console/", [("rule", rule), ("model", model)]);
    url.ok().and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
}

#[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn percent(part: u64, all: u64) -> String {
    if all == 0 { "0".to_owned() } else { format!("{:.1}", part as f64 / all as f64 * 100.0) }
}

fn shown_pair(rule: &str, model: &str, samples: &[Sample]) -> ShownPair {
    let mut of_pair: Vec<&Sample> =
        samples.iter().filter(|sample| sample.rule_label == rule && sample.model_label == model).collect();
    of_pair.sort_by_key(|sample| std::cmp::Reverse(sample.at_ms));
    let shown = |sample: &&Sample| ShownSample {
        at: clock::stamp(sample.at_ms),
        item: sample.item.clone(),
        user: sample.user.clone().unwrap_or_else(|| "none".to_owned()),
        served: sample.served.as_str(),
        confidence: sample.model_confidence.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}")),
        version: sample.model_version.clone(),
    };
    ShownPair {
        rule: rule.to_owned(),
        model: model.to_owned(),
        words: "Drawn evenly from all disagreements since the model changed. Users are pseudonyms.".to_owned(),
        samples: of_pair.iter().take(SAMPLES).map(shown).collect(),
    }
}

/// The labels, the most frequent first, and the lack of one last.
fn labels(pairs: &Pairs) -> Vec<&str> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for ((rule, model), items) in pairs {
        *counts.entry(rule).or_default() += items;
        *counts.entry(model).or_default() += items;
    }
    let mut labels: Vec<(&str, u64)> = counts.into_iter().collect();
    labels.sort_by(|a, b| (a.0 == NO_OPINION).cmp(&(b.0 == NO_OPINION)).then(b.1.cmp(&a.1)));
    labels.into_iter().map(|(label, _)| label).collect()
}

fn matrix(pairs: &Pairs, most: &[(&str, &str, u64)]) -> Matrix {
    let mut labels = labels(pairs);
    labels.truncate(LABELS);
    let largest = most.first().map_or(0, |(_, _, items)| *items);
    let linked = most.get(..most.len().min(PAIRS)).unwrap_or_default();
    let cell = |rule: &str, model: &str| {
        let items = pairs.get(&(rule.to_owned(), model.to_owned())).copied().unwrap_or(0);
        let differs = rule != model && rule != NO_OPINION && model != NO_OPINION;
        let link = linked.iter().any(|(r, m, _)| *r == rule && *m == model).then(|| query(rule, model));
        Cell {
            class: if rule == model {
                "same"
            } else if differs {
                heat(items, largest)
            } else {
                ""
            },
            text: if items == 0 { String::new() } else { short(items) },
            link,
            words: format!("items with samples, rules {rule}, model {model}"),
        }
    };
    let row = |rule: &&str| MatrixRow {
        label: (*rule).to_owned(),
        cells: labels.iter().map(|model| cell(rule, model)).collect(),
    };
    Matrix { columns: labels.iter().map(|label| (*label).to_owned()).collect(), rows: labels.iter().map(row).collect() }
}

/// Four depths, by order of magnitude below the largest: a linear scale would show one pair and nothing else.
fn heat(items: u64, largest: u64) -> &'static str {
    match items {
        0 => "",
        _ if items.saturating_mul(3) > largest.saturating_mul(2) => "h4",
        _ if items.saturating_mul(4) > largest => "h3",
        _ if items.saturating_mul(16) > largest => "h2",
        _ => "h1",
    }
}

/// At most four characters: `999`, `12k`, `3M`.
fn short(items: u64) -> String {
    match items {
        0..1_000 => items.to_string(),
        1_000..1_000_000 => format!("{}k", items / 1_000),
        _ => format!("{}M", items / 1_000_000),
    }
}

fn by_label(pairs: &Pairs) -> Vec<ByLabel> {
    let count = |which: &dyn Fn(&str, &str) -> bool| -> u64 {
        pairs.iter().filter(|((rule, model), _)| which(rule, model)).map(|(_, items)| items).sum()
    };
    let of = |label: &str| {
        let both = count(&|rule, model| rule == label && model == label);
        let only_rule = count(&|rule, model| rule == label && model != label && model != NO_OPINION);
        let only_model = count(&|rule, model| model == label && rule != label && rule != NO_OPINION);
        let percent = percent(both, both + only_rule + only_model);
        ByLabel { label: label.to_owned(), both, only_rule, only_model, percent }
    };
    let judged = |line: &ByLabel| line.both + line.only_rule + line.only_model > 0;
    labels(pairs).into_iter().filter(|label| *label != NO_OPINION).map(of).filter(judged).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(all: &[(&str, &str, u64)]) -> Pairs {
        all.iter().map(|(rule, model, items)| (((*rule).to_owned(), (*model).to_owned()), *items)).collect()
    }

    #[test]
    fn an_abstention_is_no_disagreement() {
        let pairs = pairs(&[("a", "a", 5), ("a", "b", 2), (NO_OPINION, "b", 9), ("b", NO_OPINION, 1)]);
        assert_eq!(most(&pairs), [("a", "b", 2)]);
        let lines = by_label(&pairs);
        let a = lines.iter().find(|line| line.label == "a").unwrap();
        assert_eq!((a.both, a.only_rule, a.only_model, a.percent.as_str()), (5, 2, 0, "71.4"));
        assert_eq!(labels(&pairs).last(), Some(&NO_OPINION));
    }

    #[test]
    fn only_the_pairs_that_disagree_most_lead_to_samples() {
        let pairs = pairs(&[("a", "a", 5), ("a", "b.c", 2_500)]);
        let matrix = matrix(&pairs, &most(&pairs));
        let cells: Vec<_> = matrix.rows.iter().flat_map(|row| &row.cells).filter(|cell| cell.link.is_some()).collect();
        assert_eq!(cells.len(), 1);
        assert_eq!((cells[0].link.as_deref(), cells[0].text.as_str()), (Some("rule=a&model=b.c"), "2k"));
        assert_eq!(cells[0].class, "h4");
    }
}
