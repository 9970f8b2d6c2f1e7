//! Counts of hashed character n-grams.
//!
//! Each word is read as ` word ` (a space at both ends, so that beginnings and ends are told apart) in windows of three
//! and four bytes, and whole. Hashing lets any name ever written have a place in a row of fixed width, brands never
//! seen in training among them; counts are whole numbers, so a weighted sum of them is exact in f32 if the weights are
//! whole numbers too.

use super::text::Normalised;

/// Windows, in bytes.
const WINDOWS: [usize; 2] = [3, 4];

/// Adds the n-grams of `text` to `bins` and returns the number of words.
pub(super) fn count(text: &Normalised, bins: &mut [f32]) -> usize {
    if bins.is_empty() {
        return text.words();
    }
    let mut padded = [b' '; super::text::MOST_BYTES + 2];
    for word in text.as_bytes().split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
        let Some(slot) = padded.get_mut(1..=word.len()) else { continue };
        slot.copy_from_slice(word);
        if let Some(end) = padded.get_mut(word.len() + 1) {
            *end = b' ';
        }
        let padded = padded.get(..word.len() + 2).unwrap_or_default();
        for window in WINDOWS {
            for gram in padded.windows(window) {
                add(bins, gram);
            }
        }
        if padded.len() > 4 {
            add(bins, padded);
        }
    }
    text.words()
}

fn add(bins: &mut [f32], gram: &[u8]) {
    let place = usize::try_from(hash(gram) % bins.len() as u64).unwrap_or_default();
    if let Some(bin) = bins.get_mut(place) {
        *bin += 1.0;
    }
}

/// FNV-1a with a final mix: short keys, no state, the same everywhere.
fn hash(gram: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in gram {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bins(text: &str) -> Vec<f32> {
        let mut bins = vec![0.0; 1024];
        count(&Normalised::memo(text), &mut bins);
        bins
    }

    #[test]
    fn every_window_of_every_word_counts_once() {
        // " shell ": 5 windows of 3, 4 of 4, and itself.
        assert!((bins("shell").iter().sum::<f32>() - 10.0).abs() < f32::EPSILON);
        assert!((bins("shell shell").iter().sum::<f32>() - 20.0).abs() < f32::EPSILON);
    }

    #[test]
    fn similar_names_share_most_of_their_places() {
        let (a, b, c) = (bins("pharmacy"), bins("pharmacies"), bins("furniture"));
        let shared = |x: &[f32], y: &[f32]| x.iter().zip(y).filter(|(x, y)| **x > 0.0 && **y > 0.0).count();
        assert!(shared(&a, &b) >= 8 && shared(&a, &c) <= 3);
    }

    #[test]
    fn order_of_words_makes_no_difference() {
        assert_eq!(bins("blue bottle"), bins("bottle blue"));
    }
}
