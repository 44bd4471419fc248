//! The order of runs: one seed of every cell first, so that a report is useful early, and among those the longest
//! first, so that none is left at the end. A run that a longer run continues counts as long as the longer one.

use std::collections::BTreeMap;

use lrlab_runs::PlannedRun;

use crate::cost::{class, epochs};
use crate::{Beginning, Costs};

/// Waiting runs, by their index.
#[derive(Debug)]
pub(crate) struct Queue {
    entries: Vec<Entry>,
    waiting: Vec<usize>,
    /// The position in the order of the first run to take.
    skip: usize,
}

#[derive(Debug)]
struct Entry {
    /// The number of runs of the same cell with other seeds that come before it.
    round: usize,
    class: String,
    /// The epochs of the longest run that continues it, or its own.
    rank: f64,
    /// The epochs to train.
    epochs: f64,
}

impl Queue {
    /// Creates an empty queue over `runs`. The first run taken is the one at position `first` of the order.
    pub(crate) fn new(runs: &[PlannedRun], beginnings: &[Option<Beginning>], first: Option<usize>) -> Self {
        let mut rounds: BTreeMap<String, usize> = BTreeMap::new();
        let mut entries: Vec<Entry> = runs
            .iter()
            .zip(beginnings)
            .map(|(run, beginning)| {
                let next = rounds.entry(without_seed(run)).or_default();
                let round = *next;
                *next += 1;
                let reused = beginning.as_ref().map_or(0.0, |beginning| beginning.epochs as f64);
                Entry { round, class: class(run), rank: epochs(run), epochs: epochs(run) - reused }
            })
            .collect();
        for (index, run) in runs.iter().enumerate() {
            let shorter = |index: usize| beginnings[index].as_ref()?.waits_for;
            let mut at = index;
            while let Some(next) = shorter(at) {
                (entries[next].rank, at) = (entries[next].rank.max(epochs(run)), next);
            }
        }
        Self { entries, waiting: Vec::new(), skip: first.unwrap_or(0) }
    }

    pub(crate) fn push(&mut self, index: usize) {
        self.waiting.push(index);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the next run. Without measurements, more epochs count as longer.
    pub(crate) fn pop(&mut self, costs: &Costs) -> Option<usize> {
        let key = |index: usize| {
            let entry = &self.entries[index];
            let seconds = costs.of_class(&entry.class, entry.rank);
            (entry.round, seconds.map_or(f64::NEG_INFINITY, |s| -s), -entry.rank, index)
        };
        let order = |a: usize, b: usize| {
            let (a, b) = (key(a), key(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.total_cmp(&b.2)).then(a.3.cmp(&b.3))
        };
        let compare = |i: &usize, j: &usize| order(self.waiting[*i], self.waiting[*j]);
        let mut places: Vec<usize> = (0..self.waiting.len()).collect();
        let at = match std::mem::take(&mut self.skip) {
            0 => places.into_iter().min_by(compare)?,
            skip => {
                places.sort_by(compare);
                *places.get(skip % places.len().max(1))?
            }
        };
        Some(self.waiting.swap_remove(at))
    }

    /// Returns the expected seconds of each of `indices`.
    pub(crate) fn seconds<'a>(
        &'a self,
        indices: impl Iterator<Item = usize> + 'a,
        costs: &'a Costs,
    ) -> impl Iterator<Item = Option<f64>> + 'a {
        indices.map(|index| costs.of_class(&self.entries[index].class, self.entries[index].epochs))
    }

    pub(crate) fn waiting(&self) -> impl Iterator<Item = usize> + '_ {
        self.waiting.iter().copied()
    }
}

fn without_seed(run: &PlannedRun) -> String {
    let others: Vec<_> = run.cell.iter().filter(|(key, _)| key.as_str() != "seed").collect();
    serde_json::to_string(&others).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use lrlab_runs::{Cell, RunId};
    use serde_json::json;

    use super::*;

    fn run(model: &str, epochs: u64, seed: u64) -> PlannedRun {
        let spec = json!({ "model": model, "epochs": epochs, "seed": seed });
        let cell: Cell = serde_json::from_value(spec.clone()).unwrap();
        PlannedRun {
            run_id: RunId::of(&spec.to_string(), ""),
            cell,
            spec: spec.into(),
            dataset_digest: String::new(),
        }
    }

    #[test]
    fn runs_are_ordered_by_seed_and_then_by_length() {
        let runs = [run("a", 10, 7), run("a", 10, 8), run("a", 20, 7), run("a", 20, 8), run("b", 10, 7)];
        // The second of many executors starts with the second run, and so does the seventh.
        for (first, expected) in
            [(None, [2, 0, 4, 3, 1]), (Some(1), [0, 2, 4, 3, 1]), (Some(6), [0, 2, 4, 3, 1])]
        {
            let mut queue = Queue::new(&runs, &vec![None; runs.len()], first);
            (0..runs.len()).for_each(|index| queue.push(index));
            let order: Vec<_> = std::iter::from_fn(|| queue.pop(&Costs::default())).collect();
            assert_eq!(order, expected, "{first:?}");
            assert!(queue.is_empty());
        }
    }

    #[test]
    fn a_continued_run_has_the_rank_of_the_longer_run() {
        let runs = [run("a", 10, 7), run("a", 20, 7), run("b", 12, 7), run("b", 5, 7)];
        let beginning = Beginning { run_id: runs[0].run_id.clone(), epochs: 10, waits_for: Some(0) };
        let mut queue = Queue::new(&runs, &[None, Some(beginning), None, None], None);
        for index in [0, 2, 3] {
            queue.push(index);
        }
        let mut costs = Costs::default();
        for run in &runs {
            costs.assume(run, 2.0);
        }
        // The longer run has ten epochs left.
        assert_eq!(queue.seconds([0, 1].into_iter(), &costs).collect::<Vec<_>>(), [Some(20.0), Some(20.0)]);
        assert_eq!(queue.pop(&costs), Some(0));
        queue.push(1);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(&costs)).collect();
        assert_eq!(order, [1, 2, 3]);
    }
}
