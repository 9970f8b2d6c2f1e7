//! Colour, on a terminal only.

use std::io::IsTerminal;

/// Returns `true` if standard output is a terminal and `NO_COLOR` (no-color.org) is not set.
fn coloured() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn styled(text: &str, code: &str) -> String {
    if coloured() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// The sequence that clears a terminal's screen; empty elsewhere.
pub(crate) fn clear() -> &'static str {
    if std::io::stdout().is_terminal() { "\u{1b}[2J\u{1b}[H" } else { "" }
}

/// A heading.
pub(crate) fn bold(text: &str) -> String {
    styled(text, "1")
}

/// A line that needs attention.
pub(crate) fn red(text: &str) -> String {
    styled(text, "31")
}
