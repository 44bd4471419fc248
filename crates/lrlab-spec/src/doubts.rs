//! Finds settings of a run that are valid but probably unintended.

use lrlab_config::AtRestart;
use lrlab_schedulers::{CyclicSpec, OneCycleSpec, ScheduleSpec};

use crate::RunSpec;

impl RunSpec {
    /// Describes values that are valid but hardly meant: bounds that cut off or replace the rates of the schedule, a rate that
    /// no schedule reads, constants that stay 0 under their schedule, early stopping that cannot act. The schedule and the
    /// controller themselves are checked by [`lrlab_schedulers::lint`].
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let mut found = self.rates();
        for hyper in self.optimizer.scheduled() {
            let values = self.values(hyper.schedule, hyper.base);
            if values.is_some_and(|values| values.iter().all(|value| *value == 0.0)) {
                let (key, constant) = (hyper.key, hyper.key.trim_end_matches("_schedule"));
                found.push(format!(
                    "`optimizer.{key}` has no effect: its base value `optimizer.{constant}` is {}, and so is every value",
                    hyper.base
                ));
            }
        }
        found.extend(self.patience());
        found
    }

    fn rates(&self) -> Vec<String> {
        let (lr, schedule) = (self.lr, &self.schedule);
        let sampled = self.values(schedule, lr).map(|rates| rates.into_iter().fold(0.0, f64::max));
        let Some(peak) = sampled.or_else(|| schedule.reads_base().then_some(lr)) else { return Vec::new() };
        let highest = if peak == lr {
            format!("`lr`, which is {lr}")
        } else {
            format!("the highest rate of the schedule, {peak}")
        };
        let mut found = Vec::new();
        if let Some(ceiling) = self.lr_max.filter(|ceiling| *ceiling < peak) {
            found.push(format!("`lr_max` is {ceiling}, below {highest}: higher rates are cut off"));
        }
        if self.lr_min > peak {
            found.push(format!("`lr_min` is {}, above {highest}: every rate is raised to it", self.lr_min));
        }
        let (top, differs, advice) = match schedule {
            ScheduleSpec::OneCycle(OneCycleSpec { max_lr: Some(top), .. })
            | ScheduleSpec::Cyclic(CyclicSpec { max_lr: Some(top), .. }) => {
                (*top, *top != lr, "; without `max_lr` it peaks at `lr`")
            }
            // The samples may miss the peak.
            _ => (peak, (peak - lr).abs() > 0.1 * lr, ""),
        };
        if differs && !schedule.reads_base() {
            found.push(format!(
                "`lr` is {lr} and has no effect: the schedule's `{}` sets the rates itself, up to {top}{advice}",
                schedule.name()
            ));
        }
        found
    }

    /// Early stopping whose patience does not run out before the end.
    fn patience(&self) -> Option<String> {
        let rule = self.early_stopping.as_ref()?;
        let measured = (self.epochs + 1).saturating_sub(rule.start_epoch);
        // The first epoch improves on nothing, except a baseline.
        let needed = rule.patience.max(1) + u64::from(rule.baseline.is_none());
        let idle = needed >= measured && rule.at_restart != AtRestart::CountCycles && !rule.restore_best;
        let epochs = if self.epochs == 1 { "1 epoch".to_owned() } else { format!("{} epochs", self.epochs) };
        idle.then(|| {
            format!(
                "early stopping with `patience` {} cannot stop a run of {epochs} before its end",
                rule.patience
            )
        })
    }

    /// The values of a schedule at up to 501 updates of the run; `None` if its length is unknown.
    fn values(&self, schedule: &ScheduleSpec, base: f64) -> Option<Vec<f64>> {
        const SAMPLES: u64 = 500;
        let run = self.horizon()?;
        let (built, last) = (schedule.build(&run).ok()?, run.updates.checked_sub(1)?);
        let intervals = SAMPLES.min(last).max(1);
        let updates = (0..=intervals).map(|i| last.saturating_mul(i) / intervals);
        Some(updates.map(|update| built.lr(base, run.at(update))).collect())
    }
}
