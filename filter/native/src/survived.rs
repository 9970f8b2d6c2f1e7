//! Where a panic ends.

use std::panic::{AssertUnwindSafe, catch_unwind};

use filter::log_line::log_line;
use filter::plugin::host::Level;

use crate::plugin::Plugin;
use crate::stream;

/// What `hook` comes to, or `otherwise` where it panics, which is logged and, where there is a plugin, counted.
pub(crate) fn survived<T>(plugin: Option<&Plugin>, otherwise: T, hook: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(hook)).unwrap_or_else(|panic| {
        let why = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        stream::log(Level::Error, &log_line("filter_panicked", &[("error", &why.unwrap_or("no reason given"))]));
        if let Some(plugin) = plugin {
            plugin.failed();
        }
        otherwise
    })
}
