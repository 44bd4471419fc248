//! Runs that can continue a shorter run.

use lrlab_config::{AverageEvery, AveragingConfig};
use lrlab_schedulers::{ControllerSpec, Horizon, Mark, Schedule, ScheduleSpec};

use crate::RunSpec;

impl RunSpec {
    /// Returns whether a run of this specification on `examples` training examples has the same state as a run of `shorter`
    /// before the last update of the latter, so that training can continue from there with bit-identical results.
    ///
    /// Both must agree in all keys except the number of epochs and the schedule, and the schedules must give the same
    /// rate, bit for bit, for every update of the shorter run but the last. The state after the last update may differ,
    /// because callbacks treat the end of a run differently from the end of an epoch.
    ///
    /// A schedule with registered functions has rates only once they are looked up in both runs ([`RunSpec::bind`]); without
    /// them, the answer is no.
    #[must_use]
    pub fn continues(&self, shorter: &Self, examples: usize) -> bool {
        if shorter.epochs >= self.epochs {
            return false;
        }
        let same = Self { epochs: self.epochs, schedule: self.schedule.clone(), ..shorter.clone() } == *self;
        let (short, long) = (shorter.horizon_on(examples), self.horizon_on(examples));
        same && self.averaging.as_ref().is_none_or(|averaging| is_same_average(averaging, &short, &long))
            && shorter.has_same_rates(&short, self, &long)
    }

    /// Returns whether the schedules of two runs, of the rate and of the constants of the update rule, give the same values
    /// until the last update of the shorter run.
    fn has_same_rates(&self, short: &Horizon, longer: &Self, long: &Horizon) -> bool {
        // The trials of a search use the rates of the next updates, also of those after the end of the shorter run.
        let ahead = match self.monitor.as_ref().map(|monitor| &monitor.controller) {
            Some(ControllerSpec::AutoLrs(search)) => search.updates,
            _ => 0,
        };
        ahead <= long.updates
            && self.schedules().into_iter().zip(longer.schedules()).all(|((base, ours), (_, theirs))| {
                is_same_schedule(base, (ours, short), (theirs, long), ahead)
            })
    }

    /// Returns all schedules of the run with their base rates.
    fn schedules(&self) -> Vec<(f64, &ScheduleSpec)> {
        let constants = self.optimizer.scheduled().into_iter().map(|hyper| (hyper.base, hyper.schedule));
        std::iter::once((self.lr, &self.schedule)).chain(constants).collect()
    }
}

/// Returns whether two schedules give the same values from `base` until the last update of the first one's run, and for
/// `ahead` updates after its last epoch but one.
fn is_same_schedule(
    base: f64,
    (ours, short): (&ScheduleSpec, &Horizon),
    (theirs, long): (&ScheduleSpec, &Horizon),
    ahead: u64,
) -> bool {
    let (Ok(ours), Ok(theirs)) = (ours.build(short), theirs.build(long)) else { return false };
    let last = short.updates.saturating_sub(1);
    let marks = |schedule: &dyn Schedule| -> Vec<Mark> {
        schedule.marks().into_iter().filter(|mark| mark.update <= last).collect()
    };
    let value =
        |schedule: &dyn Schedule, horizon: &Horizon, update| schedule.lr(base, horizon.at(update)).to_bits();
    let read = last.max(short.updates.saturating_sub(short.updates_per_epoch).saturating_add(ahead));
    marks(ours.as_ref()) == marks(theirs.as_ref())
        && (0..read).all(|update| value(ours.as_ref(), short, update) == value(theirs.as_ref(), long, update))
}

