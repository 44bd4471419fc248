//! The sign-flip test of paired differences (Fisher, The Design of Experiments, 1935, section 21).

use std::array;

use lrlab_random::Stream;

/// The maximum number of pairs whose sign patterns are enumerated; for more, patterns are sampled.
const EXACT_UP_TO: usize = 20;
const SAMPLES: usize = 100_000;

/// The test in a sentence, for captions.
pub(crate) const SIGN_FLIP: &str =
    "Sign-flip tests are exact for up to 20 pairs; for more, they sample 100,000 sign patterns.";
const _: () = assert!(EXACT_UP_TO == 20 && SAMPLES == 100_000, "SIGN_FLIP names both numbers");

/// A two-sided sign-flip test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignFlip {
    /// The share of sign patterns whose mean is at least as far from zero as the observed mean.
    pub p: f64,
    /// The smallest possible p for this number of pairs: 2/2ⁿ, or 1/100,001 if that is more and patterns are sampled.
    pub smallest: f64,
    /// Whether all patterns were enumerated.
    pub exact: bool,
}

/// Tests the null hypothesis that each paired difference is equally likely with either sign. For more than 20 pairs, sign
/// patterns are sampled from `stream`. `None` for no pairs, if a difference is not finite, or if the sum of their magnitudes
/// overflows.
#[must_use]
pub fn sign_flip(differences: &[f64], stream: Stream) -> Option<SignFlip> {
    let n = differences.len();
    let magnitude: f64 = differences.iter().map(|d| d.abs()).sum();
    if n == 0 || !magnitude.is_finite() {
        return None;
    }
    let observed = differences.iter().sum::<f64>().abs();
    // Sums that are equal up to rounding count as equal.
    let slack = 1e-12 * magnitude;
    let as_far = |sum: f64| sum.abs() >= observed - slack;
    let smallest = 2.0_f64.powi(1 - n as i32);
    if n <= EXACT_UP_TO {
        // A pattern and its negation are equally far from zero, so half of the patterns suffice.
        let half = 1_u64 << (n - 1);
        let count = (0..half).filter(|signs| as_far(flipped(differences, *signs))).count();
        return Some(SignFlip { p: count as f64 / half as f64, smallest, exact: true });
    }
    let words = n.div_ceil(128) as u64;
    let mut sums = vec![0.0; SAMPLES];
    for (word, differences) in (0..).zip(differences.chunks(128)) {
        // The sums of eight differences under each of their 256 sign patterns.
        let bytes: Vec<[f64; 256]> =
            differences.chunks(8).map(|eight| array::from_fn(|signs| flipped(eight, signs as u64))).collect();
        for (draw, sum) in (0..).zip(&mut sums) {
            let signs = stream.words(draw * words + word).map(u32::to_le_bytes);
            *sum += bytes
                .iter()
                .zip(signs.as_flattened())
                .map(|(sums, signs)| sums[usize::from(*signs)])
                .sum::<f64>();
        }
    }
    let sampled = sums.into_iter().filter(|sum| as_far(*sum)).count();
    // Counts the observed pattern as one of the samples (Phipson and Smyth, 2010).
    let p = |count: usize| (count + 1) as f64 / (SAMPLES + 1) as f64;
    Some(SignFlip { p: p(sampled), smallest: smallest.max(p(0)), exact: false })
}

