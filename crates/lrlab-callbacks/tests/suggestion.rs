//! The rate that a range test suggests: curves of known shape, noise of a known size.

#![allow(clippy::disallowed_methods, reason = "a reference may call the system's functions")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use lrlab_callbacks::{NoSuggestion, Suggestion, suggest_lr};

/// Rates from 1e-6 to 10 and the loss at each rate's decimal logarithm.
fn curve(n: usize, loss: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let exponent = |i: usize| -6.0 + 7.0 * i as f64 / (n - 1) as f64;
    (0..n).map(exponent).map(|x| (10_f64.powf(x), loss(x))).collect()
}

/// Numbers of mean 0 and standard deviation 1, nearly normal.
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

/// The moving average without its bias, as a range test keeps it.
fn smoothed(points: &[(f64, f64)], beta: f64) -> Vec<(f64, f64)> {
    let (mut average, mut weight) = (0.0, 0.0);
    let mut next = |&(lr, loss): &(f64, f64)| {
        average = beta * average + (1.0 - beta) * loss;
        weight = beta * weight + 1.0 - beta;
        (lr, average / weight)
    };
    points.iter().map(&mut next).collect()
}

/// `loss` with noise of standard deviation `sigma`, smoothed.
fn noisy(n: usize, sigma: f64, beta: f64, seed: u64, loss: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let mut draw = noise(seed);
    let raw: Vec<_> = curve(n, loss).into_iter().map(|(lr, loss)| (lr, loss + sigma * draw())).collect();
    smoothed(&raw, beta)
}

/// 2 up to a rate of 1e-4, down to 1 at 1e-1, up from there.
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
fn a_bowl_whose_descent_is_known() {
    let found = at(&curve(141, bowl), 0.0);
    // Half of the fall is left where ((x + 1) / 3)² = 1/2.
    let half = 10_f64.powf(-1.0 - 3.0 * 0.5_f64.sqrt());
    assert!((found.lr / half).log10().abs() < 0.06, "{found:?}, expected {half}");
    assert!((found.lowest_lr / 0.1 - 1.0).abs() < 1e-9 && (found.lowest_loss - 1.0).abs() < 1e-12);
    // Where the loss falls at once, the margin to its lowest decides.
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

/// With noise, whatever is smoothed how strongly, the suggestion stays within the descent and below the rise.
#[test]
fn noise_and_smoothing_change_little() {
    for beta in [0.0, 0.5, 0.8, 0.9, 0.95] {
        for seed in 0..20 {
            let found = at(&noisy(300, 0.05, beta, seed, bowl), beta);
            assert!((1e-4..2.5e-2).contains(&found.lr), "β = {beta}, seed {seed}: {found:?}");
            assert!(found.lr <= found.lowest_lr / 4.0 && found.lowest_lr < 1.0, "{found:?}");
        }
    }
}

#[test]
fn noise_alone_suggests_nothing() {
    for beta in [0.0, 0.8, 0.9, 0.98] {
        for n in [40, 100, 300] {
            let wrong = (0..50).filter(|&seed| suggest_lr(&noisy(n, 0.1, beta, seed, |_| 1.4), beta).is_ok());
            assert!(wrong.count() <= 1, "β = {beta}, {n} updates");
        }
    }
}

/// What comes after an explosion is no descent, also where it ends below the begin.
#[test]
fn the_recovery_from_an_explosion_is_no_descent() {
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
            // A descent before it counts, and it alone.
            let both = |x: f64| if x < -1.5 { bowl(x) } else { later(x) };
            let found = at(&noisy(200, 0.05, beta, seed, both), beta);
            assert!(found.lowest_lr < 0.1 && found.lr < 1e-2, "{found:?}");
        }
    }
}

/// Adding to a loss or scaling it changes no rate; losses below zero are as good as others.
#[test]
fn the_scale_of_the_loss_does_not_matter() {
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
fn losses_that_show_no_descent() {
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
    // One that only falls has its lowest at the end.
    let found = at(&smoothed(&curve(100, |x| -x), 0.9), 0.9);
    assert!((found.lowest_lr / 10.0 - 1.0).abs() < 1e-9 && found.lr <= 2.5, "{found:?}");
}

#[test]
fn few_points_and_points_that_are_none() {
    let points = curve(141, bowl);
    for n in [0, 1, 2, 9] {
        assert_eq!(none(&points[..n], 0.9), NoSuggestion::TooFew { points: n });
    }
    assert!(
        none(&points[..1], 0.9).to_string().contains("1 finite losses are too few, expected at least 10")
    );
    let known = at(&points[..110], 0.0);
    for (lr, loss) in [(1.0, f64::NAN), (1.0, f64::INFINITY), (f64::NAN, 1.0), (0.0, 1.0), (-1.0, 1.0)] {
        let mut spoilt = points.clone();
        spoilt[110] = (lr, loss);
        assert_eq!(at(&spoilt, 0.0), known);
        spoilt[4] = (lr, loss);
        assert_eq!(none(&spoilt, 0.0), NoSuggestion::TooFew { points: 4 });
    }
    // A weight that is none is taken for 0.
    for beta in [1.0, -0.5, f64::NAN] {
        assert_eq!(at(&points, beta), at(&points, 0.0));
    }
}
