//! The deploy policy: when a newly trained model may serve.

use serde_json::Value;

use super::manifest::TrainingMetrics;

/// Macro F1 from which on a model is deployed whatever serves now.
pub const GOOD_F1: f64 = 0.72;
/// A model below [`GOOD_F1`] is deployed when its F1 is at least this many times the champion's.
pub const GAIN: f64 = 1.02;

/// What the policy says, in words that status and logs show.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Deploy it.
    Deploy(String),
    /// Keep the champion.
    Keep(String),
}

impl Decision {
    /// Returns `true` if the model is to serve.
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

/// As [`decide`], but a model of `classes` labels is not good whose F1 says something of few of them: macro F1 is the
/// mean over the labels that occur among the validation rows, and one that is all there is reaches 1.0 by itself.
/// Manifests of before that figure pass.
#[must_use]
pub fn judge(metrics: &TrainingMetrics, classes: usize, champion: Option<f64>) -> Decision {
    let judged = metrics.rest.get("judged_labels").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    match judged {
        Some(judged) if judged < minimum_labels(classes) => Decision::Keep(format!(
            "F1 {:.4} was measured on {judged} of {classes} labels, at least {} must occur among the validation rows",
            metrics.val_f1_macro,
            minimum_labels(classes)
        )),
        _ => decide(metrics.val_f1_macro, champion),
    }
}

/// Labels that must occur among the validation rows: half of them, and at least two. The same in `models/training/registry.py`.
const fn minimum_labels(classes: usize) -> usize {
    let half = classes.div_ceil(2);
    if half < 2 { 2 } else { half }
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
            Decision::Deploy(format!("F1 {candidate:.4} is at least 2% above the champion's {champion:.4}"))
        }
        Some(champion) => Decision::Keep(format!(
            "F1 {candidate:.4} is below {GOOD_F1} and not 2% above the champion's {champion:.4}"
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

    #[test]
    fn an_f1_that_says_something_of_few_labels_keeps_the_model_case_a9() {
        let of = |judged: Value| {
            let rest = serde_json::from_value(serde_json::json!({ "judged_labels": judged })).unwrap();
            TrainingMetrics { val_f1_macro: 1.0, rest }
        };
        let kept = judge(&of(1.into()), 2, None);
        assert!(!kept.deploys() && kept.reason().contains("1 of 2 labels"), "{kept:?}");
        assert!(judge(&of(2.into()), 2, None).deploys());
        assert!(!judge(&of(10.into()), 21, None).deploys() && judge(&of(11.into()), 21, None).deploys());
        assert!(judge(&of(Value::Null), 2, None).deploys(), "a manifest of before");
    }
}
