//! Every distinct comparison of a forest, gathered by what it compares.
//!
//! A column is one feature with its thresholds in rising order, or one feature with one value that nodes ask equality
//! with. The rank of a value is how many thresholds lie below it, so `value > threshold[cut]` is `rank > cut`: exact,
//! since the floats themselves are compared when the rank is taken, once per row instead of once per node.
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
//! equality with NaN, which no value has. NaN itself is a missing value and has no rank: each node says where it goes.

use std::collections::BTreeMap;

use crate::Mode;
use crate::tree::{Node, Test, Tree};

/// Floats per cache line.
const LINE: usize = 16;

/// A test of ONNX in terms of ranks: right if the rank in `column` is above `cut`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) column: u32,
    pub(crate) cut: u32,
    /// Where a missing value goes.
    pub(crate) missing_is_right: bool,
    /// Which way the test's true branch lies.
    pub(crate) true_is_right: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    feature: u32,
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

/// Key, boundary, and whether the true branch is the right one.
fn canonical(test: &Test) -> (Key, Ordered, bool) {
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
    let key = Key { feature: test.feature, equals: equals.map(|v| plain(v).to_bits()) };
    (key, Ordered(plain(boundary)), true_is_right)
}

/// Sixteen thresholds, one cache line. Places not used hold NaN, which no value is above.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([f32; LINE]);

impl Line {
    const UNUSED: Line = Line([f32::NAN; LINE]);

    /// How many of the thresholds lie below `x`.
    #[inline(always)]
    fn below(&self, x: f32) -> usize {
        self.0.iter().map(|&threshold| i32::from(x > threshold)).sum::<i32>() as usize
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    feature: u32,
    cuts: u32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Lines `splitters..lines` hold the last threshold of each line of thresholds but the last; those lines follow.
    Ranked { splitters: u32, lines: u32 },
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

impl Columns {
    /// Gathers the columns that the trees need, and says how to find a test's cut.
    pub(crate) fn gather(trees: &[Tree]) -> (Columns, Cuts) {
        let mut places: Places = BTreeMap::new();
        for node in trees.iter().flat_map(|tree| &tree.nodes) {
            if let Node::Branch { test, .. } = node {
                let (key, boundary, _) = canonical(test);
                places.entry(key).or_default().1.insert(boundary, 0);
            }
        }
        let mut all = Columns { columns: Vec::new(), lines: Vec::new(), features: 0 };
        for (key, (column, boundaries)) in &mut places {
            *column = all.columns.len() as u32;
            for (cut, place) in boundaries.values_mut().enumerate() {
                *place = cut as u32;
            }
            let boundaries: Vec<f32> = boundaries.keys().map(|boundary| boundary.0).collect();
            all.add(*key, &boundaries);
        }
        (all, Cuts { places })
    }

    fn add(&mut self, key: Key, boundaries: &[f32]) {
        let kind = match key.equals {
            Some(bits) => Kind::Equals { value: f32::from_bits(bits) },
            None => {
                // A value above all splitters belongs to the last line, so that one has none.
                let splits = boundaries.len().div_ceil(LINE).saturating_sub(1);
                let lasts = boundaries.chunks_exact(LINE).filter_map(<[f32]>::last).copied();
                let splitters = self.lines.len() as u32;
                self.push_lines(&lasts.take(splits).collect::<Vec<f32>>());
                let lines = self.lines.len() as u32;
                self.push_lines(boundaries);
                Kind::Ranked { splitters, lines }
            }
        };
        self.features = self.features.max(key.feature as usize + 1);
        self.columns.push(Column { feature: key.feature, cuts: boundaries.len() as u32, kind });
    }

    fn push_lines(&mut self, values: &[f32]) {
        for chunk in values.chunks(LINE) {
            let mut line = Line::UNUSED;
            line.0.iter_mut().zip(chunk).for_each(|(place, &value)| *place = value);
            self.lines.push(line);
        }
    }

    /// How many features a row needs.
    pub(crate) fn features(&self) -> usize {
        self.features
    }

    /// How many cuts each column has, in the order of the columns.
    pub(crate) fn cuts(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.columns.iter().map(|column| column.cuts)
    }

    /// The ranks of a row, column by column, None for a missing value. A feature that the row lacks is missing.
    #[inline]
    pub(crate) fn ranks<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = Option<u32>> + 'a {
        self.columns.iter().map(move |column| self.rank_of(*column, row))
    }

    /// The columns by themselves, for [`Columns::rank_of`].
    pub(crate) fn each(&self) -> impl ExactSizeIterator<Item = Column> + '_ {
        self.columns.iter().copied()
    }

    /// The rank of a row in `column`, as in [`Columns::ranks`].
    #[inline(always)]
    pub(crate) fn rank_of(&self, column: Column, row: &[f32]) -> Option<u32> {
        let x = row.get(column.feature as usize).copied().unwrap_or(f32::NAN);
        if x.is_nan() { None } else { Some(self.rank(column.kind, x)) }
    }

    #[inline(always)]
    fn rank(&self, kind: Kind, x: f32) -> u32 {
        match kind {
            Kind::Ranked { splitters, lines } => {
                let line = match self.lines.get(splitters as usize..lines as usize) {
                    Some([only]) => only.below(x),
                    Some(many) => {
                        let before = many.partition_point(|line| line.0.last().is_some_and(|&last| x > last));
                        before * LINE + many.get(before).map_or(0, |line| line.below(x))
                    }
                    None => 0,
                };
                let below = self.lines.get(lines as usize + line).map_or(0, |line| line.below(x));
                (line * LINE + below) as u32
            }
            Kind::Equals { value } => u32::from(x == value),
        }
    }
}

/// For each key its column, and for each of its boundaries the cut.
type Places = BTreeMap<Key, (u32, BTreeMap<Ordered, u32>)>;

/// Finds the cut of each test that the columns were gathered from.
pub(crate) struct Cuts {
    places: Places,
}

impl Cuts {
    /// The test in terms of ranks. None for a test of another forest.
    pub(crate) fn of(&self, test: &Test) -> Option<Cut> {
        let (key, boundary, true_is_right) = canonical(test);
        let (column, boundaries) = self.places.get(&key)?;
        let missing_is_right = test.missing_is_true == true_is_right;
        Some(Cut { column: *column, cut: *boundaries.get(&boundary)?, missing_is_right, true_is_right })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a line, with some and with many, and where one more begins.
    #[test]
    fn a_rank_is_how_many_thresholds_lie_below() {
        for count in [1, 2, 15, 16, 17, 31, 32, 33, 48, 511, 512, 513, 544, 8_191, 8_192, 8_193, 8_500] {
            let mut columns = Columns { columns: Vec::new(), lines: Vec::new(), features: 0 };
            let boundaries: Vec<f32> = (0..count).map(|threshold| threshold as f32).collect();
            columns.add(Key { feature: 0, equals: None }, &boundaries);
            let rank = |x: f32| columns.ranks(&[x]).next().flatten();
            for below in 0..count {
                assert_eq!(rank(below as f32), Some(below), "{below} among {count}");
                assert_eq!(rank(below as f32 + 0.5), Some(below + 1), "{below}.5 among {count}");
            }
            assert_eq!([f32::NEG_INFINITY, f32::INFINITY, f32::NAN].map(rank), [Some(0), Some(count), None]);
        }
    }
}
