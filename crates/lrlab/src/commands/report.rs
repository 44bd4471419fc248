//! `lrlab report`: tables, figures and the page of a grid.

use std::path::PathBuf;

use clap::Args;
use lrlab_report::{Report, Verdict};
use lrlab_runs::{Plan, RunStore};

use super::on_record::RecordFiles;
use super::plan::read_plan;
use super::print_line;
use crate::options::Selection;
use crate::progress::eprint_line;
use crate::{Exit, Registry};

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    on_record: RecordFiles,
    /// The folder to write to; by default `DIR/<experiment>/report`. Files that are not from an earlier report are
    /// kept.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Fail unless every claim is reproduced.
    #[arg(long)]
    check: bool,
}

pub(crate) fn report(args: &ReportArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let (plan, store) = read_plan(&args.selection, &args.on_record, registry)?;
    let report = write(&plan, &store, args.to.clone())?;
    if !args.check {
        return Ok(Exit::Done);
    }
    let verdicts = lrlab_report::check(&report);
    for claim in &verdicts {
        print_line(&format!("{}: {} ({}) {}", claim.id, claim.verdict.word(), claim.claimed, claim.note));
    }
    let all = verdicts.iter().all(|claim| claim.verdict == Verdict::Reproduced);
    Ok(if all { Exit::Done } else { Exit::ClaimNotReproduced })
}

/// Writes the report of a grid that ended and prints its summary. Returns the exit code.
pub(crate) fn conclude(plan: &Plan, store: &RunStore, summary: &str, exit: Exit) -> Exit {
    let reported = write(plan, store, None);
    print_line(summary);
    let Err(error) = reported else { return exit };
    eprint_line(&format!("error: the report could not be written: {error:#}"));
    if exit == Exit::Done { Exit::SomeFailed } else { exit }
}

/// Writes the report of a plan and prints its table. Reports every damaged result.
pub(crate) fn write(plan: &Plan, store: &RunStore, to: Option<PathBuf>) -> anyhow::Result<Report> {
    for run in &plan.runs {
        if let Some(damage) = store.damage(&run.run_id)? {
            eprint_line(&format!("error: {damage}"));
        }
    }
    let report = lrlab_report::summarise(plan, store)?;
    let to = to.unwrap_or_else(|| store.experiment_dir(&plan.experiment).join("report"));
    let written = lrlab_report::write(&report, &to)?;
    print_line(&lrlab_report::terminal_table(&report));
    for kept in &written.kept {
        print_line(&format!("kept: {} (modified since the earlier report)", kept.display()));
    }
    print_line(&format!("report: {}", written.html.display()));
    Ok(report)
}
