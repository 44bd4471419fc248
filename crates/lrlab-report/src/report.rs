//! The report as a value, from which pages, tables and figures are rendered.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use lrlab_runs::{Call, Outcome, Plan, PlannedRun, Provenance, RunStore};
use serde_json::Value;

use crate::search::{self, ArmSearch, TrialRun, View};
use crate::{
    Arm, ClaimVerdict, Comparison, Contrast, Error, Metric, Run, State, arm, claim, compare, contrast, label,
};

/// The number of runs by state. `done` counts every run with a result, including diverged runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Runs in the plan.
    pub planned: usize,
    /// Runs with a result.
    pub done: usize,
    /// Runs without a result whose last attempt failed.
    pub failed: usize,
    /// Runs that are neither done nor failed.
    pub missing: usize,
    /// Done runs that diverged.
    pub diverged: usize,
    /// Done runs that a callback stopped.
    pub stopped: usize,
    /// Runs of trials that a search pruned, which the other counts leave out.
    pub pruned: usize,
}

/// The provenance of the results. Each list holds the distinct values in the plan's order.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Origin {
    /// Commits and versions.
    pub builds: Vec<String>,
    /// Host names.
    pub hosts: Vec<String>,
    /// Devices and thread counts.
    pub devices: Vec<String>,
    /// Numerics classes, within which equal specifications give bit-identical results.
    pub numerics: Vec<String>,
    /// Data sets with their digests.
    pub datasets: Vec<String>,
    /// Warnings about the data.
    pub notes: Vec<String>,
    /// Number of trained parameters per model.
    pub parameters: BTreeMap<String, Vec<usize>>,
}

/// The contents of a report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// The experiment's name.
    pub experiment: String,
    /// The experiment's question.
    pub description: String,
    /// The command line that planned each experiment, if the plan has it.
    pub calls: BTreeMap<String, Call>,
    /// Whether the experiment reproduces the paper, so that the paper's figures are drawn.
    pub paper: bool,
    /// The axes of the grid without the seed, in display order.
    pub axes: Vec<String>,
    /// The metrics of the summary and its figure. By default these are validation accuracy, validation loss and the gap
    /// between training and validation accuracy after the last update.
    pub metrics: Vec<Metric>,
    /// The arms, in display order.
    pub arms: Vec<Arm>,
    /// The number of runs by state.
    pub counts: Counts,
    /// The provenance of the results.
    pub origin: Origin,
    /// The axes along which arms are compared, with their baselines.
    pub contrasts: Vec<Contrast>,
    /// Paired comparisons: along each contrast, every arm with its baseline.
    pub comparisons: Vec<Comparison>,
    /// The experiment's claims with their verdicts.
    pub claims: Vec<ClaimVerdict>,
    /// The searches that selected the arms' settings; empty without a search.
    pub searches: Vec<ArmSearch>,
    /// Caveats for the interpretation of the results.
    pub warnings: Vec<String>,
}

impl Report {
    /// Every planned run, arm by arm.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.arms.iter().flat_map(|arm| &arm.runs)
    }

    /// The number of digits that distinguish the runs' ids, at least eight.
    pub(crate) fn id_digits(&self) -> usize {
        let mut ids: Vec<&str> = self.runs().map(|run| run.id.as_str()).collect();
        ids.sort_unstable();
        // Experiments may share a run.
        ids.dedup();
        let common = |pair: &[&str]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
        ids.windows(2).map(|pair| common(pair) + 1).fold(8, usize::max)
    }

    /// The comparisons of a contrast that the summary is about: without arms that validate on the test split if there are
    /// others.
    pub(crate) fn summarised(&self, contrast: usize) -> Vec<&Comparison> {
        let all = self.comparisons.iter().filter(|c| c.contrast == contrast && c.paired.is_some());
        let (leaking, clean): (Vec<_>, Vec<_>) = all.partition(|c| self.arms[c.arm].leaks());
        if clean.is_empty() { leaking } else { clean }
    }

    /// The values of an axis, as text, in the report's order.
    #[must_use]
    pub fn values(&self, axis: &str) -> Vec<String> {
        let mut known = HashSet::new();
        self.arms.iter().map(|arm| arm.label(axis)).filter(|label| known.insert(label.clone())).collect()
    }

    /// Blocks of arms with equal model, data set and budget, as indices into the arms.
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

    /// Groups of arms that agree on every axis except those in `except`, as indices in the report's order.
    pub(crate) fn grouped(&self, except: &[&str]) -> Vec<Vec<usize>> {
        arm::grouped(&self.arms, except)
    }
}

