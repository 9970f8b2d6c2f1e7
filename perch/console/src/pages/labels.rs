//! The page `/labels`: disagreements by pair of labels, with samples.

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Html;
use clients::error_chain;
use contract::analysis::{Analysis, Sample};
use contract::percent::Percent;
use guard_runtime::clock::now_ms;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::{PageError, Window};
use crate::{Console, clock};
use ::report::analysis::pairs::LabelPairs;
use ::report::analysis::report::{Disagreement, Report};
use ::report::analysis::text;

/// Labels in the matrix, the most frequent.
const LABELS: usize = 24;
/// Samples shown of one pair.
const SAMPLES: usize = 50;
/// How the lack of a label is shown.
const NO_LABEL: &str = "no label";

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Parameters {
    window: Option<String>,
    rule: Option<String>,
    model: Option<String>,
}

#[derive(Serialize)]
struct Labels {
    windows: [&'static str; 5],
    shown: &'static str,
    error: Option<String>,
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
    caption: String,
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
    /// Of all disagreements, 0 to 1.
    fraction: f64,
    percent: String,
    accepted: String,
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
    /// To the samples of this pair, if it is one of the most frequent disagreements.
    link: Option<String>,
    caption: String,
}

#[derive(Serialize)]
struct ByLabel {
    label: String,
    both: u64,
    only_rule: u64,
    only_model: u64,
    /// Of the items to which at least one arm gave this label and both gave some, 0 to 1.
    fraction: f64,
    percent: String,
}

pub(crate) async fn show(
    State(console): State<Console>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Html<String>, PageError> {
    let window = Window::named(parameters.window.as_deref(), "24h");
    let since = now_ms().saturating_sub(window.seconds * 1_000);
    let found = match &console.0.scorer {
        Some(scorer) => scorer
            .analysis(&[(contract::analysis::SINCE, since.to_string())])
            .await
            .map_err(|error| error_chain(&error)),
        None => Err("this guard was started without a scorer".to_owned()),
    };
    let (analysis, error) = match found {
        Ok(analysis) => (Some(analysis), None),
        Err(reason) => (None, Some(format!("No data: {reason}."))),
    };
    console.page(&headers, "labels.html", "Labels", view(window, &parameters, analysis, error))
}

fn view(window: Window, parameters: &Parameters, analysis: Option<Analysis>, error: Option<String>) -> Labels {
    let pair = parameters.rule.as_ref().zip(parameters.model.as_ref()).zip(analysis.as_ref());
    let pair = pair.map(|((rule, model), analysis)| shown_pair(rule, model, &analysis.samples));
    let report = analysis.map(|analysis| Report::of(analysis, None));
    let cells = report.as_ref().map(|report| report.pairs.as_slice()).unwrap_or_default();
    let pairs = LabelPairs::of(cells);
    let most = report.as_ref().map(|report| report.disagreements.as_slice()).unwrap_or_default();
    let items = report.as_ref().filter(|_| !pairs.is_empty()).map(|report| report.items);
    Labels {
        windows: Window::names(),
        shown: window.name,
        error,
        pair,
        totals: items.map(|of| format!("{} items agree, {} disagree", of.agree, of.disagree)).unwrap_or_default(),
        pairs: most.iter().map(row).collect(),
        none: if pairs.is_empty() {
            "No data: nothing was compared in this period."
        } else {
            "The arms agree on every item."
        },
        matrix: (!pairs.is_empty()).then(|| matrix(&pairs, most)),
        by_label: by_label(&pairs),
    }
}

fn row(pair: &Disagreement) -> Row {
    Row {
        rule: pair.rule.clone(),
        model: pair.model.clone(),
        query: query(&pair.rule, &pair.model),
        items: pair.items,
        fraction: pair.share,
        percent: format!("{:.1}", Percent(pair.share)),
        accepted: text::accepted(pair.taken),
    }
}

fn query(rule: &str, model: &str) -> String {
    // Only the query is used; a URL knows how to write one.
    let url = Url::parse_with_params("http://console/", [("rule", rule), ("model", model)]);
    url.ok().and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
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
        caption: "A uniform sample of all disagreements since the model changed. Users are pseudonyms.".to_owned(),
        samples: of_pair.iter().take(SAMPLES).map(shown).collect(),
    }
}

fn matrix(pairs: &LabelPairs<'_>, most: &[Disagreement]) -> Matrix {
    let mut labels = pairs.labels();
    labels.truncate(LABELS);
    let name = |label: Option<&str>| label.unwrap_or(NO_LABEL).to_owned();
    let largest = most.first().map_or(0, |pair| pair.items);
    let cell = |rule: Option<&str>, model: Option<&str>| {
        let items = pairs.items(rule, model);
        let both = rule.zip(model);
        let linked = both.filter(|(rule, model)| most.iter().any(|pair| pair.rule == *rule && pair.model == *model));
        Cell {
            class: match both {
                _ if rule == model => "same",
                Some(_) => heat(items, largest),
                None => "",
            },
            text: if items == 0 { String::new() } else { short(items) },
            link: linked.map(|(rule, model)| query(rule, model)),
            caption: format!("items with samples, baseline {}, candidate {}", name(rule), name(model)),
        }
    };
    let row = |rule: &Option<&str>| MatrixRow {
        label: name(*rule),
        cells: labels.iter().map(|model| cell(*rule, *model)).collect(),
    };
    Matrix { columns: labels.iter().map(|label| name(*label)).collect(), rows: labels.iter().map(row).collect() }
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

/// Items that both arms labelled, by label, and the fraction of them on which the arms agree.
fn by_label(pairs: &LabelPairs<'_>) -> Vec<ByLabel> {
    let disagreements = pairs.disagreements();
    let line = |label: &str| {
        let both = pairs.items(Some(label), Some(label));
        let (mut only_rule, mut only_model) = (0, 0);
        for (rule, model, items) in &disagreements {
            only_rule += if *rule == label { *items } else { 0 };
            only_model += if *model == label { *items } else { 0 };
        }
        let compared = both + only_rule + only_model;
        #[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
        let fraction = both as f64 / compared.max(1) as f64;
        let percent = format!("{:.1}", Percent(fraction));
        (compared > 0).then(|| ByLabel { label: label.to_owned(), both, only_rule, only_model, fraction, percent })
    };
    pairs.labels().into_iter().flatten().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use contract::analysis::Pair;
    use contract::names::Arm;

    use super::*;

    fn pairs(all: &[(Option<&str>, Option<&str>, u64)]) -> Vec<Pair> {
        let pair = |(rule, model, items): &(Option<&str>, Option<&str>, u64)| Pair {
            rule: rule.map(str::to_owned),
            model: model.map(str::to_owned),
            served: Arm::Baseline,
            items: *items,
        };
        all.iter().map(pair).collect()
    }

    #[test]
    fn an_abstention_is_not_a_disagreement() {
        let (a, b) = (Some("a"), Some("b"));
        let pairs = pairs(&[(a, a, 5), (a, b, 2), (None, b, 9), (b, None, 1)]);
        let pairs = LabelPairs::of(&pairs);
        assert_eq!(pairs.disagreements(), [("a", "b", 2)]);
        let lines = by_label(&pairs);
        let a = lines.iter().find(|line| line.label == "a").unwrap();
        assert_eq!((a.both, a.only_rule, a.only_model, a.percent.as_str()), (5, 2, 0, "71.4%"));
        assert_eq!(pairs.labels().last(), Some(&None));
    }

    #[test]
    fn only_frequent_disagreements_link_to_samples() {
        let pairs = pairs(&[(Some("a"), Some("a"), 5), (Some("a"), Some("b.c"), 2_500)]);
        let most = Disagreement {
            rule: "a".into(),
            model: "b.c".into(),
            items: 2_500,
            share: 1.0,
            taken: Default::default(),
            samples: vec![],
        };
        let matrix = matrix(&LabelPairs::of(&pairs), &[most]);
        let cells: Vec<_> = matrix.rows.iter().flat_map(|row| &row.cells).filter(|cell| cell.link.is_some()).collect();
        assert_eq!(cells.len(), 1);
        assert_eq!((cells[0].link.as_deref(), cells[0].text.as_str()), (Some("rule=a&model=b.c"), "2k"));
        assert_eq!(cells[0].class, "h4");
    }
}
