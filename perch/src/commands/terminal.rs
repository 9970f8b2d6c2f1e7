//! Colour, on a terminal only.

use std::io::IsTerminal;

/// May this be coloured? Not in a pipe or file, and not where `NO_COLOR` is set (no-color.org).
fn coloured() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn styled(text: &str, code: &str) -> String {
    if coloured() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// Clears the screen before what follows, where there is one.
pub(crate) fn clear() -> &'static str {
    if std::io::stdout().is_terminal() { "\u{1b}[2J\u{1b}[H" } else { "" }
}

/// A heading.
pub(crate) fn bold(text: &str) -> String {
    styled(text, "1")
}

/// What somebody should look at.
pub(crate) fn red(text: &str) -> String {
    styled(text, "31")
}
