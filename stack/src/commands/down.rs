//! `stack down`: stops what runs by its pid files, the gateway first so that no client meets a half-stopped stack.

use stack::error::name;

pub(crate) fn run() -> anyhow::Result<()> {
    let stack = super::deployment()?.prepare()?;
    let stopped = stack.stop_left_running();
    if stopped.is_empty() {
        say!("nothing is running");
    }
    for part in stopped {
        say!("  stopped  {}", name(part));
    }
    Ok(())
}
