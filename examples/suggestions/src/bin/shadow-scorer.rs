//! The scorer with the demo application linked in.

use std::process::ExitCode;

fn main() -> ExitCode {
    shadow_scorer::run(suggestions::application())
}
