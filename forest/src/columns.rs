//! Comparisons turned into ranks, once per row instead of once per node.
//!
//! A column is one feature together with the side that a missing value takes, and up to 255 distinct thresholds in
//! rising order. The rank of a value is how many of them lie below it, so `value > threshold[t]` is `rank > t`: a
//! comparison of two bytes, and exact, since the floats themselves were compared when the rank was taken.
//!
//! | ONNX | as "goes right when value > b" |
//! |---|---|
//! | x ≤ v | b = v, true is left |
//! | x > v | b = v, true is right |
//! | x < v | b = the next float below v, true is left |
//! | x ≥ v | b = the next float below v, true is right |
//! | x = v, x ≠ v | a column of their own, whose rank is 1 where x = v and 0 elsewhere |
//!
//! x < v and x ≤ next_down(v) agree for every float but NaN: no float lies between the two, -0.0 and 0.0 compare as
//! equal in both, denormals are floats like others. `x < -∞` holds for no value and `x ≥ -∞` for all; both become
//! equality with NaN, which no value has. A missing value ranks below every threshold in the columns of nodes where it
//! goes left and above all where it goes right, so a walk never asks about it.
//!
//! A feature with more than 255 thresholds gets several columns; LightGBM's default `max_bin` makes at most 254.

use std::collections::BTreeMap;

use crate::tree::{Node, Test, Tree};
use crate::{Malformed, Mode};

/// Thresholds of one column: ranks 0 to 255 fit a byte.
pub(crate) const MAX_THRESHOLDS: usize = 255;
/// Columns of a forest: their index fits 16 bits.
pub(crate) const MAX_COLUMNS: usize = 1 << 16;
/// Floats per cache line.
const LINE: usize = 16;

/// One comparison in ranks: right if the row's rank in `column` is above `rank`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) column: u16,
    pub(crate) rank: u8,
}

/// A test of ONNX as a cut, and whether its true branch is the right one.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Canonical {
    key: Key,
    boundary: Ordered,
    true_is_right: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    feature: u32,
    missing_is_right: bool,
    /// Bits of the value for an equality, None for an inequality.
    equals: Option<u32>,
}

/// A float that is not NaN, -0.0 made 0.0, in numeric order.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ordered(f32);

impl Eq for Ordered {}
impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

fn canonical(test: &Test) -> Canonical {
    let (equals, boundary, true_is_right) = match test.mode {
        Mode::AtMost | Mode::Leaf => (None, test.value, false),
        Mode::Above => (None, test.value, true),
        Mode::Below | Mode::AtLeast if test.value == f32::NEG_INFINITY => {
            (Some(f32::NAN), 0.0, test.mode == Mode::Below)
        }
        Mode::Below => (None, test.value.next_down(), false),
        Mode::AtLeast => (None, test.value.next_down(), true),
        Mode::Equal => (Some(test.value), 0.0, true),
        Mode::Different => (Some(test.value), 0.0, false),
    };
    let plain = |v: f32| if v == 0.0 { 0.0 } else { v };
    Canonical {
        key: Key {
            feature: test.feature,
            missing_is_right: test.missing_is_true == true_is_right,
            equals: equals.map(|v| plain(v).to_bits()),
        },
        boundary: Ordered(plain(boundary)),
        true_is_right,
    }
}

/// Sixteen thresholds, one cache line. Places not used hold NaN, which no value is above.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([f32; LINE]);

impl Line {
    const UNUSED: Line = Line([f32::NAN; LINE]);

    /// How many of the thresholds lie below `x`.
    fn below(&self, x: f32) -> usize {
        self.0.iter().map(|&threshold| i32::from(x > threshold)).sum::<i32>() as usize
    }
}

#[derive(Debug, Clone)]
struct Column {
    feature: u32,
    /// Rank of a missing value.
    missing: u8,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Position of the line of splitters; the lines of thresholds follow. A splitter is the last threshold of a line.
    Ranked { splitters: usize },
    /// Rank 1 for this value.
    Equals { value: f32 },
}

/// All columns of a forest.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    columns: Vec<Column>,
    lines: Vec<Line>,
    /// Features that a row must have.
    features: usize,
}

/// Where each boundary of a key went.
type Places = BTreeMap<Key, BTreeMap<Ordered, Cut>>;

