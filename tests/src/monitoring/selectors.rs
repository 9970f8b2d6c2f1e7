//! The series that a query reads.

use std::convert::Infallible;

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};

/// One selector of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The metric's name; empty where the selector does not say one.
    pub metric: String,
    /// Its label matchers.
    pub matchers: Vec<Matcher>,
    /// An expression that is not empty as long as the selector finds anything.
    pub probe: String,
    /// It stands in `absent(…)`: finding nothing is what it is for.
    pub absent: bool,
}

impl Selector {
    fn new(selector: &VectorSelector, probe: String, absent: bool) -> Self {
        Self {
            metric: selector.name.clone().unwrap_or_default(),
            matchers: selector.matchers.matchers.clone(),
            probe,
            absent,
        }
    }
}

/// Of `matcher`, the parts that can match none of `values`: a misspelt value, or one alternative of a pattern.
#[must_use]
pub fn impossible<'a>(matcher: &'a Matcher, values: &[&str]) -> Vec<&'a str> {
    let alternatives: Vec<&str> = match matcher.op {
        MatchOp::Equal | MatchOp::NotEqual => vec![&matcher.value],
        MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').collect(),
    };
    let possible = |pattern: &str| match pattern.strip_suffix(".*") {
        Some(prefix) => values.iter().any(|value| value.starts_with(prefix)),
        None => values.contains(&pattern),
    };
    alternatives.into_iter().filter(|pattern| !possible(pattern)).collect()
}

/// The selectors of `expr`, in its order.
///
/// # Errors
/// When it is not PromQL.
pub fn of(expr: &str) -> anyhow::Result<Vec<Selector>> {
    let parsed = parser::parse(expr).map_err(|fault| anyhow::anyhow!("{expr}: {fault}"))?;
    let mut found = Found::default();
    match walk_expr(&mut found, &parsed) {
        Ok(_) => Ok(found.selectors),
        Err(never) => match never {},
    }
}

#[derive(Default)]
struct Found {
    selectors: Vec<Selector>,
    in_absent: usize,
}

impl ExprVisitor for Found {
    type Error = Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Infallible> {
        let absent = self.in_absent > 0;
        match expr {
            Expr::Call(call) if call.func.name.starts_with("absent") => self.in_absent += 1,
            Expr::VectorSelector(found) => self.selectors.push(Selector::new(found, found.to_string(), absent)),
            Expr::MatrixSelector(found) => {
                self.selectors.push(Selector::new(&found.vs, format!("last_over_time({found})"), absent));
            }
            _ => {}
        }
        Ok(true)
    }

    fn post_visit(&mut self, expr: &Expr) -> Result<bool, Infallible> {
        if let Expr::Call(call) = expr
            && call.func.name.starts_with("absent")
        {
            self.in_absent -= 1;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selector_is_found_with_its_window_and_offset() {
        let expr = r#"sum(rate(a{x="1",y=~"2|3"}[5m] offset 1d)) / (b > 0) unless absent(c)"#;
        let found = of(expr).unwrap();
        let probes: Vec<_> = found.iter().map(|selector| (selector.probe.as_str(), selector.absent)).collect();
        let a = r#"last_over_time(a{x="1",y=~"2|3"}[5m] offset 1d)"#;
        assert_eq!(probes, [(a, false), ("b", false), ("c", true)]);
    }

    #[test]
    fn a_value_that_cannot_occur_is_found_in_a_pattern_too() {
        let matchers = &of(r#"a{x="one",x=~"two|drop_.*|thre"}"#).unwrap()[0].matchers;
        assert_eq!(impossible(&matchers[0], &["one"]), Vec::<&str>::new());
        assert_eq!(impossible(&matchers[0], &["two"]), ["one"]);
        assert_eq!(impossible(&matchers[1], &["two", "three", "drop_this"]), ["thre"]);
    }
}
