//! Methods over several tasks: how often each is near the best, and its mean without the extremes.

use crate::label::CONDITIONS;
use crate::stats::{interquartile_mean, summary};
use crate::{Arm, Metric, Report};

/// The fewest tasks of which a share says something.
const TASKS: usize = 3;

/// By which figure methods are compared: the first that every run has.
const METRICS: [Metric; 2] = [Metric::best("test_accuracy"), Metric::best("val_accuracy")];

/// Methods over the tasks of a grid.
///
/// A task is a model, a data set and a budget; a method is what else an arm is made of, a schedule with its monitor. The
/// cost of a method in a task is its error, one minus the mean accuracy over seeds, and its ratio is that cost over the
/// least of any method in the task. The share of tasks in which a method's ratio is at most τ is its performance profile
/// (Dolan and Moré, Mathematical Programming 91, 2002).
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The accuracy.
    pub metric: Metric,
    /// How many tasks there are.
    pub tasks: usize,
    /// The methods, in the report's order.
    pub methods: Vec<Method>,
}

/// A method and how it does.
#[derive(Debug, Clone, PartialEq)]
pub struct Method {
    /// Its arm in each task, as indices into the report's arms.
    pub arms: Vec<usize>,
    /// Its ratio in each task, 1 where it is the best; infinite where only others are without error.
    pub ratios: Vec<f64>,
    /// The mean accuracy over the runs of all tasks without the highest and the lowest quarter (Agarwal et al., Deep
    /// Reinforcement Learning at the Edge of the Statistical Precipice, `NeurIPS` 2021).
    pub interquartile_mean: f64,
}

impl Method {
    /// The share of tasks in which the error is at most `tau` times the least.
    #[must_use]
    pub fn within(&self, tau: f64) -> f64 {
        let near = self.ratios.iter().filter(|ratio| **ratio <= tau).count();
        near as f64 / self.ratios.len().max(1) as f64
    }
}

/// The methods of a grid over its tasks; `None` of fewer than three tasks or two methods, and where a method's runs are not all
/// done in every task.
#[must_use]
pub fn profile(report: &Report) -> Option<Profile> {
    let tasks = report.blocks();
    if tasks.len() < TASKS {
        return None;
    }
    let complete = |metric: &Metric| report.arms.iter().all(|arm| arm.estimate(*metric).complete());
    let metric = METRICS.into_iter().find(complete)?;
    let alike = |a: usize, b: &usize| report.arms[a].agrees(&report.arms[*b], &CONDITIONS);
    // The arms of each method, one in every task.
    let arms: Vec<Vec<usize>> = tasks[0]
        .iter()
        .map(|first| tasks.iter().map(|task| task.iter().copied().find(|arm| alike(*arm, first))).collect())
        .collect::<Option<_>>()?;
    if arms.len() < 2 || tasks.iter().any(|task| task.len() != arms.len()) {
        return None;
    }
    let cost = |arm: usize| Some(1.0 - summary(&accuracies(&report.arms[arm], metric))?.mean);
    let costs: Vec<Vec<f64>> =
        arms.iter().map(|arms| arms.iter().map(|arm| cost(*arm)).collect()).collect::<Option<_>>()?;
    let least = |task: usize| costs.iter().map(|of| of[task]).fold(f64::INFINITY, f64::min);
    let ratio = |(task, cost): (usize, &f64)| match least(task) {
        least if *cost <= least => 1.0,
        least => cost / least,
    };
    let method = |(arms, costs): (Vec<usize>, &Vec<f64>)| {
        let runs: Vec<f64> = arms.iter().flat_map(|arm| accuracies(&report.arms[*arm], metric)).collect();
        Some(Method {
            ratios: costs.iter().enumerate().map(ratio).collect(),
            interquartile_mean: interquartile_mean(&runs)?,
            arms,
        })
    };
    let methods = arms.into_iter().zip(&costs).map(method).collect::<Option<_>>()?;
    Some(Profile { metric, tasks: tasks.len(), methods })
}

fn accuracies(arm: &Arm, metric: Metric) -> Vec<f64> {
    arm.values(metric).into_iter().map(|(_, x)| x).collect()
}
