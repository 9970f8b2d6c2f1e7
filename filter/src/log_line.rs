//! Lines for Envoy's log, of the same shape as those of Perch's programs: `perch: event key=value key="some words"`.
//!
//! Envoy adds time and level. The programs' own library for this needs threads and a clock, which a filter has not.

use std::fmt::Display;

use contract::log_text::push_value;

/// A line about `event`, a short name such as `config_refused`, with its fields.
#[must_use]
pub fn log_line(event: &str, fields: &[(&str, &dyn Display)]) -> String {
    let mut line = format!("perch: {event}");
    for (name, value) in fields {
        line.push(' ');
        line.push_str(name);
        line.push('=');
        push_value(&mut line, &value.to_string());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_event_and_fields_and_stays_one_line() {
        let line = log_line("filter_panicked", &[("status", &2), ("error", &"at a.rs:\nindex out of bounds")]);
        assert_eq!(line, r#"perch: filter_panicked status=2 error="at a.rs:\nindex out of bounds""#);
    }
}
