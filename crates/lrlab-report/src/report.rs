//! The report as a value: everything that the pages, tables and figures say.

use std::collections::{BTreeMap, HashSet};

use lrlab_runs::{Call, Outcome, Plan, PlannedRun, Provenance, RunStore};

use crate::search::{self, ArmSearch, View};
use crate::{
    Arm, ClaimVerdict, Comparison, Contrast, Error, Run, State, arm, claim, compare, contrast, label,
};

/// How many runs are in which state. `done` counts every run with a result, those that diverged too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Runs of the plan.
    pub planned: usize,
    /// With a result.
    pub done: usize,
    /// Without a result whose last attempt failed.
    pub failed: usize,
    /// Neither done nor failed.
    pub missing: usize,
    /// Of those done: the loss left the finite numbers.
    pub diverged: usize,
    /// Of those done: stopped by a callback.
    pub stopped: usize,
    /// Of those done: given up by a search.
    pub pruned: usize,
}

/// Where the results come from: each list holds the distinct values in the order of the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Origin {
    /// Commit and versions.
    pub builds: Vec<String>,
    /// Machines.
    pub hosts: Vec<String>,
    /// Devices and threads.
    pub devices: Vec<String>,
    /// Classes within which equal specifications give equal bits.
    pub numerics: Vec<String>,
    /// Data sets with their digests.
    pub datasets: Vec<String>,
    /// Warnings about the data.
    pub notes: Vec<String>,
    /// Trained parameters per model.
    pub parameters: BTreeMap<String, Vec<usize>>,
}

/// Everything a report says.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The experiment's name.
    pub experiment: String,
    /// What it asks.
    pub description: String,
    /// The call that planned each experiment; none where the plan does not say.
    pub calls: BTreeMap<String, Call>,
    /// Whether it is about the paper, whose figures are drawn.
    pub paper: bool,
    /// The axes of the grid, without the seed, in reading order.
    pub axes: Vec<String>,
    /// The arms, in reading order.
    pub arms: Vec<Arm>,
    /// How many runs are in which state.
    pub counts: Counts,
    /// Where the results come from.
    pub origin: Origin,
    /// Along which axes arms are compared, and with what.
    pub contrasts: Vec<Contrast>,
    /// Paired comparisons: along each axis, every arm with the one that has the baseline's value and agrees on all others.
    pub comparisons: Vec<Comparison>,
    /// The experiment's claims beside what was measured.
    pub claims: Vec<ClaimVerdict>,
    /// The searches that found the arms' settings; empty where nothing was searched.
    pub searches: Vec<ArmSearch>,
    /// What a reader has to know before believing a number.
    pub warnings: Vec<String>,
}

impl Report {
    /// Every planned run, arm by arm.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.arms.iter().flat_map(|arm| &arm.runs)
    }

    /// How many digits tell the runs' ids apart, at least eight.
    pub(crate) fn id_digits(&self) -> usize {
        let mut ids: Vec<&str> = self.runs().map(|run| run.id.as_str()).collect();
        ids.sort_unstable();
        let common = |pair: &[&str]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
        ids.windows(2).map(|pair| common(pair) + 1).fold(8, usize::max)
    }

    /// The values of an axis, as text, in the report's order.
    #[must_use]
    pub fn values(&self, axis: &str) -> Vec<String> {
        let mut known = HashSet::new();
        self.arms.iter().map(|arm| arm.label(axis)).filter(|label| known.insert(label.clone())).collect()
    }

    /// Arms of one model, data set and budget stand together: the indices of each such block.
    #[must_use]
    pub fn blocks(&self) -> Vec<Vec<usize>> {
        arm::blocks(&self.arms)
    }

    /// The index of the block of every arm.
    pub(crate) fn block_of_arms(&self) -> Vec<usize> {
        let mut of = vec![0; self.arms.len()];
        for (index, block) in self.blocks().iter().enumerate() {
            for arm in block {
                of[*arm] = index;
            }
        }
        of
    }

    /// Indices of the arms that agree on every axis but those named, in the report's order.
    pub(crate) fn grouped(&self, except: &[&str]) -> Vec<Vec<usize>> {
        arm::grouped(&self.arms, except)
    }
}