impl Columns {
    /// Gathers the columns that the trees need, and says how to find a test's cut.
    pub(crate) fn gather(trees: &[Tree]) -> Result<(Columns, Cuts), Malformed> {
        let mut places: Places = BTreeMap::new();
        for node in trees.iter().flat_map(|tree| &tree.nodes) {
            if let Node::Branch { test, .. } = node {
                let canonical = canonical(test);
                let unplaced = Cut { column: 0, rank: 0 };
                places.entry(canonical.key).or_default().insert(canonical.boundary, unplaced);
            }
        }
        let mut all = Columns { columns: Vec::new(), lines: Vec::new(), features: 0 };
        for (key, boundaries) in &mut places {
            let mut ordered: Vec<(&Ordered, &mut Cut)> = boundaries.iter_mut().collect();
            for chunk in ordered.chunks_mut(MAX_THRESHOLDS) {
                let column = all.add(*key, chunk.iter().map(|(boundary, _)| boundary.0))?;
                for (rank, (_, cut)) in chunk.iter_mut().enumerate() {
                    **cut = Cut { column, rank: rank as u8 };
                }
            }
        }
        Ok((all, Cuts { places }))
    }

    fn add(&mut self, key: Key, boundaries: impl ExactSizeIterator<Item = f32>) -> Result<u16, Malformed> {
        let got = self.columns.len() + 1;
        let too_many = Malformed::TooMany { what: "columns of thresholds", got, limit: MAX_COLUMNS };
        let column = u16::try_from(self.columns.len()).map_err(|_| too_many)?;
        let kind = match key.equals {
            Some(bits) => Kind::Equals { value: f32::from_bits(bits) },
            None => {
                let splitters = self.lines.len();
                let boundaries: Vec<f32> = boundaries.collect();
                let lines = boundaries.chunks(LINE).map(|chunk| {
                    let mut line = Line::UNUSED;
                    line.0.iter_mut().zip(chunk).for_each(|(place, &threshold)| *place = threshold);
                    line
                });
                let mut splitter = Line::UNUSED;
                // The last line is where a value above all splitters belongs, so it has none.
                let last_of_lines = boundaries.chunks_exact(LINE).filter_map(<[f32]>::last);
                let splits = boundaries.len().div_ceil(LINE) - 1;
                splitter.0.iter_mut().zip(last_of_lines.take(splits)).for_each(|(place, &last)| *place = last);
                self.lines.push(splitter);
                self.lines.extend(lines);
                Kind::Ranked { splitters }
            }
        };
        let missing = if key.missing_is_right { u8::MAX } else { 0 };
        self.features = self.features.max(key.feature as usize + 1);
        self.columns.push(Column { feature: key.feature, missing, kind });
        Ok(column)
    }

    /// How many columns there are.
    pub(crate) fn len(&self) -> usize {
        self.columns.len()
    }

    /// How many features a row needs.
    pub(crate) fn features(&self) -> usize {
        self.features
    }

    /// The ranks of a row, column by column. A feature that the row lacks counts as missing.
    pub(crate) fn ranks<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = u8> + 'a {
        self.columns
            .iter()
            .map(|column| self.rank(column, row.get(column.feature as usize).copied().unwrap_or(f32::NAN)))
    }

    #[inline]
    fn rank(&self, column: &Column, x: f32) -> u8 {
        let rank = match column.kind {
            Kind::Ranked { splitters } => {
                let line = self.lines.get(splitters).map_or(0, |line| line.below(x));
                line * LINE + self.lines.get(splitters + 1 + line).map_or(0, |line| line.below(x))
            }
            Kind::Equals { value } => usize::from(x == value),
        };
        if x.is_nan() { column.missing } else { rank as u8 }
    }
}

/// Finds the cut of each test that the columns were gathered from.
pub(crate) struct Cuts {
    places: Places,
}

impl Cuts {
    /// The cut, and whether the true branch is the right one.
    pub(crate) fn of(&self, test: &Test) -> (Cut, bool) {
        let canonical = canonical(test);
        let cut = self.places.get(&canonical.key).and_then(|boundaries| boundaries.get(&canonical.boundary));
        (cut.copied().unwrap_or(Cut { column: 0, rank: 0 }), canonical.true_is_right)
    }
}
