//! The cases: one axis at a time around the first.

use super::feed::Load;
use crate::traffic::Kind;

/// The model: trees in all, and labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) trees: usize,
    pub(super) labels: usize,
}

/// A case, named by what is different about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) axis: &'static str,
    pub(super) value: usize,
    pub(super) model: Model,
    pub(super) load: Load,
}

/// Length of the bodies of request and response.
pub(super) const BYTES: usize = 1024;
const MODEL: Model = Model { trees: 2_000, labels: 20 };

/// `batch` is what one gateway gathers in its flush time.
pub(super) const fn first(batch: usize) -> Case {
    let kind = Kind { bytes: BYTES, items: 1, work_ms: 0 };
    let load = Load { kind, gateways: 4, batch, users: 10_000, transactions: 4_000 };
    Case { axis: "first", value: 0, model: MODEL, load }
}

/// The others.
pub(super) fn others(batch: usize) -> Vec<Case> {
    let first = first(batch);
    let mut cases = Vec::new();
    for items in [10, 100] {
        // As many items in a batch as before, so that a batch stays a batch.
        let kind = Kind { items, ..first.load.kind };
        let load = Load { kind, batch: (batch / items).max(1), ..first.load };
        cases.push(Case { axis: "items", value: items, load, ..first });
    }
    for labels in [5, 80] {
        cases.push(Case { axis: "labels", value: labels, model: Model { labels, ..MODEL }, ..first });
    }
    for trees in [200, 6_000] {
        cases.push(Case { axis: "trees", value: trees, model: Model { trees, ..MODEL }, ..first });
    }
    for users in [100, 1_000_000] {
        cases.push(Case { axis: "users", value: users, load: Load { users, ..first.load }, ..first });
    }
    for gateways in [1, 16] {
        cases.push(Case { axis: "gateways", value: gateways, load: Load { gateways, ..first.load }, ..first });
    }
    cases
}
