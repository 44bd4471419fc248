//! Search spaces and the points drawn from them.

use std::collections::HashSet;

use lrlab_random::{Purpose, Stream};
use serde_json::Value;

use crate::Error;
use crate::range::Range;

/// The values a key may take.
///
/// The numbers of a range that is not `whole` are rounded to four significant digits, so that they are readable. In a narrow
/// range, where the first digits of all values agree, they have ⌊log₁₀(max(|min|, |max|) / (max − min))⌋ more: seven from 1000 to
/// 1001. Rounded values stay between `min` and `max`.
#[derive(Debug, Clone, PartialEq)]
pub enum Space {
    /// From `min` to `max`, uniform.
    Linear {
        /// The lowest value.
        min: f64,
        /// The highest value.
        max: f64,
        /// If set, only this many evenly spaced values, both ends included.
        points: Option<usize>,
        /// Whether values are rounded to integers.
        whole: bool,
    },
    /// From `min` to `max`, uniform in the logarithm.
    Log {
        /// The lowest value, above 0.
        min: f64,
        /// The highest value.
        max: f64,
        /// If set, only this many values at equal ratios, both ends included.
        points: Option<usize>,
        /// Whether values are rounded to integers.
        whole: bool,
    },
    /// One of these values.
    Choice(Vec<Value>),
}

/// The maximum number of points of a range.
const MAX_POINTS: usize = 1_000_000;

/// The values of a valid space.
enum Source {
    /// The distinct values.
    List(Vec<Value>),
    /// Any value of a range.
    Range(Range),
}

impl Space {
    /// Checks that the space has values: a choice that is not empty, or a range of finite numbers from `min` up to `max`. The
    /// `min` of a logarithm is above 0, `points` is 1 … 1,000,000, and a `whole` range has ends within ±2⁵³ and an integer
    /// between them.
    ///
    /// # Errors
    /// Returns [`Error::Space`], which names `key` and the invalid value.
    pub fn check(&self, key: &str) -> Result<(), Error> {
        self.source(key).map(drop)
    }

    /// Returns every distinct value, or `None` if the space is continuous or [invalid](Self::check).
    #[must_use]
    pub fn values(&self) -> Option<Vec<Value>> {
        match self.source("") {
            Ok(Source::List(values)) => Some(values),
            _ => None,
        }
    }

    fn source(&self, key: &str) -> Result<Source, Error> {
        let error = |problem| Error::Space { key: key.to_owned(), problem };
        let (range, points) = match *self {
            Self::Choice(ref values) if values.is_empty() => {
                return Err(error("the choice is empty".to_owned()));
            }
            Self::Choice(ref values) => return Ok(Source::List(distinct(values.iter().cloned()))),
            Self::Linear { min, max, points, whole } => (Range { min, max, log: false, whole }, points),
            Self::Log { min, max, points, whole } => (Range { min, max, log: true, whole }, points),
        };
        if let Some(problem) = range.problem() {
            return Err(error(problem));
        }
        match points {
            None => Ok(Source::Range(range)),
            Some(n @ 1..=MAX_POINTS) => {
                let intervals = (n - 1).max(1) as f64;
                Ok(Source::List(distinct((0..n).map(|i| range.at(i as f64 / intervals)))))
            }
            Some(n) => Err(error(format!("`points` is {n}: expected 1 … {MAX_POINTS}"))),
        }
    }
}

fn distinct(values: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut known = HashSet::new();
    values.filter(|value| known.insert(value.clone())).collect()
}

/// The draws per point after which the space counts as exhausted.
const MAX_TRIES: u64 = 1000;

