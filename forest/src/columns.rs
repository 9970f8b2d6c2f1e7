//! Every distinct comparison of a forest, grouped by feature.
//!
//! A column is one feature with its thresholds in rising order, or one feature with one value that nodes compare for
//! equality. The rank of a value is how many thresholds lie below it, so `value > threshold[cut]` is `rank > cut`:
//! exact, since the floats themselves are compared when the rank is taken, once per row instead of once per node.
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
//! equality with NaN, which no value has. NaN itself is a missing value and has no rank: each node determines its way.

use std::collections::BTreeMap;

use crate::ensemble::Mode;
use crate::tree::{Node, Test, Tree};

/// Thresholds that one page holds: an index into a page is masked, which the compiler needs not check, and so can look
/// up many at once. 16 KiB, which the nearest cache has room for.
const PAGE: usize = 4096;

/// A test of ONNX in terms of ranks: right if the rank in `column` is above `cut`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) column: u32,
    pub(crate) cut: u32,
    /// A missing value goes right.
    pub(crate) missing_is_right: bool,
    /// The test's true branch is the right one.
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

#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    feature: u32,
    cuts: u32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Thresholds within one page, from `start` on; with the NaNs after them they are `size`, a power of two, which no
    /// rank reaches.
    Paged { page: u32, start: u32, size: u32 },
    /// More than a page holds, in `long`; the same otherwise.
    Long { start: u32, size: u32 },
    /// Rank 1 for this value.
    Equals { value: f32 },
}

/// All columns of a forest.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns {
    columns: Vec<Column>,
    /// Places not used hold NaN, which no value is above.
    pages: Vec<[f32; PAGE]>,
    /// Of the last page.
    used: usize,
    long: Vec<f32>,
    /// Features that a row must have.
    features: usize,
}

impl Columns {
    /// Gathers the columns that the trees need, and the index to find a test's cut.
    pub(crate) fn gather(trees: &[Tree]) -> (Columns, Cuts) {
        let mut places: Places = BTreeMap::new();
        for node in trees.iter().flat_map(|tree| &tree.nodes) {
            if let Node::Branch { test, .. } = node {
                let (key, boundary, _) = canonical(test);
                places.entry(key).or_default().1.insert(boundary, 0);
            }
        }
        let mut all = Columns::default();
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
            None => self.lay(boundaries),
        };
        self.features = self.features.max(key.feature as usize + 1);
        self.columns.push(Column { feature: key.feature, cuts: boundaries.len() as u32, kind });
    }

    fn lay(&mut self, boundaries: &[f32]) -> Kind {
        let size = (boundaries.len() + 1).next_power_of_two();
        if size > PAGE {
            let start = self.long.len() as u32;
            self.long.extend_from_slice(boundaries);
            self.long.resize(start as usize + size, f32::NAN);
            return Kind::Long { start, size: size as u32 };
        }
        if self.pages.is_empty() || self.used + size > PAGE {
            self.pages.push([f32::NAN; PAGE]);
            self.used = 0;
        }
        let (page, start) = (self.pages.len() - 1, self.used);
        self.used += size;
        let places = self.pages.last_mut().and_then(|page| page.get_mut(start..start + boundaries.len()));
        places.into_iter().for_each(|places| places.copy_from_slice(boundaries));
        Kind::Paged { page: page as u32, start: start as u32, size: size as u32 }
    }

    /// The number of features that a row needs.
    pub(crate) fn features(&self) -> usize {
        self.features
    }

    /// The number of cuts of each column, in the order of the columns.
    pub(crate) fn cuts(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.columns.iter().map(|column| column.cuts)
    }

    /// The ranks of a row, column by column, None for a missing value. A feature that the row lacks is missing.
    #[inline]
    pub(crate) fn ranks<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = Option<u32>> + 'a {
        self.columns.iter().map(move |column| self.rank_of(*column, row))
    }

    /// The columns by themselves, for [`Columns::ranks_in`].
    pub(crate) fn each(&self) -> impl ExactSizeIterator<Item = Column> + '_ {
        self.columns.iter().copied()
    }

    #[inline(always)]
    fn rank_of(&self, column: Column, row: &[f32]) -> Option<u32> {
        let x = row.get(column.feature as usize).copied().unwrap_or(f32::NAN);
        if x.is_nan() {
            return None;
        }
        Some(match column.kind {
            Kind::Equals { value } => u32::from(x == value),
            kind => {
                let (thresholds, size) = self.thresholds(kind);
                let mut rank = 0;
                each_step(size, |step| {
                    let threshold = thresholds.get((rank + step - 1) as usize);
                    rank += threshold.map_or(0, |&threshold| step_above(x, threshold, step));
                });
                rank
            }
        })
    }

    fn thresholds(&self, kind: Kind) -> (&[f32], u32) {
        let (all, start, size) = match kind {
            Kind::Paged { page, start, size } => {
                (self.pages.get(page as usize).map_or(&[][..], <[f32; PAGE]>::as_slice), start, size)
            }
            Kind::Long { start, size } => (self.long.as_slice(), start, size),
            Kind::Equals { .. } => (&[][..], 0, 0),
        };
        (all.get(start as usize..(start + size) as usize).unwrap_or_default(), size)
    }

    /// The ranks of many rows in `column`, those that there are; `missing` for a missing value. All rows take each step
    /// of the search together: none waits for another, and nothing is guessed.
    #[inline(always)]
    pub(crate) fn ranks_in<const ROWS: usize>(
        &self,
        column: Column,
        (rows, width): (&[f32], usize),
        missing: u32,
        ranks: &mut [u32; ROWS],
    ) {
        let mut values = [f32::NAN; ROWS];
        for (value, row) in values.iter_mut().zip(rows.chunks_exact(width.max(1))) {
            *value = row.get(column.feature as usize).copied().unwrap_or(f32::NAN);
        }
        let mut found = [0; ROWS];
        match column.kind {
            Kind::Equals { value } => {
                for (rank, &x) in found.iter_mut().zip(&values) {
                    *rank = u32::from(x == value);
                }
            }
            Kind::Paged { page, start, size } => {
                let Some(page) = self.pages.get(page as usize) else { return };
                each_step(size, |step| {
                    for (rank, &x) in found.iter_mut().zip(&values) {
                        let place = (start + *rank + step - 1) as usize % PAGE;
                        *rank += page.get(place).map_or(0, |&threshold| step_above(x, threshold, step));
                    }
                });
            }
            kind @ Kind::Long { .. } => {
                let (thresholds, size) = self.thresholds(kind);
                each_step(size, |step| {
                    for (rank, &x) in found.iter_mut().zip(&values) {
                        let threshold = thresholds.get((*rank + step - 1) as usize);
                        *rank += threshold.map_or(0, |&threshold| step_above(x, threshold, step));
                    }
                });
            }
        }
        for ((rank, &found), &x) in ranks.iter_mut().zip(&found).zip(&values) {
            *rank = if x.is_nan() { missing } else { found };
        }
    }
}

