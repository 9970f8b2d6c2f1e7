//! How a field's value stands in a log line that is text: `event key=value key="a value with spaces"`.
//!
//! The programs write their lines through the crate `logging`, the filter through Envoy's own log. Both quote alike, so
//! that one rule splits every line of Perch, and no value can forge a second line or a field.

use std::fmt::Write as _;

/// Appends `value` to `line`: as it is where it is one word, quoted and escaped as in JSON otherwise.
pub fn push_value(line: &mut String, value: &str) {
    let plain = |char: char| !char.is_whitespace() && !char.is_control() && !matches!(char, '"' | '=' | '\\');
    if !value.is_empty() && value.chars().all(plain) {
        line.push_str(value);
        return;
    }
    line.push('"');
    for char in value.chars() {
        match char {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            _ if char.is_control() => {
                // Writing to a string does not fail.
                let _ = write!(line, "\\u{:04x}", u32::from(char));
            }
            _ => line.push(char),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(value: &str) -> String {
        let mut line = String::new();
        push_value(&mut line, value);
        line
    }

    #[test]
    fn one_word_is_bare_and_everything_else_is_quoted() {
        for (value, expected) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("", r#""""#),
            ("two words", r#""two words""#),
            ("a=b", r#""a=b""#),
            ("it is \"ml\"\n", r#""it is \"ml\"\n""#),
            ("\u{1b}[31m", r#""\u001b[31m""#),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    proptest! {
        #[test]
        fn a_value_stays_on_its_line_and_comes_back(value in any::<String>()) {
            let text = text(&value);
            prop_assert!(!text.chars().any(char::is_control));
            if text.starts_with('"') {
                prop_assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value);
            } else {
                prop_assert_eq!(text, value);
            }
        }
    }
}
