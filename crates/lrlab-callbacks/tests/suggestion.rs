//! The suggested rate for curves of known shape and noise.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]
#![allow(clippy::unwrap_used, reason = "panics fail the test")]

use lrlab_callbacks::{NoSuggestion, Suggestion, suggest_lr};

/// Returns rates from 1e-6 to 10 with their losses; `loss` is a function of the decimal logarithm of the rate.
fn curve(n: usize, loss: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let exponent = |i: usize| -6.0 + 7.0 * i as f64 / (n - 1) as f64;
    (0..n).map(exponent).map(|x| (10_f64.powf(x), loss(x))).collect()
}

/// Returns a generator of approximately normal numbers with mean 0 and standard deviation 1.
fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        let mut sum = -6.0;
        for _ in 0..12 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            sum += (state >> 11) as f64 / (1_u64 << 53) as f64;
        }
        sum
    }
}

/// Returns the bias-corrected moving average, as in the range test.
fn smoothed(points: &[(f64, f64)], beta: f64) -> Vec<(f64, f64)> {
    let (mut average, mut weight) = (0.0, 0.0);
    let mut next = |&(lr, loss): &(f64, f64)| {
        average = beta * average + (1.0 - beta) * loss;
        weight = beta * weight + 1.0 - beta;
        (lr, average / weight)
    };
    points.iter().map(&mut next).collect()
}

/// Returns `loss` with noise of standard deviation `sigma`, smoothed.
fn noisy(n: usize, sigma: f64, beta: f64, seed: u64, loss: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let mut draw = noise(seed);
    let raw: Vec<_> = curve(n, loss).into_iter().map(|(lr, loss)| (lr, loss + sigma * draw())).collect();
    smoothed(&raw, beta)
}

/// 2 up to a rate of 1e-4, then down to 1 at 1e-1, then up.
fn bowl(x: f64) -> f64 {
    match x {
        ..-4.0 => 2.0,
        ..-1.0 => 1.0 + ((x + 1.0) / 3.0).powi(2),
        _ => 1.0 + 4.0 * (x + 1.0),
    }
}

fn at(points: &[(f64, f64)], beta: f64) -> Suggestion {
    suggest_lr(points, beta).unwrap()
}

fn none(points: &[(f64, f64)], beta: f64) -> NoSuggestion {
    suggest_lr(points, beta).unwrap_err()
}

#[test]
fn the_suggestion_lies_in_the_middle_of_the_descent() {
    let found = at(&curve(141, bowl), 0.0);
    // Half of the fall remains where ((x + 1) / 3)² = 1/2.
    let half = 10_f64.powf(-1.0 - 3.0 * 0.5_f64.sqrt());
    assert!((found.lr / half).log10().abs() < 0.06, "{found:?}, expected {half}");
    assert!((found.lowest_lr / 0.1 - 1.0).abs() < 1e-9 && (found.lowest_loss - 1.0).abs() < 1e-12);
    // If the loss falls abruptly, the margin to the lowest loss determines the suggestion.
    let cliff = |x: f64| {
        if x < -2.0 {
            2.0
        } else if x < -1.7 {
            1.0
        } else {
            3.0
        }
    };
    let found = at(&curve(141, cliff), 0.0);
    assert!((found.lr * 4.0 / found.lowest_lr - 1.0).abs() < 1e-12 && found.lr < 1e-2, "{found:?}");
}

/// With noise and any smoothing, the suggestion lies within the descent and below the rise.
#[test]
fn noise_and_smoothing_hardly_change_the_suggestion() {
    for beta in [0.0, 0.5, 0.8, 0.9, 0.95] {
        for seed in 0..20 {
            let found = at(&noisy(300, 0.05, beta, seed, bowl), beta);
            assert!((1e-4..2.5e-2).contains(&found.lr), "β = {beta}, seed {seed}: {found:?}");
            assert!(found.lr <= found.lowest_lr / 4.0 && found.lowest_lr < 1.0, "{found:?}");
        }
    }
}

#[test]
fn noise_alone_gives_no_suggestion() {
    for beta in [0.0, 0.8, 0.9, 0.98] {
        for n in [40, 100, 300] {
            let wrong = (0..50).filter(|&seed| suggest_lr(&noisy(n, 0.1, beta, seed, |_| 1.4), beta).is_ok());
            assert!(wrong.count() <= 1, "β = {beta}, {n} updates");
        }
    }
}

