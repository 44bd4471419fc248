//! Checks that networks reach the same results on the device as on the CPU.

#![allow(clippy::disallowed_methods, reason = "the bound of a check does not affect the bits of a run")]

use candle_core::Device;
use lrlab_train::Fitted;

use super::context::CheckContext;
use super::training::{Sizes, data, train};
use super::verdict::Verdict;

/// Three epochs with two seeds.
const SIZES: Sizes = Sizes { epochs: 3, seeds: 2, depth: 8, pictures: 1280, reviews: 2560, width: 32 };
/// The tolerance between means over the seeds: of the accuracy, and of the loss relative to that of random guessing.
const TOLERANCE: f64 = 0.06;
/// The minimum difference between the accuracy and chance.
const ABOVE_CHANCE: f64 = 0.2;

/// Validation loss and accuracy of the last epoch.
#[derive(Debug, Clone, Copy)]
struct Figures {
    loss: f64,
    accuracy: f64,
}

impl Figures {
    fn of(fitted: &Fitted) -> Self {
        let last = fitted.history.last();
        let figure = |value: Option<Option<f64>>| value.flatten().unwrap_or(f64::NAN);
        Self {
            loss: figure(last.map(|epoch| epoch.val_loss)),
            accuracy: figure(last.map(|epoch| epoch.val_accuracy)),
        }
    }

    fn mean(of: &[Self]) -> Self {
        let mean = |get: fn(&Self) -> f64| of.iter().map(get).sum::<f64>() / of.len() as f64;
        Self { loss: mean(|figures| figures.loss), accuracy: mean(|figures| figures.accuracy) }
    }
}

/// Trains a network on the device and on the CPU and compares the results.
pub(super) fn as_on_the_cpu(network: &str, context: &CheckContext) -> anyhow::Result<Verdict> {
    let (mut on_device, mut on_cpu) = (Vec::new(), Vec::new());
    let mut classes = 1;
    for run in SIZES.runs(network)? {
        let data = data(&run, &context.folder)?;
        classes = data.classes;
        on_device.push(Figures::of(&train(&run, &data, &context.device)?));
        on_cpu.push(Figures::of(&train(&run, &data, &Device::Cpu)?));
    }
    Ok(judge(Figures::mean(&on_device), Figures::mean(&on_cpu), classes))
}

fn judge(on_device: Figures, on_cpu: Figures, classes: usize) -> Verdict {
    let (guess, chance) = ((classes as f64).ln(), 1.0 / classes as f64);
    let detail = format!(
        "accuracy {:.3} (CPU {:.3}, chance {chance:.2}), loss {:.4} (CPU {:.4}); tolerance {TOLERANCE}, \
        for the loss relative to ln {classes}",
        on_device.accuracy, on_cpu.accuracy, on_device.loss, on_cpu.loss
    );
    let close = |a: f64, b: f64, whole: f64| (a - b).abs() <= TOLERANCE * whole;
    let learnt = |figures: Figures| figures.accuracy >= chance + ABOVE_CHANCE;
    let same = close(on_device.accuracy, on_cpu.accuracy, 1.0) && close(on_device.loss, on_cpu.loss, guess);
    if same && learnt(on_device) && learnt(on_cpu) {
        Verdict::passed(detail)
    } else {
        Verdict::failed(detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distant_results_chance_and_nan_do_not_pass() {
        let judged = |on_device: (f64, f64), on_cpu: (f64, f64)| {
            let figures = |(loss, accuracy)| Figures { loss, accuracy };
            judge(figures(on_device), figures(on_cpu), 2).outcome.passed()
        };
        assert!(judged((0.4, 0.83), (0.41, 0.80)));
        assert!(!judged((0.4, 0.83), (0.41, 0.75)));
        assert!(!judged((0.4, 0.83), (0.46, 0.83)));
        assert!(!judged((0.69, 0.55), (0.69, 0.55)));
        assert!(!judged((f64::NAN, 0.83), (0.4, 0.83)));
        assert!(!judged((0.4, 0.83), (0.4, f64::NAN)));
    }
}
