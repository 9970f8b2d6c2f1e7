//! Parsers of arguments that several commands take.

use contract::share::Share;

/// A share: a percentage of the users, or `off`.
pub(crate) fn share(text: &str) -> Result<Share, String> {
    if text == "off" { Ok(Share::OFF) } else { Share::from_percent(text).map_err(|error| error.to_string()) }
}
