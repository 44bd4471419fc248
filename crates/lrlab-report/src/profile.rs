//! Comparison of methods over several tasks: performance profiles and interquartile means.

use crate::label::CONDITIONS;
use crate::stats::{interquartile_mean, summary};
use crate::{Arm, Metric, Report};

/// The minimum number of tasks for a profile.
const TASKS: usize = 3;

/// Candidates for the metric of the comparison; the first one that every run has, on the same examples, is used.
const METRICS: [Metric; 2] = [Metric::best("test_accuracy"), Metric::best("val_accuracy")];

/// Performance profiles of the methods of a grid.
///
/// A task is a model, a data set and a budget. A method is the remaining coordinates of an arm, such as a schedule with its
/// monitor. The cost of a method in a task is its error, one minus the mean accuracy over seeds; its ratio is that cost
/// divided by the lowest cost of any method in the task. The performance profile of a method is the share of tasks in
/// which its ratio is at most τ (Dolan and Moré, Mathematical Programming 91, 2002).
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The accuracy metric.
    pub metric: Metric,
    /// The number of tasks.
    pub tasks: usize,
    /// The methods, in the report's order.
    pub methods: Vec<Method>,
}

/// A method and its results.
#[derive(Debug, Clone, PartialEq)]
pub struct Method {
    /// The method's arm in each task, as indices into the report's arms.
    pub arms: Vec<usize>,
    /// The ratio in each task: 1 if the method is the best, infinite if the lowest error is 0 and the method's is not.
    pub ratios: Vec<f64>,
    /// The interquartile mean of the accuracies of all runs in all tasks (Agarwal et al., Deep Reinforcement Learning at
    /// the Edge of the Statistical Precipice, `NeurIPS` 2021).
    pub interquartile_mean: f64,
}

impl Method {
    /// The share of tasks in which the error is at most `tau` times the lowest error: 1 for an infinite `tau`, 0 for NaN.
    #[must_use]
    pub fn within(&self, tau: f64) -> f64 {
        let near = self.ratios.iter().filter(|ratio| **ratio <= tau).count();
        near as f64 / self.ratios.len().max(1) as f64
    }
}

/// The performance profiles of a report; `None` for fewer than three tasks or two methods, if a planned run has no finite
/// accuracy or diverged, or if the arms of a task measure it on different examples.
#[must_use]
pub fn profile(report: &Report) -> Option<Profile> {
    let tasks = report.blocks();
    if tasks.len() < TASKS {
        return None;
    }
    let complete = |metric: &Metric| report.arms.iter().all(|arm| arm.estimate(*metric).complete());
    let shared = |metric: &Metric| {
        let same = |a: &usize, b: &usize| report.arms[*a].shares_examples(&report.arms[*b], *metric);
        tasks.iter().all(|task| task.iter().all(|arm| same(&task[0], arm)))
    };
    let metric = METRICS.into_iter().find(|metric| complete(metric) && shared(metric))?;
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