/// Reads the results of a plan and computes its report.
///
/// # Errors
/// Returns an error if a file of the store cannot be read. Runs without a result are not an error; a damaged result counts as
/// a failed run.
pub fn summarise(plan: &Plan, store: &RunStore) -> Result<Report, Error> {
    let scaled = scaled_rates(plan);
    let View { plan, undecided, searches } = search::view(plan, store)?;
    let axes = label::axes(plan.runs.iter().map(|run| &run.cell));
    let mut report = Report {
        experiment: plan.experiment.clone(),
        description: plan.description.clone(),
        calls: plan.call.iter().map(|call| (plan.experiment.clone(), call.clone())).collect(),
        paper: plan.paper,
        axes,
        metrics: leading(&plan),
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
    let first: Vec<String> = leaks(&plan).into_iter().chain(unidentified(&plan)).chain(scaled).collect();
    report.arms = arm::arms(&plan.runs, store, &report.axes, &undecided);
    report.counts = counts(&report);
    report.origin = origin(&report);
    report.claims = claim::verdicts(&claims, &report.arms);
    report.contrasts = contrast::contrasts(&report.arms, &report.axes, &baseline);
    let margin = |metric| claim::margin(&report.claims, metric);
    let mut metrics = Comparison::METRICS.to_vec();
    metrics.extend(report.metrics.iter().filter(|metric| !Comparison::METRICS.contains(metric)));
    report.comparisons = compare::comparisons(&report.arms, &report.contrasts, &metrics, margin);
    report.warnings = first.into_iter().chain(warnings(&report)).collect();
    report.warnings.extend(search::warnings(&report.searches));
    Ok(report)
}

/// The leading metrics: those that the experiment names, or the default ones.
fn leading(plan: &Plan) -> Vec<Metric> {
    let named: Vec<Metric> = plan.metrics.iter().filter_map(|name| Metric::parse(name)).collect();
    if named.is_empty() { Metric::LEADING.to_vec() } else { named }
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
            State::Missing | State::Damaged { .. } => counts.missing += 1,
            State::Failed { .. } => counts.failed += 1,
            State::Done { result, .. } => {
                counts.done += 1;
                match result.outcome {
                    // The runs of arms are not pruned: see below.
                    Outcome::Completed | Outcome::Pruned => {}
                    Outcome::Stopped => counts.stopped += 1,
                    Outcome::Diverged => counts.diverged += 1,
                }
            }
        }
    }
    let pruned = |run: &&TrialRun| run.state.word() == Outcome::Pruned.word();
    counts.pruned = search::trial_runs(&report.searches).into_values().filter(pruned).count();
    counts
}

