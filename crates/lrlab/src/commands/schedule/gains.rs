//! `lrlab schedule gains`: the gains of runs on record as scripts of a controller.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, bail};
use lrlab_runs::{DecisionKind, Record, Records, RunResult};

/// The source of the decisions of an experiment's monitor.
pub(super) const MONITOR: &str = "monitor";

/// For each run, a comment with its cell, and the script of its gains.
pub(super) fn gains(records: &[PathBuf], ids: &[String], source: &str) -> anyhow::Result<String> {
    let mut records = Records::read(records)?;
    for id in ids {
        if !records.iter().any(|record| record.result.run_id.as_str().starts_with(id.as_str())) {
            bail!("--run {id}: the records do not contain this run");
        }
    }
    records.retain(|run| ids.is_empty() || ids.iter().any(|id| run.as_str().starts_with(id.as_str())));
    let acts = |record: &Record| record.result.decisions.iter().any(|decision| decision.source == source);
    if source != MONITOR && !records.iter().any(acts) {
        let decisions = || records.iter().flat_map(|record| record.result.decisions.clone());
        let known: BTreeSet<String> = decisions().map(|decision| decision.source).collect();
        let known = known.into_iter().map(|source| format!("`{source}`")).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() {
            "the records have no decisions".to_owned()
        } else {
            format!("expected {known}")
        };
        bail!("--source {source}: no run on record has a decision of `{source}`; {known}");
    }
    let mut text = String::new();
    for record @ Record { result, .. } in records.iter() {
        let cell: Vec<String> = result.cell.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
        let script = script(result, source).with_context(|| format!("run {}", result.run_id))?;
        let none = if acts(record) { String::new() } else { format!(" (no decision of `{source}`)") };
        let _ = writeln!(text, "# {} {}{none}\ncontroller = {script}", result.run_id.short(), cell.join(" "));
    }
    Ok(text)
}

/// The gains that `source` set in a run, by observation.
fn script(result: &RunResult, source: &str) -> anyhow::Result<String> {
    let mut gains: Vec<(usize, f64)> = Vec::new();
    for decision in result.decisions.iter().filter(|decision| decision.source == source) {
        if !matches!(decision.kind, DecisionKind::Cut | DecisionKind::Raise) {
            bail!(
                "the decision of `{source}` at epoch {} is not a gain: {}",
                decision.epoch,
                decision.reason
            );
        }
        let seen = result
            .history
            .iter()
            .filter(|epoch| epoch.epoch <= decision.epoch && epoch.get(&decision.metric).flatten().is_some());
        let observation = seen.count();
        gains.retain(|(earlier, _)| *earlier != observation);
        gains.push((observation, decision.gain));
    }
    let pairs: Vec<String> = gains.iter().map(|(at, gain)| format!("[{at}, {gain:?}]")).collect();
    Ok(format!("{{ scripted = {{ gains = [{}] }} }}", pairs.join(", ")))
}
