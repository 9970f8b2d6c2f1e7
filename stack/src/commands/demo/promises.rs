//! What Perch promises, and whether it held throughout a run.

use std::fmt;

/// The promises that were checked so far.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    all: Vec<Promise>,
}

#[derive(Debug)]
struct Promise {
    text: String,
    broken: Option<String>,
}

impl Promises {
    /// `text` is the promise, `evidence` the measurement that shows it broken.
    pub(crate) fn check(&mut self, text: &str, held: bool, evidence: impl fmt::Display) {
        if !held {
            say!("  BROKEN: {text}: {evidence}");
        }
        // The same promise at every step is one line of the summary.
        match self.all.iter_mut().find(|promise| promise.text == text) {
            Some(promise) if held || promise.broken.is_some() => {}
            Some(promise) => promise.broken = Some(evidence.to_string()),
            None => {
                let broken = (!held).then(|| evidence.to_string());
                self.all.push(Promise { text: text.into(), broken });
            }
        }
    }

    pub(crate) fn unbroken(&self) -> bool {
        self.all.iter().all(|promise| promise.broken.is_none())
    }
}

impl fmt::Display for Promises {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for promise in &self.all {
            match &promise.broken {
                None => writeln!(f, "  held    {}", promise.text)?,
                Some(evidence) => writeln!(f, "  BROKEN  {}: {evidence}", promise.text)?,
            }
        }
        let broken = self.all.iter().filter(|promise| promise.broken.is_some()).count();
        match broken {
            0 => write!(f, "All {} promises held.", self.all.len()),
            broken => write!(f, "{broken} of {} promises were broken.", self.all.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_broken_stays_broken() {
        let mut promises = Promises::default();
        promises.check("no errors", true, 0);
        assert!(promises.unbroken());
        promises.check("no errors", false, "3 errors");
        promises.check("no errors", true, 0);
        assert!(!promises.unbroken());
        assert!(promises.to_string().contains("BROKEN  no errors: 3 errors"));
    }
}
