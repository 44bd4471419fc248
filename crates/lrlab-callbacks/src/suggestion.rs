//! The rate that the losses of a range test suggest.

/// The share of the sweep at its begin that is not suggested: the moving average has seen too little there.
const WARM_UP: usize = 10;
/// Fewest points that are judged.
const LEAST_POINTS: usize = 10;
/// Standard deviations of the smoothed loss beyond which a fall or a rise is more than noise.
const NOISE: f64 = 5.0;
/// The suggestion is at most the rate of the lowest loss divided by this.
const MARGIN: f64 = 4.0;
/// The median of the magnitude of a normal variable of standard deviation 1.
const MEDIAN_MAGNITUDE: f64 = 0.6745;

/// What a range test came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Suggestion {
    /// The rate to begin with.
    pub lr: f64,
    /// The rate of the lowest smoothed loss before the loss rises; higher than `lr`.
    pub lowest_lr: f64,
    /// The lowest smoothed loss before the loss rises.
    pub lowest_loss: f64,
}

/// Why a range test suggests no rate.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoSuggestion {
    /// There are too few finite losses.
    #[error(
        "{points} finite losses are too few, expected at least {LEAST_POINTS}; try more updates or lower rates"
    )]
    TooFew {
        /// Finite losses before the first that is none.
        points: usize,
    },
    /// The loss rises among the first rates.
    #[error("the loss rises at the rate {lr:.3e} already, among the first of the sweep; begin lower")]
    Rises {
        /// The first rate at which it is above the first loss by more than noise.
        lr: f64,
    },
    /// The loss does not fall by more than its noise, 5 standard deviations, before it rises.
    #[error(
        "the loss falls by {fall:.2e} before it rises, which is within its noise (a standard deviation of {noise:.2e}); \
         try more updates, or rates that begin lower or end higher"
    )]
    NoFall {
        /// By how much it falls.
        fall: f64,
        /// Standard deviation of the smoothed loss.
        noise: f64,
    },
}

/// The rate that `points` (rate and smoothed loss, in ascending order of rate) suggest, where `smoothing` is the weight
/// of the past in the smoothed loss, 0 ≤ `smoothing` < 1.
///
/// Only the descent counts, from the first tenth of the points to the lowest loss before the loss rises again: by half
/// of what it fell, or above where it began, and in either case by more than its noise. So neither the recovery from
/// an explosion nor a dip of the noise is taken for a descent. The suggestion is the rate at which half of the fall was
/// left, taken back by the delay of the moving average, and at most a quarter of the rate of the lowest loss.
///
/// The noise is estimated from the second differences of the loss, which a trend does not change. The middle of the
/// descent is what fastai's `valley` suggests; a rate well below that of the lowest loss is Smith's advice (WACV 2017).
///
/// # Errors
/// There is no such descent; see [`NoSuggestion`].
///
/// ```
/// use lrlab_callbacks::suggest_lr;
///
/// // The loss is 2 at low rates, falls from 1e-3 to 1e-1, then rises.
/// let loss = |x: f64| if x < -3.0 { 2.0 } else { 1.0 + (x + 1.0).powi(2) / 4.0 };
/// let points: Vec<(f64, f64)> =
///     (0..60).map(|i| f64::from(i) / 10.0 - 5.0).map(|x| (10_f64.powf(x), loss(x))).collect();
/// let found = suggest_lr(&points, 0.0)?;
/// assert!(found.lr > 1e-3 && found.lr < found.lowest_lr / 3.9);
/// assert!((found.lowest_lr / 0.1 - 1.0).abs() < 1e-9);
/// # Ok::<(), lrlab_callbacks::NoSuggestion>(())
/// ```
pub fn suggest_lr(points: &[(f64, f64)], smoothing: f64) -> Result<Suggestion, NoSuggestion> {
    let beta = if (0.0..1.0).contains(&smoothing) { smoothing } else { 0.0 };
    let finite = points.iter().take_while(|(lr, loss)| *lr > 0.0 && lr.is_finite() && loss.is_finite());
    let points = &points[..finite.count()];
    if points.len() < LEAST_POINTS {
        return Err(NoSuggestion::TooFew { points: points.len() });
    }
    let (warm_up, curve) = points.split_at(points.len() / WARM_UP);
    let noise = noise(curve, beta);
    let bound = NOISE * noise;
    // One loss alone has more noise than an average.
    let (first, least) = (points[0].1, curve.iter().map(|point| point.1).fold(f64::INFINITY, f64::min));
    let rise = (bound * ((1.0 + beta) / (1.0 - beta)).sqrt()).max((first - least) / 2.0);
    if let Some(&(lr, _)) = warm_up.iter().chain(&curve[..1]).find(|(_, loss)| loss - first > rise) {
        return Err(NoSuggestion::Rises { lr });
    }
    let lowest = lowest_before_rise(curve, bound);
    let level = level(&curve[..=lowest], curve.len());
    let (lowest_lr, lowest_loss) = curve[lowest];
    let fall = level - lowest_loss;
    if fall <= bound {
        return Err(NoSuggestion::NoFall { fall: fall.max(0.0), noise });
    }
    let before = |(_, loss): &(f64, f64)| *loss >= level - fall / 2.0;
    let half = warm_up.len() + curve[..=lowest].iter().rposition(before).unwrap_or(0);
    let half_lr = points[half.saturating_sub(delay(half, beta))].0;
    Ok(Suggestion { lr: half_lr.min(lowest_lr / MARGIN), lowest_lr, lowest_loss })
}

/// The index of the lowest loss before the loss rises by more than noise.
fn lowest_before_rise(curve: &[(f64, f64)], bound: f64) -> usize {
    let level = level(curve, curve.len());
    let mut lowest = 0;
    for (i, &(_, loss)) in curve.iter().enumerate() {
        if loss < curve[lowest].1 {
            lowest = i;
        }
        let (fall, rise) = (level - curve[lowest].1, loss - curve[lowest].1);
        if rise > bound && (loss > level + bound || fall > bound && rise > fall / 2.0) {
            break;
        }
    }
    lowest
}

/// Where the loss begins: the median of the first points of `descent`, as many as a quarter of the curve has.
fn level(descent: &[(f64, f64)], curve: usize) -> f64 {
    let first = descent.iter().take((curve / 4).max(1));
    median(first.map(|point| point.1).collect())
}

/// The standard deviation of the smoothed loss. A moving average of independent losses has one of
/// `sd(second differences) / √(2 (1 − β) (3 − β))`; below the rounding of the losses nothing is told apart.
fn noise(curve: &[(f64, f64)], beta: f64) -> f64 {
    let second = curve.windows(3).map(|w| (w[2].1 - 2.0 * w[1].1 + w[0].1).abs()).collect();
    let deviation = median(second) / MEDIAN_MAGNITUDE;
    let rounding = 1e-6 * curve.first().map_or(0.0, |point| point.1.abs());
    (deviation / (2.0 * (1.0 - beta) * (3.0 - beta)).sqrt()).max(rounding)
}

/// By how many updates the moving average at `index` lags behind: the mean age of what it has seen.
fn delay(index: usize, beta: f64) -> usize {
    let seen = (index + 1) as f64;
    let forgotten = libm::pow(beta, seen);
    (beta / (1.0 - beta) - seen * forgotten / (1.0 - forgotten)).round() as usize
}

fn median(mut values: Vec<f64>) -> f64 {
    let middle = values.len() / 2;
    values.sort_by(f64::total_cmp);
    values.get(middle).copied().unwrap_or(0.0)
}