/// Draws `trials` distinct points, each with one value per space.
///
/// A key's values depend only on the seed, the key's name and the index of the draw, so arms that search the same keys
/// have the same points.
///
/// # Errors
/// Returns [`Error::Space`] if a space is [invalid](Space::check), and [`Error::TooFewPoints`] if the spaces contain fewer
/// points.
pub fn draw(spaces: &[(String, Space)], trials: usize, seed: u64) -> Result<Vec<Vec<Value>>, Error> {
    let source =
        |(key, space): &(String, Space)| Ok((Stream::new(seed, Purpose::Search, key), space.source(key)?));
    let sources: Vec<(Stream, Source)> = spaces.iter().map(source).collect::<Result<_, Error>>()?;
    let too_few = Error::TooFewPoints { trials };
    if points(spaces).is_some_and(|count| count < trials) {
        return Err(too_few);
    }
    let one = |(stream, source): &(Stream, Source), index: u64| match source {
        Source::List(values) => values[stream.below(index, values.len() as u64) as usize].clone(),
        Source::Range(range) => range.at(stream.uniform(index)),
    };
    let (mut points, mut known) = (Vec::new(), HashSet::new());
    for index in 0..MAX_TRIES.saturating_mul(trials as u64) {
        if points.len() == trials {
            break;
        }
        let point: Vec<Value> = sources.iter().map(|source| one(source, index)).collect();
        if known.insert(point.clone()) {
            points.push(point);
        }
    }
    if points.len() == trials { Ok(points) } else { Err(too_few) }
}

/// Returns the number of points, at most [`usize::MAX`], or `None` if a space is continuous or [invalid](Space::check).
#[must_use]
pub fn points(spaces: &[(String, Space)]) -> Option<usize> {
    spaces.iter().try_fold(1_usize, |count, (_, space)| Some(count.saturating_mul(space.values()?.len())))
}