/// Reads the results of a plan and computes everything a report says.
///
/// # Errors
/// A file of the store that cannot be read or is not what it should be. Runs without a result are no error.
pub fn summarise(plan: &Plan, store: &RunStore) -> Result<Report, Error> {
    let View { plan, undecided, searches } = search::view(plan, store)?;
    let axes = label::axes(plan.runs.iter().map(|run| &run.cell));
    let mut report = Report {
        experiment: plan.experiment.clone(),
        description: plan.description.clone(),
        calls: plan.call.iter().map(|call| (plan.experiment.clone(), call.clone())).collect(),
        paper: plan.paper,
        axes,
        counts: Counts::default(),
        origin: Origin::default(),
        arms: Vec::new(),
        contrasts: Vec::new(),
        comparisons: Vec::new(),
        claims: Vec::new(),
        searches,
        warnings: Vec::new(),
    };
    let (claims, baseline) = (plan.claims.clone(), plan.baseline.clone());
    let first: Vec<String> = leaks(&plan).into_iter().chain(unidentified(&plan)).collect();
    report.arms = arm::arms(&plan.runs, store, &report.axes, &undecided)?;
    report.counts = counts(&report);
    report.origin = origin(&report);
    report.claims = claim::verdicts(&claims, &report.arms);
    report.contrasts = contrast::contrasts(&report.arms, &report.axes, &baseline);
    let margin = |metric| claim::margin(&report.claims, metric);
    report.comparisons = compare::comparisons(&report.arms, &report.contrasts, margin);
    report.warnings = first.into_iter().chain(warnings(&report)).collect();
    report.warnings.extend(search::warnings(&report.searches));
    Ok(report)
}

/// The verdicts of a report, for `report --check`.
#[must_use]
pub fn check(report: &Report) -> Vec<ClaimVerdict> {
    report.claims.clone()
}

fn counts(report: &Report) -> Counts {
    let mut counts = Counts::default();
    for run in report.runs() {
        counts.planned += 1;
        match &run.state {
            State::Missing => counts.missing += 1,
            State::Failed { .. } => counts.failed += 1,
            State::Done { result, .. } => {
                counts.done += 1;
                match result.outcome {
                    Outcome::Completed => {}
                    Outcome::Stopped => counts.stopped += 1,
                    Outcome::Diverged => counts.diverged += 1,
                    Outcome::Pruned => counts.pruned += 1,
                }
            }
        }
    }
    counts
}

fn origin(report: &Report) -> Origin {
    let mut origin = Origin::default();
    for (run, result) in report.runs().filter_map(|run| Some((run, run.result()?))) {
        let p = &result.provenance;
        add(&mut origin.builds, build(p));
        add(&mut origin.hosts, p.host.clone());
        let threads = if p.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", p.threads) };
        add(
            &mut origin.devices,
            if p.threads == 0 { p.device.clone() } else { format!("{}, {threads}", p.device) },
        );
        add(&mut origin.numerics, p.numerics.clone());
        let digest = p.dataset_digest.get(..16).unwrap_or(&p.dataset_digest);
        let name = label::coordinate(&run.cell, "dataset").filter(|name| !p.dataset.contains(name.as_str()));
        let dataset = [name.unwrap_or_default(), p.dataset.clone()].into_iter().filter(|t| !t.is_empty());
        let dataset = dataset.collect::<Vec<_>>().join(": ");
        add(
            &mut origin.datasets,
            if digest.is_empty() { dataset } else { format!("{dataset} (digest {digest}…)") },
        );
        for note in &p.dataset_notes {
            add(&mut origin.notes, note.clone());
        }
        let model = label::coordinate(&run.cell, "model").unwrap_or_else(|| "–".to_owned());
        let sizes = origin.parameters.entry(model).or_default();
        if p.parameters > 0 && !sizes.contains(&p.parameters) {
            sizes.push(p.parameters);
        }
    }
    origin
}

