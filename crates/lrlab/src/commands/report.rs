//! `lrlab report`: tables, figures and the page of a grid.

use std::path::PathBuf;

use clap::Args;
use lrlab_report::{ClaimVerdict, Report};
use lrlab_runs::{Plan, RunStore};

use super::on_record::OnRecord;
use super::plan::{read_experiment, resolve_with};
use super::say_line;
use crate::options::Selection;
use crate::progress::tell;
use crate::{Exit, Registry};

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    on_record: OnRecord,
    /// Where to write it; by default `DIR/<experiment>/report`. Files there that are not an earlier report's stay.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Print the verdict on each claim, and fail unless each is what the experiment expects (`expect`, by default
    /// "supported").
    #[arg(long)]
    check: bool,
}

pub(crate) fn report(args: &ReportArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let Some(experiment) = read_experiment(&args.selection, registry)? else { return Ok(Exit::BadInput) };
    let records = args.on_record.read()?;
    let Some(plan) = resolve_with(&experiment, &args.selection, registry, &records)? else {
        return Ok(Exit::BadInput);
    };
    let store = args.on_record.beside(RunStore::new(&args.selection.out), &plan, records)?;
    let report = write(&plan, &store, args.to.clone())?;
    if !args.check {
        return Ok(Exit::Done);
    }
    let verdicts = lrlab_report::check(&report);
    for claim in &verdicts {
        let unexpected = if claim.as_expected() { "" } else { ", which the experiment does not expect" };
        say_line(&format!(
            "{}: {}{unexpected} ({}) {}",
            claim.id,
            claim.verdict.word(),
            claim.claimed,
            claim.note
        ));
    }
    let all = verdicts.iter().all(ClaimVerdict::as_expected);
    Ok(if all { Exit::Done } else { Exit::UnexpectedVerdict })
}

/// Writes the report of a plan and shows its table. Every damaged result is told.
pub(crate) fn write(plan: &Plan, store: &RunStore, to: Option<PathBuf>) -> anyhow::Result<Report> {
    for run in &plan.runs {
        if let Some(damage) = store.damage(&run.run_id)? {
            tell(&format!("error: {damage}"));
        }
    }
    let report = lrlab_report::summarise(plan, store)?;
    let to = to.unwrap_or_else(|| store.experiment_dir(&plan.experiment).join("report"));
    let written = lrlab_report::write(&report, &[], &to)?;
    say_line(&lrlab_report::terminal_table(&report));
    for kept in &written.kept {
        say_line(&format!("kept: {} (a file of the earlier report that was changed)", kept.display()));
    }
    say_line(&format!("report: {}", written.html.display()));
    Ok(report)
}