/// This holds even if the loss ends below its initial value.
#[test]
fn the_recovery_from_an_explosion_is_not_a_descent() {
    let at_once = |x: f64| {
        if x < -5.9 {
            1.4
        } else if x < -5.0 {
            60.0
        } else {
            10.0 - x
        }
    };
    let later = |x: f64| {
        if x < -3.0 {
            1.4
        } else if x < -1.0 {
            60.0
        } else {
            0.3
        }
    };
    for beta in [0.0, 0.9] {
        for seed in 0..10 {
            let found = none(&noisy(200, 0.05, beta, seed, at_once), beta);
            assert!(matches!(found, NoSuggestion::Rises { lr } if lr < 6e-6), "{found}");
            let found = none(&noisy(200, 0.05, beta, seed, later), beta);
            assert!(matches!(found, NoSuggestion::NoFall { .. }), "{found}");
            // Only a descent before the explosion counts.
            let both = |x: f64| if x < -1.5 { bowl(x) } else { later(x) };
            let found = at(&noisy(200, 0.05, beta, seed, both), beta);
            assert!(found.lowest_lr < 0.1 && found.lr < 1e-2, "{found:?}");
        }
    }
}

/// A constant or a factor of the loss does not change the suggestion, also for negative losses.
#[test]
fn the_suggestion_does_not_depend_on_the_scale_of_the_loss() {
    for seed in 0..10 {
        let points = noisy(200, 0.05, 0.9, seed, bowl);
        let known = at(&points, 0.9);
        for (scale, shift) in [(1.0, -1.5), (1.0, -40.0), (1e-3, 0.0), (1e3, -7.0)] {
            let other: Vec<_> = points.iter().map(|&(lr, loss)| (lr, scale * loss + shift)).collect();
            assert_eq!(at(&other, 0.9).lr, known.lr, "{scale} · loss + {shift}");
        }
    }
}

#[test]
fn losses_without_a_descent_give_no_suggestion() {
    let fall = |found: NoSuggestion| match found {
        NoSuggestion::NoFall { fall, noise } => (fall, noise),
        other => panic!("{other}"),
    };
    for value in [0.0, 0.7, -3.0] {
        assert_eq!(fall(none(&curve(100, |_| value), 0.9)).0, 0.0);
    }
    for rising in [(|x: f64| x) as fn(f64) -> f64, |x| x.exp(), |x| (x + 6.0).powi(3) - 4.0] {
        let found = none(&smoothed(&curve(100, rising), 0.9), 0.9);
        let rises = matches!(found, NoSuggestion::Rises { .. });
        assert!(rises || matches!(found, NoSuggestion::NoFall { fall: 0.0, .. }), "{found}");
    }
    // A loss that only falls has its minimum at the end.
    let found = at(&smoothed(&curve(100, |x| -x), 0.9), 0.9);
    assert!((found.lowest_lr / 10.0 - 1.0).abs() < 1e-9 && found.lr <= 2.5, "{found:?}");
}

#[test]
fn few_or_invalid_points_are_an_error() {
    let points = curve(141, bowl);
    for n in [0, 1, 2, 9] {
        assert_eq!(none(&points[..n], 0.9), NoSuggestion::TooFew { points: n });
    }
    assert!(
        none(&points[..1], 0.9)
            .to_string()
            .contains("the number of finite losses is 1, expected at least 10")
    );
    let known = at(&points[..110], 0.0);
    for (lr, loss) in [(1.0, f64::NAN), (1.0, f64::INFINITY), (f64::NAN, 1.0), (0.0, 1.0), (-1.0, 1.0)] {
        let mut invalid = points.clone();
        invalid[110] = (lr, loss);
        assert_eq!(at(&invalid, 0.0), known);
        invalid[4] = (lr, loss);
        assert_eq!(none(&invalid, 0.0), NoSuggestion::TooFew { points: 4 });
    }
    // An invalid weight is treated as 0.
    for beta in [1.0, -0.5, f64::NAN] {
        assert_eq!(at(&points, beta), at(&points, 0.0));
    }
}
