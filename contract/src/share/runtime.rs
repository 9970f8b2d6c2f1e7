//! Reads and writes a share as Envoy's runtime stores it, so that every program reads the same share from a value as
//! Envoy does. Also reads the admin interface's response to `/runtime`.
//!
//! Envoy parses a runtime value as YAML. A whole number (decimal, octal with a leading zero, hexadecimal) or a decimal
//! fraction is a percentage, its decimals cut off; a mapping of `numerator` and `denominator` is a `FractionalPercent`;
//! anything else (a quoted text, a boolean, a list, a mapping with another key) is not a share, and the default
//! applies. Each line of the table in the tests was measured on Envoy 1.40.

use super::value::{Denominator, Share};

/// The largest number that Envoy takes: the largest unsigned integer of 64 bits, as a floating-point number has it.
const LARGEST: f64 = 18_446_744_073_709_551_616.0;

impl Share {
    /// The share that Envoy reads out of a runtime value, however it is written: `10`, `12.5` (which is 12%), `010`
    /// (8%), a `FractionalPercent` as YAML or JSON. `None` where Envoy does not take the value as a share and its
    /// default applies.
    #[must_use]
    pub fn from_runtime(text: &str) -> Option<Self> {
        read(text)
    }

    /// The value to write under [`super::RUNTIME_KEY`].
    #[must_use]
    pub fn to_runtime(self) -> String {
        match self.denominator() {
            Denominator::Hundred => self.numerator().to_string(),
            finer => format!(r#"{{"numerator":{},"denominator":"{}"}}"#, self.numerator(), finer.name()),
        }
    }
}

/// Parses the response of Envoy's admin interface to `/runtime`; `None` where it is not JSON.
#[must_use]
pub fn parse_runtime(runtime: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(runtime).ok()
}

/// The value of `key` over all layers, in the admin interface's response to `/runtime`. `None` where no layer has it.
#[must_use]
pub fn runtime_value<'a>(runtime: &'a serde_json::Value, key: &str) -> Option<&'a str> {
    runtime.get("entries")?.get(key)?.get("final_value")?.as_str()
}

fn read(text: &str) -> Option<Share> {
    if let Some(fields) = text.trim_start().strip_prefix("goo.gle/debug") {
        return debug_text(fields);
    }
    let yaml = without_comments(text);
    let yaml = yaml.trim();
    // Envoy does not skip comments where it looks for a decimal fraction, so the text is not a number then.
    let number = integer(yaml).map(|number| number as f64).or_else(|| decimal(text.trim()));
    if let Some(number) = number {
        return percentage(number);
    }
    match yaml.strip_prefix('{') {
        Some(flow) => mapping(flow.split_once('}')?.0.split(',')),
        None => mapping(yaml.lines()),
    }
}

/// A percentage, its decimals cut off; more than 100 is everybody.
fn percentage(number: f64) -> Option<Share> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is 0 to 100")]
    (0.0..=LARGEST).contains(&number).then(|| Share::percent(number.min(100.0) as u32))
}

/// `text` without YAML's comments and document markers.
fn without_comments(text: &str) -> String {
    let text = text.trim();
    let text = text.strip_prefix("---").filter(|rest| rest.starts_with(char::is_whitespace)).unwrap_or(text);
    let lines = text.lines().take_while(|line| line.trim_end() != "...");
    let bare = |line: &str| {
        let mut before = ' ';
        let comment = line.find(|letter| {
            let begins = letter == '#' && before.is_whitespace();
            before = letter;
            begins
        });
        line.get(..comment.unwrap_or(line.len())).unwrap_or_default().trim_end().to_owned()
    };
    lines.map(bare).filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n")
}

/// The entries of a mapping, as a `FractionalPercent`.
fn mapping<'a>(entries: impl Iterator<Item = &'a str>) -> Option<Share> {
    let (mut numerator, mut denominator) = (0, Denominator::Hundred);
    for entry in entries.map(str::trim).filter(|entry| !entry.is_empty()) {
        let (key, value) = entry.split_once(':')?;
        let (key, quoted) = unquoted(key.trim_end());
        if !quoted && !value.starts_with(char::is_whitespace) {
            return None;
        }
        match (key, unquoted(value.trim())) {
            ("numerator", (value, false)) => numerator = i32::try_from(integer(value)?).ok()?,
            ("denominator", (name, _)) => denominator = named(name)?,
            _ => return None,
        }
    }
    // Envoy takes a negative numerator as a very large unsigned one.
    Some(Share::new(numerator.cast_unsigned(), denominator))
}

