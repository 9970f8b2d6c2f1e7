//! The figures as one page that needs nothing else: no script, no font, no picture from anywhere.
//!
//! The template escapes everything that it is given: labels come from an application's responses.

use contract::percent::Percent;
use minijinja::value::Serde;
use minijinja::{Environment, Error, UndefinedBehavior};
use serde::Serialize;

use super::chart::{self, Chart};
use super::report::{Disagreement, Report};
use super::text;

const TEMPLATE: &str = "report.html";

/// The page as the template takes it.
#[derive(Serialize)]
struct Page {
    style: &'static str,
    span: String,
    tiles: [(&'static str, String); 4],
    mismatch: bool,
    ratio: String,
    accept: Chart,
    effects: [(&'static str, String); 2],
    taken: Chart,
    labels: Chart,
    label_table: Table,
    heat_map: Chart,
    disagreements: Table,
}

#[derive(Serialize)]
struct Table {
    heading: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

/// The page.
///
/// # Errors
/// When the template is wrong, which a test would show.
pub fn render(report: &Report) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // The name's ending makes the environment escape.
    environment.add_template(TEMPLATE, include_str!("report.html"))?;
    environment.get_template(TEMPLATE)?.render(Serde(page(report)))
}

fn page(report: &Report) -> Page {
    Page {
        style: include_str!("report.css"),
        span: text::span(report),
        tiles: [
            ("Agreement", text::percent(report.agreement)),
            ("Cohen's kappa", text::kappa(report.kappa)),
            ("Accept rate, baseline", text::percent(report.accept.rule)),
            ("Accept rate, candidate", text::percent(report.accept.model)),
        ],
        mismatch: report.ratio.as_ref().is_some_and(|ratio| ratio.mismatch),
        ratio: text::ratio(report),
        accept: chart::accept(report),
        effects: [
            ("All responses", text::effect(&report.accept)),
            ("Where the arms disagree", text::effect(&report.disputed)),
        ],
        taken: chart::accepted(report),
        labels: chart::labels(report),
        label_table: labels(report),
        heat_map: chart::heat_map(report),
        disagreements: disagreements(report),
    }
}

fn labels(report: &Report) -> Table {
    let rows = report.labels.iter().map(|label| {
        let counts = [label.both, label.only_rule, label.only_model, label.neither].map(|count| count.to_string());
        std::iter::once(label.label.clone()).chain(counts).collect()
    });
    Table { heading: &["label", "both", "only baseline", "only candidate", "neither"], rows: rows.collect() }
}

fn disagreements(report: &Report) -> Table {
    let row = |pair: &Disagreement| {
        let samples = pair.samples.iter().map(|sample| {
            let confidence =
                sample.model_confidence.map(|confidence| format!(", confidence {:.0}", Percent(confidence)));
            let model = format!("{}{}", sample.model_version, confidence.unwrap_or_default());
            format!("{} ({} served, model {model})", sample.item, sample.served.as_str())
        });
        vec![
            pair.rule.clone(),
            pair.model.clone(),
            pair.items.to_string(),
            format!("{:.1}", Percent(pair.share)),
            text::accepted(pair.taken),
            samples.collect::<Vec<_>>().join("; "),
        ]
    };
    Table {
        heading: &["baseline", "candidate", "items", "share", "users accepted", "samples"],
        rows: report.disagreements.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::analysis;
    use super::*;
    use contract::analysis::{Analysis, Pair};
    use contract::evidence::{Clusters, Feedback};
    use contract::names::Arm;

    #[test]
    fn the_page_has_its_charts_and_loads_nothing_from_elsewhere() {
        let page = render(&Report::of(analysis(), Some(0.1))).unwrap();
        assert_eq!(page.matches("<svg").count(), 4);
        for outside in ["http:", "https:", "//", "src=", "<script", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("prefers-color-scheme: dark"));
        assert!(page.contains("+20.0 points") && page.contains("baseline travel, candidate fuel: 120 items"));
    }

    #[test]
    fn a_label_is_text_whatever_it_holds() {
        let evil = "<script>alert(1)</script>\"'";
        let pair = Pair { rule: Some(evil.into()), model: Some("a".into()), served: Arm::Baseline, items: 9 };
        let page = render(&Report::of(Analysis { pairs: vec![pair], ..analysis() }, None)).unwrap();
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    }

    #[test]
    fn an_empty_report_shows_no_data() {
        let empty = Analysis {
            pairs: vec![],
            agreement: Clusters::default(),
            users: None,
            feedback: Feedback::default(),
            disputed: Feedback::default(),
            taken: vec![],
            samples: vec![],
            ..analysis()
        };
        let page = render(&Report::of(empty, None)).unwrap();
        assert!(page.matches("no data").count() >= 8 && !page.contains("NaN"), "{page}");
    }
}