/// The sum of differences, negative where the bit of `signs` is set.
fn flipped(differences: &[f64], signs: u64) -> f64 {
    let flip = |(i, d): (usize, &f64)| f64::from_bits(d.to_bits() ^ (signs >> i & 1) << 63);
    differences.iter().enumerate().map(flip).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lrlab_random::Purpose;

    fn test(differences: &[f64]) -> SignFlip {
        sign_flip(differences, Stream::new(0, Purpose::Bootstrap, "test")).unwrap()
    }

    /// `scipy.stats.permutation_test((d,), numpy.mean, permutation_type="samples", n_resamples=numpy.inf).pvalue`
    #[test]
    fn known_values() {
        let check = |d: &[f64], p: f64| assert_eq!(test(d).p, p, "{d:?}");
        check(&[0.3], 1.0);
        check(&[0.01, 0.02], 0.5);
        check(&[0.01, -0.02], 1.0);
        check(&[0.1, 0.2, 0.3], 0.25);
        check(&[0.012, 0.021, 0.008, 0.015, 0.019, 0.011], 0.031_25);
        check(&[0.012, -0.021, 0.008, 0.015, 0.019, 0.011], 0.281_25);
        check(&[1.2, -0.4, 0.7, 2.1, -0.1, 0.9, 1.4, 0.3], 0.046_875);
        check(&[0.0, 0.0, 0.0], 1.0);
        check(&[0.1, 0.1, 0.1, 0.1, -0.1], 0.375);
    }

    #[test]
    fn too_few_seeds_cannot_be_significant() {
        for n in 1..=12 {
            let flip = test(&vec![1.0; n]);
            assert_eq!(flip.p, 2.0_f64.powi(1 - n as i32).min(1.0));
            assert_eq!(flip.p, flip.smallest);
            assert!(flip.exact);
        }
        assert_eq!(sign_flip(&[], Stream::new(0, Purpose::Bootstrap, "test")), None);
    }

    /// With few pairs and with sampled patterns.
    #[test]
    fn differences_that_are_not_finite_have_no_test() {
        let stream = Stream::new(0, Purpose::Bootstrap, "test");
        for lost in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for n in [1, 6, 20, 21, 40] {
                let mut differences = vec![0.3; n];
                differences[n / 2] = lost;
                assert_eq!(sign_flip(&differences, stream), None, "{lost} of {n}");
            }
        }
        assert_eq!(sign_flip(&[1.5e308, 1.5e308, -1.0], stream), None, "the sum overflows");
    }

    /// The sums of each sampled pattern, pair by pair; the pairs fill several blocks of draws, the last one in part.
    #[test]
    fn sampled_patterns_are_those_of_the_stream() {
        let stream = Stream::new(3, Purpose::Bootstrap, "test");
        let d: Vec<f64> = (0..300).map(|i| f64::from(i * 37 % 101) / 10.0 - 4.7).collect();
        let observed = d.iter().sum::<f64>().abs();
        let sum = |draw: u64| -> f64 {
            let negative = |i: usize| {
                let block = stream.words(draw * 3 + i as u64 / 128);
                block[i % 128 / 32] >> (i % 32) & 1 == 1
            };
            d.iter().enumerate().map(|(i, x)| if negative(i) { -x } else { *x }).sum()
        };
        let as_far = (0..SAMPLES as u64).filter(|draw| sum(*draw).abs() >= observed - 1e-9).count();
        let test = sign_flip(&d, stream).unwrap();
        assert_eq!(test.p, (as_far + 1) as f64 / (SAMPLES + 1) as f64);
        assert!(!test.exact && (0.001..0.9).contains(&test.p), "{test:?}");
    }

    #[test]
    fn many_pairs_are_sampled() {
        let d: Vec<f64> = (0..30).map(|i| f64::from(i % 7) - 3.0 + 0.9).collect();
        let flip = test(&d);
        assert!(!flip.exact);
        // `scipy.stats.permutation_test` with 1,000,000 resamples gives SAMPLED.
        assert!((flip.p - SAMPLED).abs() < 0.004, "{}", flip.p);
        assert_eq!(flip, test(&d));
    }
    const SAMPLED: f64 = 0.064_598;

    #[test]
    fn sampled_tests_cannot_reach_less_than_their_samples() {
        for n in 21..=40 {
            // No pattern but the observed one and its negation has so large a mean.
            let flip = test(&vec![1.0; n]);
            assert!(flip.p >= flip.smallest && flip.smallest >= 1.0 / 100_001.0, "{n} pairs: {flip:?}");
        }
    }
}
