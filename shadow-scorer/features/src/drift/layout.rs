//! Which features of a row are compared with the training distribution, and how.

/// The features that are watched for drift.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Layout {
    /// Features that are compared one by one.
    pub features: Vec<Feature>,
    /// Groups of features, each compared as one.
    pub masses: Vec<Mass>,
}

/// A feature that is compared by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Its name in the manifest and in reports.
    pub name: String,
    /// Its place in a row.
    pub place: usize,
    /// Returns `true` if only a whole week is a sample of it, as of the day of the week.
    pub weekly: bool,
}

/// Neighbouring features that count as one, by where their mass lies: hashed n-grams, or the shares of a history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mass {
    /// Its name in reports.
    pub name: &'static str,
    /// JSON pointer of its training distribution in the manifest's `drift`.
    pub pointer: &'static str,
    /// The first feature's place in a row.
    pub from: usize,
    /// How many features it has.
    pub width: usize,
    /// Blocks of equal width over which the mass is counted, at least 1.
    pub blocks: usize,
    /// What a mass of 1 counts as: a count of n-grams is a whole number, a share is not.
    pub unit: f32,
}
