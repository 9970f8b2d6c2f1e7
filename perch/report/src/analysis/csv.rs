//! The figures as CSV (RFC 4180), one table at a time.

use super::report::{Accept, Report};

/// A table of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Table {
    /// Every pair of labels: baseline, candidate, served, items; empty where an arm gave no label
    Pairs,
    /// Items by label: label, both, only_baseline, only_candidate, neither
    Labels,
    /// Accept rates by arm, over all responses and where the arms disagree
    Accept,
    /// Labels that users accepted, for the most frequent disagreements
    Taken,
}

/// The table with its heading.
#[must_use]
pub fn render(report: &Report, table: Table) -> String {
    let rows = match table {
        Table::Pairs => pairs(report),
        Table::Labels => labels(report),
        Table::Accept => accept(report),
        Table::Taken => accepted(report),
    };
    rows.iter().map(|row| row.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(",") + "\r\n").collect()
}

type Rows = Vec<Vec<String>>;

fn heading(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn pairs(report: &Report) -> Rows {
    let mut rows = vec![heading(&["baseline", "candidate", "served", "items"])];
    rows.extend(report.pairs.iter().map(|pair| {
        let label = |label: &Option<String>| label.clone().unwrap_or_default();
        vec![label(&pair.rule), label(&pair.model), pair.served.as_str().to_owned(), pair.items.to_string()]
    }));
    rows
}

fn labels(report: &Report) -> Rows {
    let mut rows = vec![heading(&["label", "both", "only_baseline", "only_candidate", "neither"])];
    rows.extend(report.labels.iter().map(|label| {
        let counts = [label.both, label.only_rule, label.only_model, label.neither];
        std::iter::once(label.label.clone()).chain(counts.map(|count| count.to_string())).collect()
    }));
    rows
}

fn accept(report: &Report) -> Rows {
    let mut rows = vec![heading(&["responses", "arm", "accept_rate", "lower", "upper", "users", "feedbacks"])];
    let mut add = |responses: &str, accept: &Accept| {
        for ((arm, estimate), feedbacks) in
            [("baseline", accept.rule), ("candidate", accept.model)].into_iter().zip(accept.feedbacks)
        {
            let mut row = vec![responses.to_owned(), arm.to_owned()];
            // No data is an empty field, not 0.
            row.extend(estimate.map_or_else(
                || vec![String::new(); 4],
                |one| [one.value, one.interval[0], one.interval[1], one.units].map(|value| value.to_string()).to_vec(),
            ));
            row.push(feedbacks.to_string());
            rows.push(row);
        }
    };
    add("all", &report.accept);
    add("disputed", &report.disputed);
    rows
}

fn accepted(report: &Report) -> Rows {
    let mut rows = vec![heading(&[
        "baseline",
        "candidate",
        "items",
        "accepted_baseline",
        "accepted_candidate",
        "accepted_another",
        "accepted_nothing",
    ])];
    rows.extend(report.disagreements.iter().map(|pair| {
        let taken = pair.taken;
        let counts = [pair.items, taken.rule, taken.model, taken.another, taken.nothing];
        [pair.rule.clone(), pair.model.clone()].into_iter().chain(counts.map(|count| count.to_string())).collect()
    }));
    rows
}

/// A field that a spreadsheet would take for a formula is marked as text: labels come from an application's responses.
fn quoted(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']) && field.parse::<f64>().is_err();
    let field = if formula { format!("'{field}") } else { field.to_owned() };
    if field.contains([',', '"', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::analysis;
    use super::*;

    #[test]
    fn each_table_has_its_heading_and_its_rows() {
        let report = Report::of(analysis(), None);
        let pairs = render(&report, Table::Pairs);
        assert!(
            pairs.starts_with("baseline,candidate,served,items\r\n") && pairs.contains("travel,,baseline,7\r\n"),
            "{pairs}"
        );
        assert!(render(&report, Table::Labels).contains("coffee,560,20,0,827\r\n"));
        let accept = render(&report, Table::Accept);
        assert!(accept.contains("disputed,candidate,,,,,0\r\n"), "no data is empty: {accept}");
        assert!(render(&report, Table::Taken).contains("travel,fuel,120,10,30,0,1\r\n"));
    }

    #[test]
    fn awkward_labels_stay_one_field_and_are_not_a_formula() {
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(quoted("=HYPERLINK()"), "'=HYPERLINK()");
        assert_eq!(quoted("-0.5"), "-0.5");
    }
}
