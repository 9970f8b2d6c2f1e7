//! Why the scorer rejects a model version at load: an error with its fix, and a value of the metric's label `reason`.

use std::io;

use super::feature_schema::FeatureSchema;
use super::graph::ADVICE;

/// A model refused at load. The last good one goes on.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A file is not there or cannot be read.
    #[error("{file} cannot be read ({source}): copy the version's folder whole, or train again")]
    Missing {
        /// The file.
        file: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The manifest is broken or contradicts itself.
    #[error("{0}: train again, manifests are never edited")]
    Manifest(String),
    /// A file is not the one that was trained.
    #[error(
        "{file} ({bytes} bytes) has SHA-256 {found}, the manifest says {said}: it was cut short or changed; copy it again"
    )]
    Hash {
        /// The file.
        file: &'static str,
        /// Its length.
        bytes: usize,
        /// The manifest's hash.
        said: String,
        /// The file's hash.
        found: String,
    },
    /// It was trained on other features than this program computes.
    #[error(
        "it reads feature schema {} ({} values, hash {}), this program computes {} ({} values, hash {}): train again with this program",
        said.version, said.width, said.hash, wanted.version, wanted.width, wanted.hash
    )]
    Schema {
        /// The manifest's schema.
        said: FeatureSchema,
        /// The program's.
        wanted: FeatureSchema,
    },
    /// The graph cannot be loaded or run, or gives something else than one probability per class.
    #[error("the graph cannot be used: {0}")]
    Graph(String),
    /// The file of reference rows is broken.
    #[error("{0}: train again")]
    ReferenceFile(String),
    /// The graph does not give what training saw.
    #[error("{0}: the graph does not compute what was trained; export it again, or train again")]
    Reference(String),
    /// A version was loaded before with other content.
    #[error("version {0} was loaded before with other files: a version never changes, give the new model a new name")]
    Changed(String),
    /// An alias names something that is not a version.
    #[error("{0:?} is not a version's name: letters, digits, '.', '_' and '-', not starting with '.'")]
    Name(String),
}

impl Refusal {
    /// A graph that cannot be used because of `cause`, with how to export one that can.
    pub(super) fn graph(cause: impl std::fmt::Display) -> Self {
        Self::Graph(format!("{cause}. To load it, {ADVICE}"))
    }

    /// Returns `true` if a refusal for `reason` may end without a change of the alias: a version that is still being
    /// copied, or whose files cannot be read for a moment, looks like that.
    #[must_use]
    pub fn is_transient(reason: &str) -> bool {
        matches!(reason, "missing" | "manifest" | "hash")
    }

    /// The reason as a label value, one of [`scorer_metrics::REFUSALS`].
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Manifest(_) => "manifest",
            Self::Hash { .. } => "hash",
            Self::Schema { .. } => "schema",
            Self::Graph(_) => "graph",
            Self::ReferenceFile(_) | Self::Reference(_) => "reference",
            Self::Changed(_) => "changed",
            Self::Name(_) => "name",
        }
    }
}
