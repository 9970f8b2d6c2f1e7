//! `stack check`: the configurations of what `up` would start, and of the variants that Perch ships, each checked by
//! its own program.

use contract::share::Share;
use stack::validate;

pub(crate) fn run() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let base = || super::deployment().map(|builder| builder.dir(dir.path()));
    let variants = [
        ("as `up` starts it", base()?),
        // A share that is not a whole percentage is written as a fraction.
        ("share 0.5%", base()?.share(Share::from_percent("0.5%")?)),
        ("without checks on the scorer, without access log", base()?.scorer_checks(false).access_log(false)),
        ("without Perch", base()?.no_filter()),
    ];
    for (variant, builder) in variants {
        let stack = builder.prepare()?;
        for checked in validate::configurations(&stack)? {
            say!("ok  {checked} ({variant})");
        }
    }
    Ok(())
}
