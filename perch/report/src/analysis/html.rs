//! The figures as one page that needs nothing else: no script, no font, no picture from anywhere.

use super::report::{Accept, Report};
use super::{chart, text};

const STYLE: &str = include_str!("report.css");

/// The page.
#[must_use]
pub fn render(report: &Report) -> String {
    let tiles = [
        ("Agreement", text::percent(report.agreement)),
        ("Cohen's kappa", text::kappa(report.kappa)),
        ("Accept rate, rules", text::percent(report.accept.rule)),
        ("Accept rate, model", text::percent(report.accept.model)),
    ];
    let tiles: String = tiles
        .iter()
        .map(|(name, value)| format!("<div class=\"tile\"><dt>{name}</dt><dd>{}</dd></div>", escape(value)))
        .collect();
    let mismatch = report.ratio.as_ref().is_some_and(|ratio| ratio.mismatch);
    let sections = [
        section("Accept rate by source", &(chart::accept(report) + &effects(report))),
        section("Whose answer people took where the sides disagree", &chart::taken(report)),
        section("Agreement by label", &(chart::labels(report) + &labels(report))),
        section("What the rules say against what the model says", &chart::heat_map(report)),
        section("Pairs that disagree most", &pairs(report)),
    ]
    .concat();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>Perch: rules and model compared</title>\
         <style>{STYLE}</style></head><body><main><h1>Rules and model compared</h1><p>{}</p>\
         <dl class=\"tiles\">{tiles}</dl><p class=\"{}\">Sample ratio: {}</p>{sections}\
         <footer>Intervals are at 95 %, users or groups of users being the units. Kappa's variance: Fleiss, Cohen &amp; \
         Everitt 1969, times the design effect of agreement. Rates: Deng, Knoblich &amp; Lu 2018.</footer>\
         </main></body></html>\n",
        escape(&text::span(report)),
        if mismatch { "bad" } else { "plain" },
        escape(&text::ratio(report)),
    )
}

fn section(title: &str, body: &str) -> String {
    format!("<section><h2>{}</h2>{body}</section>", escape(title))
}

fn effects(report: &Report) -> String {
    let line = |name: &str, accept: &Accept| format!("<li>{name}: {}</li>", escape(&text::effect(accept)));
    format!("<ul>{}{}</ul>", line("All answers", &report.accept), line("Where they disagree", &report.disputed))
}

fn labels(report: &Report) -> String {
    let rows = report.labels.iter().map(|label| {
        let counts = [label.both, label.only_rule, label.only_model, label.neither].map(|count| count.to_string());
        std::iter::once(label.label.clone()).chain(counts).collect()
    });
    table(&["label", "both", "only rules", "only model", "neither"], rows)
}

fn pairs(report: &Report) -> String {
    let rows = report.disagreements.iter().map(|pair| {
        let samples: Vec<String> = pair
            .samples
            .iter()
            .map(|sample| {
                let sure = sample.model_confidence.map(|sure| format!(" at {:.0} %", sure * 100.0)).unwrap_or_default();
                format!("{} ({} answered, model {}{sure})", sample.item, sample.served.as_str(), sample.model_version)
            })
            .collect();
        vec![
            pair.rule.clone(),
            pair.model.clone(),
            pair.items.to_string(),
            format!("{:.1} %", pair.share * 100.0),
            text::taken(pair.taken),
            samples.join("; "),
        ]
    });
    table(&["rules say", "model says", "items", "share", "people took", "samples"], rows)
}

fn table(heading: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let cells = |row: &[String]| row.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect::<String>();
    let body: String = rows.map(|row| format!("<tr>{}</tr>", cells(&row))).collect();
    if body.is_empty() {
        return "<p class=\"none\">no data</p>".to_owned();
    }
    let heading: String = heading.iter().map(|name| format!("<th scope=\"col\">{name}</th>")).collect();
    format!("<div class=\"scroll\"><table><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table></div>")
}

/// Text as HTML shows it: labels come from an application's answers.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::analysis;
    use super::*;
    use contract::analysis::{Analysis, Pair};
    use contract::evidence::{Clusters, Feedback};
    use contract::names::Arm;

    #[test]
    fn the_page_has_its_charts_and_asks_nobody_for_anything() {
        let page = render(&Report::of(analysis(), Some(0.1)));
        assert_eq!(page.matches("<svg").count(), 4);
        for outside in ["http:", "https:", "//", "src=", "<script", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("prefers-color-scheme: dark"));
        assert!(page.contains("+20.0 points") && page.contains("rules travel, model fuel: 120 items"));
    }

    #[test]
    fn a_label_is_text_whatever_it_holds() {
        let evil = "<script>alert(1)</script>\"'";
        let pair = Pair { rule: Some(evil.into()), model: Some("a".into()), served: Arm::Baseline, items: 9 };
        let page = render(&Report::of(Analysis { pairs: vec![pair], ..analysis() }, None));
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    }

    #[test]
    fn an_empty_report_says_that_there_is_no_data() {
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
        let page = render(&Report::of(empty, None));
        assert!(page.matches("no data").count() >= 8 && !page.contains("NaN"), "{page}");
    }
}