/// Returns every point, the last space varying fastest.
///
/// # Errors
/// Returns [`Error::Space`] if a space is [invalid](Space::check), and [`Error::Continuous`] if one is continuous.
pub fn grid(spaces: &[(String, Space)]) -> Result<Vec<Vec<Value>>, Error> {
    spaces.iter().try_fold(vec![Vec::new()], |points, (key, space)| {
        let Source::List(values) = space.source(key)? else {
            return Err(Error::Continuous { key: key.clone() });
        };
        let extend = |point: &Vec<Value>| -> Vec<Vec<Value>> {
            values.iter().map(|value| [point.as_slice(), std::slice::from_ref(value)].concat()).collect()
        };
        Ok(points.iter().flat_map(extend).collect())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn log(min: f64, max: f64, points: Option<usize>) -> Space {
        Space::Log { min, max, points, whole: false }
    }

    #[test]
    fn spaced_values() {
        let check = |space: Space, expected: Value| assert_eq!(json!(space.values()), expected);
        check(log(1e-3, 1.0, Some(4)), json!([0.001, 0.01, 0.1, 1.0]));
        check(log(0.1, 0.1, Some(1)), json!([0.1]));
        check(
            Space::Linear { min: 0.0, max: 0.9, points: Some(4), whole: false },
            json!([0.0, 0.3, 0.6, 0.9]),
        );
        check(Space::Log { min: 16.0, max: 128.0, points: Some(4), whole: true }, json!([16, 32, 64, 128]));
        check(Space::Linear { min: 1.0, max: 2.0, points: Some(5), whole: true }, json!([1, 2]));
        check(Space::Choice(vec![json!("a"), json!(2)]), json!(["a", 2]));
        check(log(1.0, 2.0, None), json!(null));
    }

    #[test]
    fn draws_are_seeded_distinct_and_within_bounds() {
        let spaces = [
            ("lr".to_owned(), log(1e-4, 1.0, None)),
            ("batch_size".to_owned(), Space::Choice(vec![json!(16), json!(32)])),
        ];
        let points = draw(&spaces, 50, 3).unwrap();
        assert_eq!(points, draw(&spaces, 50, 3).unwrap());
        assert_ne!(points, draw(&spaces, 50, 4).unwrap());
        assert_eq!(points[..20], draw(&spaces, 20, 3).unwrap(), "more trials keep the earlier ones");
        let rates: Vec<f64> = points.iter().map(|point| point[0].as_f64().unwrap()).collect();
        assert!(rates.iter().all(|lr| (1e-4..=1.0).contains(lr)));
        let small = rates.iter().filter(|lr| **lr < 1e-2).count();
        assert!((15..=35).contains(&small), "{small} of 50 below the middle of the logarithm");
        for (i, point) in points.iter().enumerate() {
            assert!(!points[..i].contains(point));
        }
        // The rate does not depend on the other searched keys.
        assert_eq!(draw(&spaces[..1], 1, 3).unwrap()[0][0], points[0][0]);
    }

    #[test]
    fn a_small_space_can_be_exhausted() {
        let spaces = [
            ("a".to_owned(), log(1.0, 8.0, Some(4))),
            ("b".to_owned(), Space::Choice(vec![json!(1), json!(2)])),
        ];
        assert_eq!(grid(&spaces).unwrap().len(), 8);
        let mut drawn = draw(&spaces, 8, 0).unwrap();
        drawn.sort_by_key(|point| json!(point).to_string());
        let mut all = grid(&spaces).unwrap();
        all.sort_by_key(|point| json!(point).to_string());
        assert_eq!(drawn, all);
        assert_eq!(draw(&spaces, 9, 0), Err(Error::TooFewPoints { trials: 9 }));
        assert_eq!(
            draw(&[("n".to_owned(), Space::Linear { min: 1.0, max: 3.0, points: None, whole: true })], 4, 0),
            Err(Error::TooFewPoints { trials: 4 })
        );
        let continuous = Error::Continuous { key: "n".to_owned() };
        assert_eq!(grid(&[("n".to_owned(), log(1.0, 2.0, None))]), Err(continuous));
    }

    /// The rates of `experiments/search.toml`, whose runs have ids that depend on them.
    #[test]
    fn draws_do_not_change() {
        let points = draw(&[("lr".to_owned(), log(1e-3, 1.0, None))], 9, 0).unwrap();
        let rates = [0.3856, 0.002_476, 0.8057, 0.2706, 0.003_452, 0.087_98, 0.111, 0.034_66, 0.1954];
        assert_eq!(points, rates.map(|rate| vec![json!(rate)]));
    }

    /// Four digits would be one value or two of them.
    #[test]
    fn a_narrow_range_has_as_many_points_as_a_wide_one() {
        for (min, max) in [(0.99, 0.999), (0.999, 0.999_9), (2e6, 2_000_001.0), (-0.5, -0.499_999)] {
            let space = Space::Linear { min, max, points: None, whole: false };
            let points = draw(&[("momentum".to_owned(), space)], 500, 1).unwrap();
            let within = |point: &Vec<Value>| (min..=max).contains(&point[0].as_f64().unwrap());
            assert!(points.iter().all(within), "{min} {max}");
            let space = Space::Linear { min, max, points: Some(400), whole: false };
            assert_eq!(space.values().map(|values| values.len()), Some(400), "{min} {max}");
        }
    }

    #[test]
    fn invalid_spaces() {
        let check = |space: Space, problem: &str| {
            let error = Error::Space { key: "decay".to_owned(), problem: problem.to_owned() };
            assert_eq!(error.to_string(), format!("`decay`: {problem}"));
            // Another space is continuous, so that the points cannot be counted.
            let spaces = [("lr".to_owned(), log(0.1, 1.0, None)), ("decay".to_owned(), space.clone())];
            assert_eq!(space.check("decay"), Err(error.clone()));
            assert_eq!(draw(&spaces, 3, 0), Err(error.clone()));
            assert_eq!(grid(&spaces[1..]), Err(error));
            assert_eq!((space.values(), points(&spaces[1..])), (None, None));
        };
        check(Space::Choice(vec![]), "the choice is empty");
        check(log(0.1, 1.0, Some(0)), "`points` is 0: expected 1 … 1000000");
        check(log(0.1, 1.0, Some(usize::MAX)), &format!("`points` is {}: expected 1 … 1000000", usize::MAX));
        check(log(0.0, 1.0, None), "`min` is 0.0: a logarithm needs a number above 0");
        check(log(-1.0, 1.0, Some(3)), "`min` is -1.0: a logarithm needs a number above 0");
        for whole in [false, true] {
            check(
                Space::Linear { min: 7.0, max: 4.0, points: None, whole },
                "`max` is 4.0: expected at least `min`, which is 7.0",
            );
            check(
                Space::Linear { min: 1.0, max: f64::NAN, points: Some(2), whole },
                "`max` is NaN: expected a finite number",
            );
        }
        check(
            Space::Linear { min: 4.1, max: 4.9, points: Some(3), whole: true },
            "`max` is 4.9: no integer lies between it and `min`, which is 4.1",
        );
        let valid = [Space::Choice(vec![json!(null)]), log(0.5, 0.5, Some(1)), log(1e-8, 1.0, None)];
        assert!(valid.iter().all(|space| space.check("lr").is_ok()));
    }
}