/// Returns whether an average has the same start and interval in runs of two lengths.
fn is_same_average(averaging: &AveragingConfig, short: &Horizon, long: &Horizon) -> bool {
    let (every, start) = averaging.times();
    let updates = |horizon: &Horizon| match every {
        AverageEvery::Cycle => 0,
        AverageEvery::Length(length) => length.resolve_updates(horizon),
    };
    start.resolve_updates(short) == start.resolve_updates(long) && updates(short) == updates(long)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(changes: &Value) -> RunSpec {
        let mut spec = json!({
            "model": { "resnet": { "depth": 8 } },
            "data": {
                "source": { "synthetic_pictures": { "train": 640 } },
                "split_seed": 0, "validation": null, "limit": {}, "pin_digest": null, "augment": {}, "tokens": {},
            },
            "optimizer": { "sgd": {} }, "lr": 0.1, "schedule": { "static": {} },
            "lr_min": 0.0, "lr_max": null, "monitor": null, "early_stopping": null,
            "epochs": 4, "batch_size": 32, "accumulate": 1, "clip_norm": null, "label_smoothing": 0.0,
            "select": "val_accuracy", "seed": 3,
        });
        for (key, value) in changes.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn runs_continue_shorter_runs_with_the_same_rates() {
        let steps = |each: &str| json!({ "step": { "step_size": each, "gamma": 0.5 } });
        let exponential = json!({ "exponential": { "gamma": 0.9 } });
        let cosine = |length: Value| json!({ "cosine": { "t_max": length } });
        for (schedule, expected) in [
            (json!({ "static": {} }), true),
            (exponential, true),
            (steps("2 epochs"), true),
            (steps("50%"), false),
            (cosine(json!("100%")), false),
            (cosine(json!("30 epochs")), true),
            // The first warm-up ends within the shorter run.
            (json!({ "warmup": { "over": "1 epoch", "then": { "static": {} } } }), true),
            (json!({ "warmup": { "over": "25%", "then": { "static": {} } } }), false),
        ] {
            let short = spec(&json!({ "schedule": schedule }));
            let long = spec(&json!({ "schedule": schedule, "epochs": 9 }));
            assert_eq!(long.continues(&short, 500), expected, "{schedule}");
            assert!(!short.continues(&long, 500) && !short.continues(&short, 500), "{schedule}");
        }
        // Only the rates count: a step that the shorter run never makes.
        let long = spec(&json!({ "schedule": steps("4 epochs"), "epochs": 9 }));
        assert!(long.continues(&spec(&json!({})), 500));
        assert!(!long.continues(&spec(&json!({ "epochs": 5 })), 500));
    }

    /// A search tries the rates of updates that only the longer run makes.
    #[test]
    fn trials_read_later_rates() {
        let of = |updates: u64, schedule: Value, epochs: u64| {
            let monitor = json!({ "controller": { "auto_lrs": { "updates": updates } } });
            spec(&json!({ "monitor": monitor, "schedule": schedule, "epochs": epochs }))
        };
        // 16 updates per epoch: the last search of the shared part begins at update 48 of 64.
        let step = json!({ "step": { "step_size": "4 epochs" } });
        for (updates, expected) in [(1, true), (16, true), (17, false), (u64::MAX, false)] {
            let short = of(updates, json!({ "static": {} }), 4);
            assert_eq!(of(updates, step.clone(), 9).continues(&short, 500), expected, "{updates}");
        }
    }

    #[test]
    fn continued_runs_must_be_equal_otherwise() {
        let long = spec(&json!({ "epochs": 9 }));
        for (key, value) in [
            ("seed", json!(4)),
            ("lr", json!(0.2)),
            ("batch_size", json!(64)),
            ("keep_top", json!(1)),
            ("clip_norm", json!(1.0)),
            ("monitor", json!({ "controller": { "plateau": { "patience": 2 } } })),
        ] {
            let short = spec(&json!({ key: value }));
            assert!(!long.continues(&short, 500), "{key}");
            assert!(spec(&json!({ key: value, "epochs": 9 })).continues(&short, 500), "{key}");
        }
    }

    #[test]
    fn schedules_of_constants_must_be_equal() {
        for (schedule, expected) in [
            (json!({ "exponential": { "gamma": 0.9 } }), true),
            (json!({ "cosine": { "t_max": "100%" } }), false),
        ] {
            let optimizer = json!({ "sgd": { "weight_decay": 5e-4, "weight_decay_schedule": schedule } });
            let [short, long] =
                [4, 8].map(|epochs| spec(&json!({ "optimizer": optimizer, "epochs": epochs })));
            assert_eq!(long.continues(&short, 500), expected, "{schedule}");
        }
    }

    #[test]
    fn registered_functions_count_once_they_are_looked_up() {
        let mut lambdas = lrlab_schedulers::Lambdas::default();
        lambdas.register("steps", Some("2".to_owned()), |at| 1.0 / (1.0 + at.epoch.floor()));
        // As `steps`, but zero from 3 or from 4 epochs on.
        lambdas.register("early", None, |at| 1.0 / (1.0 + at.epoch.floor()) * f64::from(at.epoch < 3.0));
        lambdas.register("late", None, |at| 1.0 / (1.0 + at.epoch.floor()) * f64::from(at.epoch < 4.0));
        let with = |name: &str, epochs: usize| {
            let schedule = json!({ "warmup": { "over": "1 epoch", "then": { "lambda": { "name": name } } } });
            let momentum = json!({ "momentum": 0.9, "momentum_schedule": { "lambda": { "name": "steps" } } });
            spec(&json!({ "schedule": schedule, "optimizer": { "sgd": momentum }, "epochs": epochs }))
        };
        for (name, expected) in [("steps", true), ("early", false), ("late", true)] {
            // The time of the function begins after the warm-up.
            let (mut short, mut long) = (with("steps", 5), with(name, 9));
            assert!(!long.continues(&short, 500), "{name}: without the functions");
            short.bind(&lambdas).unwrap();
            assert!(!long.continues(&short, 500), "{name}: without those of the longer run");
            long.bind(&lambdas).unwrap();
            assert_eq!(long.continues(&short, 500), expected, "{name}");
        }
        // Another version of a function is not at hand.
        let mut other = spec(&json!({ "schedule": { "lambda": { "name": "steps", "version": "1" } } }));
        assert!(other.bind(&lambdas).is_err());
    }

    #[test]
    fn averages_that_start_at_a_fraction_differ() {
        for (averaging, expected) in [
            (json!({ "ema": {} }), true),
            (json!({ "swa": {} }), false),
            (json!({ "swa": { "start": "2 epochs" } }), true),
            (json!({ "lawa": { "every": "10%" } }), false),
        ] {
            let [short, long] =
                [4, 8].map(|epochs| spec(&json!({ "averaging": averaging, "epochs": epochs })));
            assert_eq!(long.continues(&short, 500), expected, "{averaging}");
        }
    }
}
