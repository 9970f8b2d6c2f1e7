//! From a user's identity to the user's bucket, also called pseudonym, whose position decides the arm.
//!
//! The bucket is SipHash-2-4 of the identity under a key derived from the deployment's salt: a keyed pseudo-random
//! function, so that neither an upstream nor a stored sample can be turned back into a user without the salt. It is the
//! only form of an identity that leaves the filter. Its 16 hex digits are hashed once more to its position
//! (`xxHash64(digits, seed) % denominator`, see [`crate::share`]), which decides the arm; the seed keeps the arm
//! independent of any other use of the same bucket.
//!
//! ```
//! use contract::bucket::{Bucket, Salt};
//!
//! let salt = Salt::new(b"perch-frozen-vectors").unwrap();
//! let user = Bucket::of(b"user-42", &salt);
//! assert_eq!(user.to_string(), "cc343e210017e385");
//! assert_eq!("cc343e210017e385".parse(), Ok(user));
//! assert!(Salt::new(b"short").is_err());
//! ```

use std::fmt;
use std::hash::Hasher;
use std::str::FromStr;

use siphasher::sip::SipHasher24;
use xxhash_rust::xxh3::xxh3_128;

/// Length of the shortest salt, in bytes. A shorter one could be found by trying.
pub const MIN_SALT_BYTES: usize = 16;

/// The deployment's secret. Never logged: [`fmt::Debug`] hides it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt {
    key: (u64, u64),
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(hidden)")
    }
}

/// A salt that is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the salt has {0} bytes, at least {MIN_SALT_BYTES} are needed: take e.g. the output of `openssl rand -hex 16`")]
pub struct SaltTooShort(pub usize);

impl Salt {
    /// A salt of at least [`MIN_SALT_BYTES`] bytes of any kind.
    ///
    /// # Errors
    /// When it is shorter.
    pub fn new(secret: &[u8]) -> Result<Self, SaltTooShort> {
        if secret.len() < MIN_SALT_BYTES {
            return Err(SaltTooShort(secret.len()));
        }
        let wide = xxh3_128(secret);
        #[allow(clippy::cast_possible_truncation)]
        Ok(Self { key: ((wide >> 64) as u64, wide as u64) })
    }
}

/// A user's bucket: 64 bits, written as 16 lowercase hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket(pub u64);

impl Bucket {
    /// The bucket of `identity` (any bytes) under `salt`.
    #[must_use]
    pub fn of(identity: &[u8], salt: &Salt) -> Self {
        let mut hasher = SipHasher24::new_with_keys(salt.key.0, salt.key.1);
        hasher.write(identity);
        Self(hasher.finish())
    }

    /// The header value: 16 lowercase hex digits, without allocating.
    #[must_use]
    pub fn digits(self) -> [u8; 16] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut out = [0_u8; 16];
        for (i, digit) in out.iter_mut().enumerate() {
            let nibble = (self.0 >> (60 - 4 * i)) & 0xf;
            #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]
            {
                *digit = HEX[nibble as usize];
            }
        }
        out
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Text that is not a pseudonym.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pseudonym is 16 lowercase hex digits")]
pub struct NotABucket;

impl FromStr for Bucket {
    type Err = NotABucket;

    fn from_str(text: &str) -> Result<Self, NotABucket> {
        let canonical = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !canonical {
            return Err(NotABucket);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| NotABucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn salt(text: &str) -> Salt {
        Salt::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn frozen_vectors() {
        // A change here moves every user of every deployment: it needs a new major version and a note to operators.
        let salt = salt("perch-frozen-vectors");
        let seen: Vec<String> =
            ["", "1", "user-42", "münchen"].iter().map(|id| Bucket::of(id.as_bytes(), &salt).to_string()).collect();
        assert_eq!(seen, FROZEN);
    }

    const FROZEN: [&str; 4] = ["4f765c00d4a7724b", "bc4ace2f2861b34e", "cc343e210017e385", "162cf16bf89e0aaf"];

    #[test]
    fn another_salt_gives_another_pseudonym() {
        assert_ne!(Bucket::of(b"u", &salt("0123456789abcdef")), Bucket::of(b"u", &salt("0123456789abcdeg")));
    }

    #[test]
    fn a_short_salt_is_refused_with_its_length() {
        assert_eq!(Salt::new(b"short"), Err(SaltTooShort(5)));
        assert!(!format!("{:?}", salt("0123456789abcdef")).contains("0123"));
    }

    proptest! {
        #[test]
        fn digits_and_text_are_the_same_and_come_back(value: u64) {
            let bucket = Bucket(value);
            let text = bucket.to_string();
            let digits = bucket.digits();
            prop_assert_eq!(digits.as_slice(), text.as_bytes());
            prop_assert_eq!(text.parse::<Bucket>(), Ok(bucket));
        }
    }
}