/// The step is taken past a threshold that lies below. A mask instead of a condition, of which the compiler would make
/// a branch that is guessed wrong every other time.
#[inline(always)]
fn step_above(x: f32, threshold: f32, step: u32) -> u32 {
    0_u32.wrapping_sub(u32::from(x > threshold)) & step
}

/// The steps of a binary search among `size` places, a power of two: half of them, a quarter, …, 1.
#[inline(always)]
fn each_step(size: u32, mut take: impl FnMut(u32)) {
    let mut step = size / 2;
    while step > 0 {
        take(step);
        step /= 2;
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

    /// One by one and many at once; around powers of two, and with more than a page.
    #[test]
    fn a_rank_is_how_many_thresholds_lie_below() {
        for count in [1, 2, 3, 4, 15, 16, 17, 511, 512, 513, 4_094, 4_095, 4_096, 8_500] {
            let mut columns = Columns::default();
            let boundaries: Vec<f32> = (0..count).map(|threshold| threshold as f32).collect();
            columns.add(Key { feature: 0, equals: None }, &boundaries);
            let rank = |x: f32| {
                let one = columns.ranks(&[x]).next().flatten();
                for column in columns.each() {
                    let mut many = [7; 2];
                    columns.ranks_in(column, (&[0.0, x], 1), u32::MAX, &mut many);
                    assert_eq!(many, [0, one.unwrap_or(u32::MAX)], "{x} among {count}");
                }
                one
            };
            for below in 0..count {
                assert_eq!(rank(below as f32), Some(below), "{below} among {count}");
                assert_eq!(rank(below as f32 + 0.5), Some(below + 1), "{below}.5 among {count}");
            }
            assert_eq!([f32::NEG_INFINITY, f32::INFINITY, f32::NAN].map(rank), [Some(0), Some(count), None]);
        }
    }
}
