//! When a newly trained model may serve: the rule of the replaced system.

/// Macro F1 from which on a model is deployed whatever serves now.
pub const GOOD_F1: f64 = 0.72;
/// A model below [`GOOD_F1`] is deployed when its F1 is at least this many times the champion's.
pub const GAIN: f64 = 1.02;

/// What the policy says, in words that status and logs show.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Let it serve.
    Deploy(String),
    /// Keep what serves.
    Keep(String),
}

impl Decision {
    /// Is it to serve?
    #[must_use]
    pub const fn deploys(&self) -> bool {
        matches!(self, Self::Deploy(_))
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Deploy(why) | Self::Keep(why) => why,
        }
    }
}

/// Judges macro F1 on the temporal validation split, 0 to 1, against the champion's, if there is one.
#[must_use]
pub fn decide(candidate: f64, champion: Option<f64>) -> Decision {
    if !(0.0..=1.0).contains(&candidate) {
        return Decision::Keep(format!("F1 {candidate} is not a number from 0 to 1"));
    }
    if candidate >= GOOD_F1 {
        return Decision::Deploy(format!("F1 {candidate:.4} is at least {GOOD_F1}"));
    }
    match champion {
        Some(champion) if candidate >= champion * GAIN => {
            Decision::Deploy(format!("F1 {candidate:.4} is at least 2 % above the champion's {champion:.4}"))
        }
        Some(champion) => Decision::Keep(format!(
            "F1 {candidate:.4} is below {GOOD_F1} and not 2 % above the champion's {champion:.4}"
        )),
        None => Decision::Keep(format!("F1 {candidate:.4} is below {GOOD_F1}, and no champion is there to beat")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_of_the_replaced_system() {
        assert!(decide(0.72, None).deploys());
        assert!(decide(0.72, Some(0.90)).deploys(), "0.72 is enough by itself");
        assert!(decide(0.612, Some(0.60)).deploys(), "2 % better");
        assert!(!decide(0.611, Some(0.60)).deploys());
        assert!(!decide(0.71, None).deploys());
        assert!(!decide(f64::NAN, Some(0.1)).deploys());
        assert!(decide(0.5, Some(0.6)).reason().contains("0.6000"));
    }
}
