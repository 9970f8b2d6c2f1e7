//! The way of a canary's request from the plugin that held it to the one that observes.
//!
//! The model's answer passes "observe" right after the callback in which it was given, before anything else happens on the
//! worker, so one place is enough. Should Envoy ever do otherwise, the user on it does not fit, and the observation is
//! dropped and counted rather than paired with somebody else's request.

use contract::bucket::Bucket;

/// See the module.
#[derive(Debug, Default)]
pub struct Handover(Option<(BucketDigits, Vec<u8>)>);

/// A bucket as its header has it.
pub type BucketDigits = [u8; 16];

impl Handover {
    /// Leaves `body`, a whole request's of that user, in place of any that nobody came for.
    pub fn leave(&mut self, user: BucketDigits, body: Vec<u8>) {
        self.0 = Some((user, body));
    }

    /// The body that was left, if it is that user's.
    pub fn take(&mut self, user: Bucket) -> Option<Vec<u8>> {
        let (whose, body) = self.0.take()?;
        (whose == user.digits()).then_some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_goes_once_and_to_its_user_only() {
        let mut handover = Handover::default();
        handover.leave(Bucket(7).digits(), b"seven".to_vec());
        assert_eq!(handover.take(Bucket(7)), Some(b"seven".to_vec()));
        assert_eq!(handover.take(Bucket(7)), None);
        handover.leave(Bucket(7).digits(), b"seven".to_vec());
        assert_eq!(handover.take(Bucket(8)), None, "another's");
    }
}
