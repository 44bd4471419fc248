//! The suggested learning rate of a range test.

/// The first one in this many parts of the sweep is never suggested, because the moving average is too short there.
const WARM_UP_DIVISOR: usize = 10;
/// The minimum number of points.
const LEAST_POINTS: usize = 10;
/// A change of the smoothed loss is significant beyond this many standard deviations.
const NOISE: f64 = 5.0;
/// The suggestion is at most the rate of the lowest loss divided by this.
const MARGIN: f64 = 4.0;
/// The median of the magnitude of a normal variable of standard deviation 1.
const MEDIAN_MAGNITUDE: f64 = 0.6745;

/// The suggestion of a range test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Suggestion {
    /// The suggested rate.
    pub lr: f64,
    /// The rate of the lowest smoothed loss before the loss rises; higher than `lr`.
    pub lowest_lr: f64,
    /// The lowest smoothed loss before the loss rises.
    pub lowest_loss: f64,
}

/// The reason why a range test suggests no rate.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoSuggestion {
    /// There are too few finite losses.
    #[error(
        "the number of finite losses is {points}, expected at least {LEAST_POINTS}; try more updates or lower rates"
    )]
    TooFew {
        /// The number of losses before the first non-finite one.
        points: usize,
    },
    /// The loss rises at the first rates.
    #[error(
        "the loss already rises at the rate {lr:.3e}, one of the first of the sweep; start at a lower rate"
    )]
    Rises {
        /// The first rate at which the loss is significantly above the first loss.
        lr: f64,
    },
    /// The loss does not fall by more than 5 standard deviations of its noise before it rises.
    #[error(
        "the loss falls by {fall:.2e} before it rises, which is within its noise (a standard deviation of {noise:.2e}); \
         try more updates or a wider range of rates"
    )]
    NoFall {
        /// The fall of the loss.
        fall: f64,
        /// The standard deviation of the smoothed loss.
        noise: f64,
    },
}

/// Suggests a learning rate from `points`, pairs of rate and smoothed loss in ascending order of rate. `smoothing` is the weight
/// of the past in the smoothed loss, 0 ≤ `smoothing` < 1.
///
/// The descent extends from the first tenth of the points to the lowest loss before the loss rises again. A rise must exceed
/// the noise and either half of the fall or the initial loss, so that neither the recovery from an explosion nor a dip of the
/// noise is mistaken for a descent. The suggestion is the rate at the middle of the fall, corrected for the delay of the moving
/// average, and at most a quarter of the rate of the lowest loss.
///
/// The noise is estimated from the second differences of the loss, which are independent of a trend. fastai's `valley` also
/// suggests the middle of the descent; Smith (WACV 2017) recommends a rate well below that of the lowest loss.
///
/// # Errors
/// Returns [`NoSuggestion`] if there is no such descent.
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
    let (warm_up, curve) = points.split_at(points.len() / WARM_UP_DIVISOR);
    let noise = noise(curve, beta);
    let bound = NOISE * noise;
    // A single loss has more noise than an average.
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

/// Returns the index of the lowest loss before the loss rises significantly.
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

/// Returns the initial loss: the median of the first points of `descent`, as many as a quarter of the curve.
fn level(descent: &[(f64, f64)], curve: usize) -> f64 {
    let first = descent.iter().take((curve / 4).max(1));
    median(first.map(|point| point.1).collect())
}

/// Returns the standard deviation of the smoothed loss, which is `sd(second differences) / √(2 (1 − β) (3 − β))` for a moving
/// average of independent losses, and at least the rounding error of the losses.
fn noise(curve: &[(f64, f64)], beta: f64) -> f64 {
    let second = curve.windows(3).map(|w| (w[2].1 - 2.0 * w[1].1 + w[0].1).abs()).collect();
    let deviation = median(second) / MEDIAN_MAGNITUDE;
    let rounding = 1e-6 * curve.first().map_or(0.0, |point| point.1.abs());
    (deviation / (2.0 * (1.0 - beta) * (3.0 - beta)).sqrt()).max(rounding)
}

/// Returns the delay of the moving average at `index` in updates: the mean age of its losses.
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