/// The text without a pair of quotes around it, and `true` if there was one.
fn unquoted(text: &str) -> (&str, bool) {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote)) {
            return (inner, true);
        }
    }
    (text, false)
}

fn named(denominator: &str) -> Option<Denominator> {
    [Denominator::Hundred, Denominator::TenThousand, Denominator::Million]
        .into_iter()
        .find(|known| known.name() == denominator)
}

/// A whole number of YAML 1.1: `10`, `+10`, `010` (octal), `0x0a`.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (base, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (16, digits),
        None if digits.len() > 1 && digits.starts_with('0') => (8, digits),
        None => (10, digits),
    };
    // Rust's parser would accept a second sign.
    let plain = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(base));
    plain.then(|| i64::from_str_radix(digits, base).ok())?.map(|number| sign * number)
}

/// A decimal fraction: `12.5`, `1e1`, `.5`, and hexadecimal as C writes it (`0x1.8p3`).
fn decimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    match unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        Some(digits) => hexadecimal(digits),
        None if unsigned.starts_with(['+', '-']) => None,
        None => unsigned.parse().ok(),
    }
}

fn hexadecimal(text: &str) -> Option<f64> {
    let (digits, exponent) = match text.split_once(['p', 'P']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let mut number = 0.0;
    for digit in whole.chars().chain(part.chars()) {
        number = number * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let places = i32::try_from(part.len()).ok()?;
    Some(number * 2.0_f64.powi(exponent.saturating_sub(places.saturating_mul(4))))
}

/// A fraction of the static layer: Envoy's admin interface shows it as the debug text of a protobuf `Struct`, whose
/// layout is not fixed, but whose two values follow these names. (The static layer does not take a fraction as JSON
/// text: on 1.40 it counts as 0.)
fn debug_text(fields: &str) -> Option<Share> {
    let after = |name: &str| fields.split_once(name).map(|(_, rest)| rest.trim_start());
    let numerator =
        after("number_value:").map_or(Some(0.0), |rest| rest.split_ascii_whitespace().next()?.parse().ok())?;
    let denominator = after("string_value:").map_or(Some("HUNDRED"), |rest| rest.split('"').nth(1))?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is 0 to 4 million")]
    (0.0..=4e6).contains(&numerator).then(|| Some(Share::new(numerator as u32, named(denominator)?)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share that Envoy 1.40 served for each, in percent, counted over a thousand requests; `None`: its default.
    const MEASURED: &[(&str, Option<f64>)] = &[
        ("10", Some(10.0)),
        ("12.5", Some(12.0)),
        ("10.0", Some(10.0)),
        ("1e1", Some(10.0)),
        ("1E1", Some(10.0)),
        ("1e+1", Some(10.0)),
        ("010", Some(8.0)),
        ("0010", Some(8.0)),
        ("08", Some(8.0)),
        ("09", Some(9.0)),
        ("010.5", Some(10.0)),
        ("0x0a", Some(10.0)),
        ("0X0A", Some(10.0)),
        ("0x0A.0", Some(10.0)),
        ("0x1p3", Some(8.0)),
        ("0x1.8p3", Some(12.0)),
        ("0x0.8", Some(0.0)),
        ("+10", Some(10.0)),
        ("+12.5", Some(12.0)),
        ("5.", Some(5.0)),
        (".5", Some(0.0)),
        ("99.99", Some(99.0)),
        ("100.9", Some(100.0)),
        ("101", Some(100.0)),
        ("0777", Some(100.0)),
        ("4294967297", Some(100.0)),
        ("0xFFFFFFFFFF", Some(100.0)),
        ("9223372036854775808", Some(100.0)),
        ("1e19", Some(100.0)),
        ("18446744073709551616", Some(100.0)),
        ("18446744073709555712", None),
        (" 10 ", Some(10.0)),
        ("10\n", Some(10.0)),
        ("\t12.5\n", Some(12.0)),
        ("10 # x", Some(10.0)),
        ("# x\n10", Some(10.0)),
        ("--- 10", Some(10.0)),
        ("10\n...\n", Some(10.0)),
        ("-0", Some(0.0)),
        ("{numerator: 50, denominator: TEN_THOUSAND}", Some(0.5)),
        ("{numerator: 50, denominator: 'TEN_THOUSAND'}", Some(0.5)),
        ("{numerator: 50}", Some(50.0)),
        ("{numerator : 50}", Some(50.0)),
        ("{\"numerator\":50}", Some(50.0)),
        ("{\"numerator\":500000,\"denominator\":\"MILLION\"}", Some(50.0)),
        ("{numerator: 0x32, denominator: HUNDRED}", Some(50.0)),
        ("{numerator: 050, denominator: HUNDRED}", Some(40.0)),
        ("{numerator: +50}", Some(50.0)),
        ("{numerator: 50, numerator: 60}", Some(60.0)),
        ("{numerator: 50, denominator: HUNDRED,}", Some(50.0)),
        ("{numerator: 50} x", Some(50.0)),
        ("{numerator: 150, denominator: HUNDRED}", Some(100.0)),
        ("{numerator: -5, denominator: HUNDRED}", Some(100.0)),
        ("{numerator: 5000,\n denominator: TEN_THOUSAND}", Some(50.0)),
        ("numerator: 50\ndenominator: HUNDRED", Some(50.0)),
        ("  numerator: 5000\n  denominator: TEN_THOUSAND", Some(50.0)),
        ("numerator: 5000 # x\ndenominator: TEN_THOUSAND # y\n", Some(50.0)),
        ("---\nnumerator: 5000\ndenominator: TEN_THOUSAND", Some(50.0)),
        ("{denominator: TEN_THOUSAND}", Some(0.0)),
        ("-5", None),
        ("-0x5", None),
        ("+-10", None),
        ("++10", None),
        ("2e19", None),
        ("1e400", None),
        ("inf", None),
        ("nan", None),
        ("0x", None),
        ("0b11", None),
        ("0o12", None),
        ("1_000", None),
        ("1,0", None),
        ("12abc", None),
        ("10:00", None),
        ("10 20", None),
        ("10\n20", None),
        ("- 10", None),
        ("10%", None),
        ("'10'", None),
        ("\"12.5\"", None),
        ("12.5 #x", None),
        ("true", None),
        ("on", None),
        ("~", None),
        ("[10]", None),
        ("{a: 1}", None),
        ("{Numerator: 50}", None),
        ("{numerator:50}", None),
        ("{numerator: '50'}", None),
        ("{numerator: 50.0, denominator: HUNDRED}", None),
        ("{numerator: 5e1}", None),
        ("{numerator: true}", None),
        ("{numerator: null}", None),
        ("{numerator: 4294967296}", None),
        ("{numerator: 50, denominator: hundred}", None),
        ("{numerator: 50, denominator: 0}", None),
        ("{numerator: 50, extra: 1}", None),
        ("{numerator: 50", None),
    ];

    #[test]
    fn a_share_is_what_envoy_makes_of_it() {
        for (text, percent) in MEASURED {
            let read = read(text).map(|share| share.fraction() * 100.0);
            assert_eq!(read, *percent, "{text:?}");
        }
    }

    #[test]
    fn a_fraction_of_the_static_layer_is_read_as_envoy_shows_it() {
        let shown = "goo.gle/debugproto    \nfields {\n  key: \"denominator\"\n  value {\n    string_value: \"TEN_THOUSAND\"\n  \
                     }\n}\nfields {\n  key: \"numerator\"\n  value {\n    number_value: 5050\n  }\n}\n";
        assert_eq!(read(shown), Share::from_percent("50.5%").ok());
        assert_eq!(read(&shown.replace("5050", "1e+06")), Some(Share::new(10_000, Denominator::TenThousand)));
        assert_eq!(read("goo.gle/debugstr string_value: \"TEN\""), None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text: String, more in "[-+0-9a-fx.ep{}:, \n#\"']{0,40}") {
            let _ = (read(&text), read(&more));
        }
    }
}
