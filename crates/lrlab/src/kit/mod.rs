//! The kit: checks that a device trains like the CPU.
//!
//! It needs no data and no other program, so that the runner can be copied to a machine that has a GPU and no compiler.
//! Each check runs in a separate process, so that a crash does not affect the others. On the CPU the kit compares the
//! CPU with itself.

mod bits;
mod cases;
mod compare;
mod context;
mod data;
mod grids;
mod learning;
mod machine;
mod own_loop;
mod side;
mod speed;
mod threads;
mod training;
mod verdict;

use std::collections::BTreeSet;

use lrlab_kernels::Precision;
use serde::{Deserialize, Serialize};

use crate::progress::with_causes;

pub(crate) use context::CheckContext;
use training::NETWORKS;
pub(crate) use verdict::{Outcome, Verdict};

/// The kind of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The device itself.
    Device,
    /// An operator's outputs and gradients.
    Operators,
    /// Batches made on the device.
    Data,
    /// Equal bits in two runs.
    Bits,
    /// Training results of networks.
    Learning,
    /// Grids of runs.
    Grids,
    /// The speed of training steps.
    Speed,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] =
        [Self::Device, Self::Operators, Self::Data, Self::Bits, Self::Learning, Self::Grids, Self::Speed];

    /// Returns the name of all checks of this kind.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Operators => "operators",
            Self::Data => "data",
            Self::Bits => "bits",
            Self::Learning => "learning",
            Self::Grids => "grids",
            Self::Speed => "speed",
        }
    }
}

type Work = Box<dyn FnOnce(&CheckContext) -> anyhow::Result<Verdict>>;

/// A check.
pub(crate) struct Check {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    work: Work,
}

impl Check {
    fn new(
        kind: Kind,
        name: impl Into<String>,
        work: impl FnOnce(&CheckContext) -> anyhow::Result<Verdict> + 'static,
    ) -> Self {
        Self { kind, name: name.into(), work: Box::new(work) }
    }

    /// Returns whether `name` is the name of the check or of its kind.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name == name || self.kind.word() == name
    }

    /// Runs the check; an error is a failure.
    pub(crate) fn make(self, context: &CheckContext) -> Verdict {
        (self.work)(context).unwrap_or_else(|error| Verdict::failed(with_causes(&error)))
    }
}

/// Returns every check in the order of their execution; the device is first.
pub(crate) fn checks() -> Vec<Check> {
    let mut all = vec![Check::new(Kind::Device, "device", |context| Ok(machine::describe(&context.device)))];
    for precision in [Precision::F32, Precision::Bf16] {
        all.extend(operators(precision));
    }
    all.push(Check::new(Kind::Operators, "NaN", |context| {
        Ok(compare::nan_propagation(&cases::for_nan(), &context.device))
    }));
    all.push(Check::new(Kind::Data, "pictures", data::pictures));
    all.push(Check::new(Kind::Data, "tokens", data::tokens));
    for network in NETWORKS {
        all.push(Check::new(Kind::Bits, format!("{network} twice"), |context| bits::twice(network, context)));
    }
    all.push(Check::new(Kind::Bits, "two threads", threads::at_once));
    all.push(Check::new(Kind::Bits, "own loop", own_loop::continues));
    for network in NETWORKS {
        all.push(Check::new(Kind::Learning, format!("{network} learns"), |context| {
            learning::as_on_the_cpu(network, context)
        }));
    }
    all.push(Check::new(Kind::Grids, "kill and resume", grids::kill_and_resume));
    all.push(Check::new(Kind::Grids, "two at once", grids::two_at_once));
    all.push(Check::new(Kind::Grids, "continued", grids::continued));
    all.extend(speed::workloads().map(|workload| {
        let name = format!("{} speed", workload.name);
        Check::new(Kind::Speed, name, |context| speed::measure(workload, context))
    }));
    all
}

/// Returns a check for each operator that supports this precision.
fn operators(precision: Precision) -> Vec<Check> {
    let all = cases::all();
    let mut named = BTreeSet::new();
    let first = |name: &&'static str| named.insert(*name);
    let supporting = all.iter().filter(|case| case.supports(precision)).map(|case| case.operator);
    let names: Vec<&'static str> = supporting.collect::<Vec<_>>().into_iter().filter(first).collect();
    let check = |name: &'static str| {
        let title = match precision {
            Precision::F32 => name.to_owned(),
            Precision::Bf16 => format!("{name} bf16"),
        };
        Check::new(Kind::Operators, title, move |context| {
            if let Err(error) = lrlab_kernels::check_precision(precision, &context.device) {
                return Ok(Verdict::skipped(error.to_string()));
            }
            let cases = cases::all().into_iter().filter(|case| case.operator == name);
            let cases: Vec<_> = cases.filter(|case| case.supports(precision)).collect();
            Ok(compare::operator(&cases, precision, &context.device))
        })
    };
    names.into_iter().map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_device_is_first() {
        let all = checks();
        assert_eq!(all[0].kind, Kind::Device);
        let names: BTreeSet<&str> = all.iter().map(|check| check.name.as_str()).collect();
        assert_eq!(names.len(), all.len());
        // `device` is a check and its kind.
        let kinds = Kind::ALL.map(Kind::word);
        assert_eq!(names.iter().filter(|name| kinds.contains(name)).count(), 1);
        for kind in Kind::ALL {
            assert!(all.iter().any(|check| check.is(kind.word())), "{kind:?}");
        }
    }

    #[test]
    fn every_public_operator_is_checked() {
        let names: BTreeSet<&str> = cases::all().iter().map(|case| case.operator).collect();
        for name in [
            "ConvNet",
            "EncoderLayer",
            "LstmLayer",
            "adam_update",
            "adam_updates",
            "attention",
            "batch_norm2d",
            "conv2d",
            "cross_entropy",
            "cross_entropy_each",
            "dropout",
            "embedding",
            "embedding_at_positions",
            "gelu",
            "global_avg_pool2d",
            "layer_norm",
            "linear",
            "max_pool2d",
            "relu",
            "sgd_update",
            "sgd_updates",
            "squared_norm",
            "squared_norms",
            "weighted_sum",
        ] {
            assert!(names.contains(name), "{name}");
        }
    }
}