fn build(p: &Provenance) -> String {
    let mut parts = Vec::new();
    if let Some(commit) = &p.commit {
        let short = commit.get(..12).unwrap_or(commit);
        let changed = if p.dirty == Some(true) { " with uncommitted changes" } else { "" };
        parts.push(format!("commit {short}{changed}"));
    }
    if let Some(build) = &p.build {
        parts.push(format!("build {build}"));
    }
    parts.extend(p.versions.iter().map(|(name, version)| {
        if version.starts_with(name.as_str()) { version.clone() } else { format!("{name} {version}") }
    }));
    parts.join(", ")
}

fn add(list: &mut Vec<String>, item: String) {
    if !item.is_empty() && !list.contains(&item) {
        list.push(item);
    }
}

/// How the warning of runs that validate on the test split begins.
pub(crate) const LEAK: &str = "LEAK";

/// Runs that validate on the test split.
fn leaks(plan: &Plan) -> Option<String> {
    let leaky = |run: &&PlannedRun| {
        run.spec.pointer("/data/validation").is_some_and(|validation| validation == "test")
    };
    let count = plan.runs.iter().filter(leaky).count();
    (count > 0).then(|| {
        format!(
            "{LEAK}: {count} of {} runs validate on the test split. Their best epoch, and whatever a monitor or early \
             stopping did, was chosen by the test examples: no figure of theirs says how the network does on examples \
             that nothing was chosen by.",
            plan.runs.len()
        )
    })
}

/// Runs whose data nobody has read here.
fn unidentified(plan: &Plan) -> Option<String> {
    let count = plan.runs.iter().filter(|run| run.dataset_digest.is_empty()).count();
    let command = plan.call.as_ref().map_or_else(String::new, |call| {
        let words: Vec<&str> =
            call.program.iter().map(String::as_str).chain([call.experiment.as_str()]).collect();
        format!(" `{}` fetches the data and makes the runs.", words.join(" "))
    });
    (count > 0).then(|| {
        format!(
            "The data of {count} of {} runs are not here, and no record has their digest, which is part of a run's \
             identity: they count as not run, and have no id.{command}",
            plan.runs.len()
        )
    })
}

fn warnings(report: &Report) -> Vec<String> {
    let Counts { planned, done, failed, missing, diverged, .. } = report.counts;
    let mut out = Vec::new();
    if done < planned {
        out.push(format!(
            "{done} of {planned} runs are done ({missing} missing, {failed} failed). Cells with fewer runs than \
             planned say how many they have; they are never set in bold."
        ));
    }
    if diverged > 0 {
        out.push(format!(
            "{diverged} of {done} finished runs diverged (their loss left the finite numbers). They lower the n of a \
             cell instead of entering its mean; what is left is the mean of the runs that held."
        ));
    }
    if report.origin.numerics.len() > 1 {
        let classes = report.origin.numerics.join("; ");
        out.push(format!(
            "The runs belong to {} numerics classes ({classes}).",
            report.origin.numerics.len()
        ));
    }
    if report.origin.builds.len() > 1 {
        out.push(format!("The runs were made by {} builds.", report.origin.builds.len()));
    }
    if report.runs().filter_map(Run::result).any(|r| r.provenance.dirty == Some(true)) {
        out.push("Some runs were made from a source with uncommitted changes.".to_owned());
    }
    let seeds = report.arms.iter().map(|arm| arm.runs.len()).max().unwrap_or(0);
    if seeds == 1 {
        out.push("One run per arm: there is no spread and nothing can be tested.".to_owned());
    } else if (2..=5).contains(&seeds) {
        let smallest = 2.0 / f64::from(1_u32 << seeds);
        out.push(format!(
            "n = {seeds} seeds cannot be significant: the smallest two-sided p of an exact sign-flip test is \
             2/2^{seeds} = {smallest}. Six seeds are the fewest that can reach p < 0.05 in a single comparison."
        ));
    }
    out
}
