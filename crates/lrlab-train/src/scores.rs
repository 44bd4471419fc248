//! The scores of a split: loss, accuracy, F1, calibration.

/// Equal-width bins of the calibration error (Guo et al., ICML 2017, section 2).
const BINS: usize = 15;

/// The prediction for one example.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// Cross-entropy in nats.
    pub loss: f64,
    /// True class.
    pub label: u32,
    /// Class of the largest logit, the first among ties.
    pub predicted: u32,
    /// Softmax probability of the predicted class; NaN if a logit is NaN or infinite. `predicted` is then meaningless.
    pub confidence: f64,
}

impl Prediction {
    /// Returns 1 if the predicted class is the true one, 0 if it is another, and NaN if no class is predicted.
    pub(crate) fn accuracy(&self) -> f64 {
        if self.confidence.is_nan() { f64::NAN } else { f64::from(self.predicted == self.label) }
    }
}

/// The scores of a split. Accuracy, precision, recall, F1 and calibration error are fractions. All are NaN if the logits of
/// some example predict no class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// Mean cross-entropy per example, in nats.
    pub loss: f64,
    /// Standard error of `loss`: sample standard deviation over √n; NaN for one example.
    pub loss_stderr: f64,
    /// Share of examples whose predicted class is the true one.
    pub accuracy: f64,
    /// Of class 1 for two classes, the unweighted mean over the classes otherwise. 0 where undefined.
    pub precision: f64,
    /// Averaged like `precision`.
    pub recall: f64,
    /// Averaged like `precision`; the macro mean is the mean of the F1 of the classes.
    pub f1: f64,
    /// Expected calibration error over 15 equal-width bins of confidence (Guo et al., ICML 2017, eq. 3).
    pub ece: f64,
}

impl Scores {
    /// Returns the scores of at least one prediction over `classes` classes.
    #[must_use]
    pub fn of(predictions: &[Prediction], classes: usize) -> Self {
        let n = predictions.len() as f64;
        let loss = predictions.iter().map(|o| o.loss).sum::<f64>() / n;
        let squares = predictions.iter().map(|o| (o.loss - loss) * (o.loss - loss)).sum::<f64>();
        let right = predictions.iter().map(Prediction::accuracy).sum::<f64>();
        let per_class: Vec<_> = match classes {
            2 => vec![class_scores(predictions, 1)],
            _ => (0..classes as u32).map(|class| class_scores(predictions, class)).collect(),
        };
        // The scores of a class are counts, which would hide a NaN.
        let predicted = if right.is_nan() { right } else { 1.0 };
        let mean = |pick: fn(&ClassScores) -> f64| {
            predicted * per_class.iter().map(pick).sum::<f64>() / per_class.len() as f64
        };
        Self {
            loss,
            loss_stderr: (squares / (n - 1.0) / n).sqrt(),
            accuracy: right / n,
            precision: mean(|c| c.precision),
            recall: mean(|c| c.recall),
            f1: mean(|c| c.f1),
            ece: calibration_error(predictions),
        }
    }
}

struct ClassScores {
    precision: f64,
    recall: f64,
    f1: f64,
}

fn class_scores(predictions: &[Prediction], class: u32) -> ClassScores {
    let count = |f: &dyn Fn(&Prediction) -> bool| predictions.iter().filter(|o| f(o)).count() as f64;
    let both = count(&|o| o.predicted == class && o.label == class);
    let predicted = count(&|o| o.predicted == class);
    let actual = count(&|o| o.label == class);
    let ratio = |a: f64, b: f64| if b == 0.0 { 0.0 } else { a / b };
    ClassScores {
        precision: ratio(both, predicted),
        recall: ratio(both, actual),
        f1: ratio(2.0 * both, predicted + actual),
    }
}

fn calibration_error(predictions: &[Prediction]) -> f64 {
    let mut bins = [(0.0_f64, 0.0_f64); BINS];
    for prediction in predictions {
        let bin = ((prediction.confidence * BINS as f64) as usize).min(BINS - 1);
        bins[bin].0 += prediction.confidence;
        bins[bin].1 += prediction.accuracy();
    }
    bins.iter().map(|(confidence, right)| (confidence - right).abs()).sum::<f64>() / predictions.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions(rows: &[(u32, u32, f64)]) -> Vec<Prediction> {
        rows.iter()
            .map(|&(label, predicted, confidence)| Prediction {
                loss: 1.0 - confidence,
                label,
                predicted,
                confidence,
            })
            .collect()
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    /// `sklearn.metrics.precision_recall_fscore_support([0,0,1,1,1], [0,1,1,1,0], average="binary")`
    /// gives (2/3, 2/3, 2/3).
    #[test]
    fn two_classes() {
        let scores =
            Scores::of(&predictions(&[(0, 0, 0.9), (0, 1, 0.6), (1, 1, 0.8), (1, 1, 0.7), (1, 0, 0.55)]), 2);
        close(scores.accuracy, 0.6);
        close(scores.precision, 2.0 / 3.0);
        close(scores.recall, 2.0 / 3.0);
        close(scores.f1, 2.0 / 3.0);
        close(scores.loss, (0.1 + 0.4 + 0.2 + 0.3 + 0.45) / 5.0);
    }

    /// `f1_score([0,0,1,2], [0,1,1,0], average="macro")` gives (0.5 + 2/3 + 0) / 3, a class never predicted being 0.
    #[test]
    fn macro_mean() {
        let scores = Scores::of(&predictions(&[(0, 0, 0.9), (0, 1, 0.9), (1, 1, 0.9), (2, 0, 0.9)]), 3);
        close(scores.f1, (0.5 + 2.0 / 3.0) / 3.0);
        close(scores.precision, (0.5 + 0.5) / 3.0);
        close(scores.recall, (0.5 + 1.0) / 3.0);
    }

    #[test]
    fn calibration() {
        // Both are in one bin: mean confidence 0.95, accuracy 0.5.
        close(Scores::of(&predictions(&[(0, 0, 0.95), (0, 1, 0.95)]), 2).ece, 0.45);
        // Correct predictions with confidence 1: the upper edge belongs to the last bin.
        close(Scores::of(&predictions(&[(0, 0, 1.0), (1, 1, 1.0)]), 2).ece, 0.0);
    }

    /// One example of four has NaN logits.
    #[test]
    fn scores_are_nan_without_a_prediction() {
        for classes in [2, 3] {
            let mut predictions = predictions(&[(0, 0, 0.9), (1, 1, 0.8), (0, 0, 0.7), (0, 0, 0.9)]);
            predictions[3].confidence = f64::NAN;
            let Scores { accuracy, precision, recall, f1, ece, .. } = Scores::of(&predictions, classes);
            for figure in [accuracy, precision, recall, f1, ece] {
                assert!(figure.is_nan(), "{figure}");
            }
        }
    }

    #[test]
    fn standard_error() {
        let scores = Scores::of(&predictions(&[(0, 0, 1.0), (0, 0, 0.5)]), 2);
        // losses 0 and 0.5: sample variance 0.125, over n = 2.
        close(scores.loss_stderr, (0.125_f64 / 2.0).sqrt());
        assert!(Scores::of(&predictions(&[(0, 0, 1.0)]), 2).loss_stderr.is_nan());
    }
}
