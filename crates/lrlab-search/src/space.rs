//! Search spaces and the points drawn from them.

use std::collections::HashSet;

use lrlab_random::{Purpose, Stream};
use serde_json::{Number, Value};

/// The values a key may take.
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

impl Space {
    /// Returns every distinct value, or `None` if the space is continuous.
    #[must_use]
    pub fn values(&self) -> Option<Vec<Value>> {
        let all: Vec<Value> = match self {
            Self::Choice(values) => values.clone(),
            Self::Linear { points: Some(n), .. } | Self::Log { points: Some(n), .. } => {
                (0..*n).map(|i| self.at(if *n > 1 { i as f64 / (*n - 1) as f64 } else { 0.0 })).collect()
            }
            Self::Linear { .. } | Self::Log { .. } => return None,
        };
        let mut distinct: Vec<Value> = Vec::with_capacity(all.len());
        for value in all {
            if !distinct.contains(&value) {
                distinct.push(value);
            }
        }
        Some(distinct)
    }

    /// Returns the value at a fraction of the way from `min` to `max`, 0 … 1.
    fn at(&self, share: f64) -> Value {
        match *self {
            Self::Linear { min, max, whole, .. } => number((max - min).mul_add(share, min), whole, min, max),
            Self::Log { min, max, whole, .. } => number(min * libm::pow(max / min, share), whole, min, max),
            Self::Choice(ref values) => {
                let index = (share * values.len() as f64) as usize;
                values.get(index.min(values.len().saturating_sub(1))).cloned().unwrap_or_default()
            }
        }
    }
}

/// Rounds to an integer, or to four significant digits for readability.
fn number(x: f64, whole: bool, min: f64, max: f64) -> Value {
    if whole {
        return Value::from(x.round().clamp(min.ceil(), max.floor()) as i64);
    }
    let short = format!("{x:.3e}").parse().unwrap_or(x).clamp(min, max);
    Number::from_f64(short).map_or(Value::Null, Value::Number)
}

/// The draws per point after which the space counts as exhausted.
const MAX_TRIES: u64 = 1000;

/// Draws `trials` distinct points, each with one value per space. Returns `None` if the spaces contain fewer.
///
/// A key's values depend only on the seed, the key's name and the index of the draw, so arms that search the same keys
/// have the same points.
#[must_use]
pub fn draw(spaces: &[(String, Space)], trials: usize, seed: u64) -> Option<Vec<Vec<Value>>> {
    if points(spaces).is_some_and(|count| count < trials) {
        return None;
    }
    let values: Vec<(Stream, Option<Vec<Value>>, &Space)> = spaces
        .iter()
        .map(|(name, space)| (Stream::new(seed, Purpose::Search, name), space.values(), space))
        .collect();
    let one = |(stream, known, space): &(Stream, Option<Vec<Value>>, &Space), index: u64| match known {
        Some(known) => known[stream.below(index, known.len() as u64) as usize].clone(),
        None => space.at(stream.uniform(index)),
    };
    let (mut points, mut known) = (Vec::new(), HashSet::new());
    for index in 0..MAX_TRIES.saturating_mul(trials as u64) {
        if points.len() == trials {
            break;
        }
        let point: Vec<Value> = values.iter().map(|entry| one(entry, index)).collect();
        if known.insert(point.clone()) {
            points.push(point);
        }
    }
    (points.len() == trials).then_some(points)
}

/// Returns the number of points, at most [`usize::MAX`], or `None` if a space is continuous.
#[must_use]
pub fn points(spaces: &[(String, Space)]) -> Option<usize> {
    spaces.iter().try_fold(1_usize, |count, (_, space)| Some(count.saturating_mul(space.values()?.len())))
}

/// Returns every point, the last space varying fastest, or `None` if a space is continuous.
#[must_use]
pub fn grid(spaces: &[(String, Space)]) -> Option<Vec<Vec<Value>>> {
    spaces.iter().try_fold(vec![Vec::new()], |points, (_, space)| {
        let values = space.values()?;
        let extend = |point: &Vec<Value>| -> Vec<Vec<Value>> {
            values.iter().map(|value| [point.as_slice(), std::slice::from_ref(value)].concat()).collect()
        };
        Some(points.iter().flat_map(extend).collect())
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
        assert_eq!(draw(&spaces, 9, 0), None);
        assert_eq!(
            draw(&[("n".to_owned(), Space::Linear { min: 1.0, max: 3.0, points: None, whole: true })], 4, 0),
            None
        );
        assert_eq!(grid(&[("n".to_owned(), log(1.0, 2.0, None))]), None);
    }
}