fn origin(report: &Report) -> Origin {
    let mut origin = Origin::default();
    // Builds may word notes differently, so each data set has those of the run that finished last.
    let mut notes: BTreeMap<&str, (f64, &[String])> = BTreeMap::new();
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
        let latest = notes.entry(&p.dataset_digest).or_insert((f64::NEG_INFINITY, &[]));
        if result.timing.finished >= latest.0 {
            *latest = (result.timing.finished, &p.dataset_notes);
        }
        let model = label::coordinate(&run.cell, "model").unwrap_or_else(|| "–".to_owned());
        let sizes = origin.parameters.entry(model).or_default();
        if p.parameters > 0 && !sizes.contains(&p.parameters) {
            sizes.push(p.parameters);
        }
    }
    for note in notes.into_values().flat_map(|(_, notes)| notes) {
        add(&mut origin.notes, note.clone());
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

/// The prefix of the warning about runs that validate on the test split.
pub(crate) const LEAK: &str = "LEAK";

/// A warning about runs that validate on the test split.
fn leaks(plan: &Plan) -> Option<String> {
    let leaky = |run: &&PlannedRun| arm::leaks(&run.spec);
    let count = plan.runs.iter().filter(leaky).count();
    (count > 0).then(|| {
        format!(
            "{LEAK}: {count} of {} runs validate on the test split. Their best epoch and the decisions of monitors and \
             early stopping depend on the test examples, so none of their metrics estimates performance on unseen data.{}",
            plan.runs.len(),
            if count < plan.runs.len() { " The summary leaves them out where it has others." } else { "" }
        )
    })
}

/// A warning about runs whose data is not available and whose digest is therefore unknown.
fn unidentified(plan: &Plan) -> Option<String> {
    let count = plan.runs.iter().filter(|run| run.dataset_digest.is_empty()).count();
    let command = plan.call.as_ref().map_or_else(String::new, |call| {
        let words: Vec<&str> =
            call.program.iter().map(String::as_str).chain([call.experiment.as_str()]).collect();
        format!(" `{}` fetches the data and starts the runs.", words.join(" "))
    });
    (count > 0).then(|| {
        format!(
            "The data of {count} of {} runs is not available on this machine, and no record contains its digest, which is \
             part of the run id: these runs count as not run and have no id.{command}",
            plan.runs.len()
        )
    })
}

/// A warning about optimizers that multiply the rates along `lr`, which the tables show.
fn scaled_rates(plan: &Plan) -> Option<String> {
    let mut scales: BTreeMap<String, String> = BTreeMap::new();
    for run in &plan.runs {
        let rates = run.cell.get("lr").and_then(Value::as_f64).zip(run.spec["lr"].as_f64());
        let (Some(name), Some((lr, trained))) = (label::coordinate(&run.cell, "optimizer"), rates) else {
            continue;
        };
        if lr != trained {
            // The quotient may differ from the factor in the file by rounding.
            let scale = format!("{:.9e}", trained / lr).parse::<f64>().unwrap_or(trained / lr);
            scales.entry(name).or_insert_with(|| scale.to_string());
        }
    }
    let list: Vec<String> = scales.iter().map(|(name, scale)| format!("{name} × {scale}")).collect();
    (!list.is_empty()).then(|| {
        format!(
            "The rates of this report are those of the experiment file. The optimizers multiply them by their lr_scale: {}.",
            list.join(", ")
        )
    })
}

/// A warning about arms whose runs differ in other settings than the seed, such as those of a `[[set]]` for some seeds.
fn mixed(report: &Report) -> Option<String> {
    let (mut keys, mut count) = (BTreeSet::new(), 0);
    for arm in &report.arms {
        let mut differing = arm.runs.iter().filter(|run| run.spec != arm.runs[0].spec).peekable();
        count += usize::from(differing.peek().is_some());
        for run in differing {
            differences(&arm.runs[0].spec, &run.spec, "", &mut keys);
        }
    }
    let keys = keys.into_iter().collect::<Vec<_>>().join("`, `");
    (count > 0).then(|| {
        format!(
            "In {count} of {} arms, the runs differ in more than the seed: in `{keys}`.",
            report.arms.len()
        )
    })
}

/// Adds the paths at which two specifications differ.
fn differences(a: &Value, b: &Value, path: &str, paths: &mut BTreeSet<String>) {
    let (Value::Object(ours), Value::Object(theirs)) = (a, b) else {
        if a != b {
            paths.insert(path.to_owned());
        }
        return;
    };
    for key in ours.keys().chain(theirs.keys()) {
        let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        differences(
            ours.get(key).unwrap_or(&Value::Null),
            theirs.get(key).unwrap_or(&Value::Null),
            &below,
            paths,
        );
    }
}

fn warnings(report: &Report) -> Vec<String> {
    let Counts { planned, done, failed, missing, diverged, .. } = report.counts;
    let mut out = Vec::new();
    if done < planned {
        out.push(format!(
            "{done} of {planned} runs are done ({missing} missing, {failed} failed). Cells with fewer runs than planned \
             show the number of runs and are never set in bold."
        ));
    }
    if diverged > 0 {
        out.push(format!(
            "{diverged} of {done} finished runs diverged. Means exclude them, which lowers the n of a cell and may bias \
             its mean."
        ));
    }
    if report.origin.numerics.len() > 1 {
        let classes = report.origin.numerics.join("; ");
        out.push(format!(
            "The runs belong to {} numerics classes ({classes}), between which equal specifications may give different bits.",
            report.origin.numerics.len()
        ));
    }
    if report.origin.builds.len() > 1 {
        out.push(format!("The runs come from {} builds of the program.", report.origin.builds.len()));
    }
    if report.runs().filter_map(Run::result).any(|r| r.provenance.dirty == Some(true)) {
        out.push("Some runs come from a build with uncommitted changes.".to_owned());
    }
    out.extend(mixed(report));
    let seeds = report.arms.iter().map(|arm| arm.runs.len()).max().unwrap_or(0);
    if seeds == 1 {
        out.push(
            "There is one run per arm, so there is no standard deviation and no significance test."
                .to_owned(),
        );
    } else if (2..=5).contains(&seeds) {
        let smallest = 2.0 / f64::from(1_u32 << seeds);
        out.push(format!(
            "With n = {seeds} seeds no difference can be significant: the smallest two-sided p of an exact sign-flip test \
             is 2/2^{seeds} = {smallest}. A single comparison needs at least six seeds for p < 0.05."
        ));
    }
    out
}
