//! eˣ in plain arithmetic, which the compiler makes vectors of. The C library's takes doubles one by one, and a softmax
//! over many labels would wait for it longer than for its trees.

use std::f64::consts::LOG2_E;

/// Added to a number of less than 2⁵¹, leaves it rounded to an integer in the lowest bits: 1.5 × 2⁵².
const ROUNDING: f64 = 6_755_399_441_055_744.0;
/// ln 2 in two parts. The first has its last 21 bits zero, so that its products with integers below 2²¹ are exact.
const LN_2_HIGH: f64 = f64::from_bits(0x3FE6_2E42_FEE0_0000);
const LN_2_LOW: f64 = f64::from_bits(0x3DEA_39EF_3579_3C76);
/// Beyond these 2ᵏ is no normal double.
const LEAST: f64 = -708.0;
const MOST: f64 = 709.0;

/// eˣ, at most two places of a double beside the C library's. Below −708 it is e⁻⁷⁰⁸ and above 709 e⁷⁰⁹, of both of
/// which a probability keeps nothing; NaN stays NaN.
///
/// x = k ln 2 + r with |r| ≤ ½ ln 2 (W. Cody and W. Waite, Software Manual for the Elementary Functions, 1980, chapter
/// 6), and eʳ is Taylor's sum to the thirteenth power, whose rest is below 2⁻⁵⁷.
#[inline(always)]
pub(crate) fn exponential(x: f64) -> f64 {
    let x = x.clamp(LEAST, MOST);
    let rounded = x * LOG2_E + ROUNDING;
    let k = rounded - ROUNDING;
    let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    // Even and odd powers apart: neither waits for the other. The 1 comes last, so that only its rounding is of its
    // size.
    let square = r * r;
    let even = EVEN.iter().fold(1.0 / 479_001_600.0, |sum, coefficient| sum * square + coefficient);
    let odd = ODD.iter().fold(1.0 / 6_227_020_800.0, |sum, coefficient| sum * square + coefficient);
    let sum = (odd * r + even * square) + 1.0;
    let power = f64::from_bits((rounded.to_bits() << 52).wrapping_add(1.0_f64.to_bits()));
    sum * power
}

/// 1 / n! for n = 10, 8, …, 2.
const EVEN: [f64; 5] = [1.0 / 3_628_800.0, 1.0 / 40_320.0, 1.0 / 720.0, 1.0 / 24.0, 1.0 / 2.0];
/// 1 / n! for n = 11, 9, …, 1.
const ODD: [f64; 6] = [1.0 / 39_916_800.0, 1.0 / 362_880.0, 1.0 / 5_040.0, 1.0 / 120.0, 1.0 / 6.0, 1.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_near_as_doubles_allow() {
        let steps = 2_000_000;
        for step in 0..=steps {
            let x = LEAST + (MOST - LEAST) * f64::from(step) / f64::from(steps);
            let (got, expected) = (exponential(x), x.exp());
            let places = got.to_bits().abs_diff(expected.to_bits());
            assert!(places <= 2, "e^{x}: {got}, the C library says {expected}, {places} places away");
        }
    }

    #[test]
    fn its_ends() {
        assert_eq!(exponential(0.0), 1.0);
        assert_eq!(exponential(-0.0), 1.0);
        assert_eq!(exponential(f64::NEG_INFINITY) as f32, 0.0);
        assert_eq!((1.0 / (1.0 + exponential(f64::INFINITY))) as f32, 0.0);
        assert!(exponential(f64::NAN).is_nan());
    }
}
