//! `lrlab report`: writes the tables, figures and HTML page of a grid.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;

use anyhow::Context;
use lrlab_options::{ReportArgs, Selection};
use lrlab_report::{ClaimVerdict, Document, Report};
use lrlab_runs::{Plan, RunStore};

use super::on_record;
use super::print_line;
use super::resolve::{read_trained, resolve_for_report};
use super::stored::{left_out, namesake};
use crate::program::program;
use crate::progress::{eprint_line, with_causes};
use crate::{Exit, Registry};

pub(crate) fn report(args: &ReportArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let (plans, store) = read_plans(args, registry)?;
    if let ([plan], None) = (&plans[..], &args.to) {
        let file = &args.selection.experiment;
        match namesake(file, &store, &plan.experiment, "its report") {
            Some(namesake) => eprint_line(&format!("warning: {namesake}, or give --to")),
            None => left_out(plan, &store).iter().for_each(|note| eprint_line(&format!("note: {note}"))),
        }
    }
    if let Some(part) = plans.first().and_then(covers) {
        eprint_line(&format!("note: {part}"));
    }
    let report = summarised(&plans, &store)?;
    let to = args.to.clone().unwrap_or_else(|| folder(&report, &store));
    let documents = documents(&plans, &report);
    // Frees the memory of records before the tables need it.
    drop((plans, store));
    let exit = write(&report, &documents, &to)?;
    if !args.check {
        return Ok(exit);
    }
    let verdicts = lrlab_report::check(&report);
    if verdicts.is_empty() {
        let files = [&args.selection.experiment].into_iter().chain(&args.others);
        let files = files.map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        eprint_line(&format!("warning: --check has nothing to check: there are no [[claims]] in {files}"));
    }
    for claim in &verdicts {
        let unexpected = if claim.as_expected() { "" } else { ", which the experiment does not expect" };
        print_line(&format!(
            "{}: {}{unexpected} ({}) {}",
            claim.id,
            claim.verdict.word(),
            claim.claimed,
            claim.note
        ));
    }
    let all = verdicts.iter().all(ClaimVerdict::as_expected);
    Ok(if all { exit } else { Exit::UnexpectedVerdict })
}

/// Reads the selected runs of every experiment, and the store together with the runs on record.
fn read_plans(args: &ReportArgs, registry: &Registry) -> anyhow::Result<(Vec<Plan>, RunStore)> {
    let files: Vec<PathBuf> = [&args.selection.experiment].into_iter().chain(&args.others).cloned().collect();
    let records = on_record::read_for_all(&args.on_record, &files)?;
    let plan = |experiment: PathBuf| {
        let selection = Selection { experiment, ..args.selection.clone() };
        let experiment = read_trained(&selection, registry, &records)?;
        resolve_for_report(&experiment, &selection, registry, &records)
    };
    let plans = files.into_iter().map(plan).collect::<anyhow::Result<Vec<Plan>>>()?;
    if records.is_empty() && !args.selection.out.is_dir() {
        let out = args.selection.out.display();
        eprint_line(&format!(
            "warning: {out}: no such folder, and no run is on record: all runs count as missing"
        ));
    }
    let store = on_record::with_store(RunStore::new(&args.selection.out), &plans, records)?;
    Ok((plans, store))
}

/// Reads the results of one experiment, or of several that share a report.
///
/// The first warning of the report of a part of an experiment says so.
fn summarise(plans: &[Plan], store: &RunStore) -> anyhow::Result<Report> {
    let mut report = match plans {
        [plan] => lrlab_report::summarise(plan, store)?,
        _ => lrlab_report::summarise_together(plans, store)?,
    };
    report.warnings.splice(0..0, plans.first().and_then(covers));
    Ok(report)
}

/// Says which runs the report of a part of an experiment covers.
fn covers(plan: &Plan) -> Option<String> {
    let part = plan.part.as_ref()?;
    Some(format!("This report covers only the runs that `{part}` selects."))
}

/// Writes the report of a grid that ended and prints its summary. Returns the exit code.
pub(crate) fn conclude(plan: &Plan, store: &RunStore, summary: &str, exit: Exit) -> Exit {
    let reported = summarised(slice::from_ref(plan), store).and_then(|report| {
        let documents = documents(slice::from_ref(plan), &report);
        write(&report, &documents, &folder(&report, store))
    });
    print_line(summary);
    if let Some(covers) = covers(plan) {
        eprint_line(&format!("note: {covers} `{} report FILE` makes that of all runs", program()));
    }
    let written = reported.unwrap_or_else(|error| {
        eprint_line(&format!("error: {}", with_causes(&error)));
        Exit::OutputFailed
    });
    if exit == Exit::Done { written } else { exit }
}

/// Reads the results, and reports every damaged one.
fn summarised(plans: &[Plan], store: &RunStore) -> anyhow::Result<Arc<Report>> {
    let report = summarise(plans, store)?;
    let runs = report.runs().filter(|run| run.result().is_none()).map(|run| &run.id);
    let trials = report.searches.iter().flat_map(|search| &search.trials).flat_map(|trial| &trial.runs);
    let trials = trials.filter(|run| run.is_damaged()).map(|run| &run.id);
    for id in runs.chain(trials).collect::<BTreeSet<_>>() {
        if let Ok(Some(damage)) | Err(damage) = store.damage(id) {
            eprint_line(&format!("warning: {damage}"));
        }
    }
    if let classes @ [_, _, ..] = &report.origin.numerics[..] {
        eprint_line(&format!(
            "note: the results belong to {} numerics classes ({}): equal bits are not guaranteed across classes",
            classes.len(),
            classes.join("; ")
        ));
    }
    Ok(Arc::new(report))
}

/// Writes a report, prints its table, and reports documents that could not be rendered. Returns the exit code.
fn write(report: &Report, documents: &Documents, to: &Path) -> anyhow::Result<Exit> {
    let written =
        lrlab_report::write(report, &documents.rendered, to).context("the report could not be written")?;
    print_line(&lrlab_report::terminal_table(report));
    for kept in &written.kept {
        print_line(&format!("kept: {} (modified since the earlier report)", kept.display()));
    }
    for document in &written.documents {
        print_line(&format!("document: {}", document.display()));
    }
    print_line(&format!("report: {}", written.html.display()));
    for error in &documents.failed {
        eprint_line(&format!("error: {}; the report was written without this document", with_causes(error)));
    }
    Ok(if documents.failed.is_empty() { Exit::Done } else { Exit::OutputFailed })
}

/// Writes the report of the current state of a grid without output. While runs are in progress (`open`), the page reloads
/// itself.
pub(crate) fn refresh(plan: &Plan, store: &RunStore, open: bool) -> anyhow::Result<()> {
    let report = Arc::new(summarise(slice::from_ref(plan), store)?);
    let write = if open { lrlab_report::write_open } else { lrlab_report::write };
    // A document may refer to runs that are not finished; the final report tells.
    write(&report, &render(slice::from_ref(plan), &report).rendered, &folder(&report, store))?;
    Ok(())
}

/// The default folder of a report.
fn folder(report: &Report, store: &RunStore) -> PathBuf {
    store.experiment_dir(&report.experiment).join("report")
}

/// The experiment's own documents.
#[derive(Debug, Default)]
struct Documents {
    /// Names of files and their texts.
    rendered: Vec<(String, String)>,
    /// The errors of the others.
    failed: Vec<anyhow::Error>,
}

/// Renders the documents of a report. If it covers a part of an experiment or has overrides, a document may refer to other
/// runs, and its error is a warning.
fn documents(plans: &[Plan], report: &Arc<Report>) -> Documents {
    let mut documents = render(plans, report);
    let is_whole =
        |plan: &Plan| plan.part.is_none() && plan.call.as_ref().is_none_or(|call| call.set.is_empty());
    if !plans.iter().all(is_whole) {
        for error in documents.failed.drain(..) {
            let error = with_causes(&error);
            eprint_line(&format!(
                "warning: {error}; this report of a part of the experiment leaves the document out"
            ));
        }
    }
    documents
}

/// Renders the documents of an experiment; a report of several experiments has none.
fn render(plans: &[Plan], report: &Arc<Report>) -> Documents {
    let mut documents = Documents::default();
    let [plan] = plans else { return documents };
    for template in &plan.documents {
        let rendered = template_of(plan, template).and_then(|document| {
            let text = lrlab_report::render(report, &document)?;
            Ok((document.name, text))
        });
        match rendered {
            Ok(document) => documents.rendered.push(document),
            Err(error) => documents.failed.push(error),
        }
    }
    documents
}

/// Checks that the templates of the experiment's documents exist and are templates, before anything is trained for them. The
/// error has one line for each document.
pub(crate) fn check_documents(plan: &Plan) -> anyhow::Result<()> {
    let check = |template: &String| anyhow::Ok(lrlab_report::parse(&template_of(plan, template)?)?);
    let failed = plan.documents.iter().filter_map(|template| check(template).err());
    let errors: Vec<String> = failed.map(|error| with_causes(&error)).collect();
    anyhow::ensure!(errors.is_empty(), "{}", errors.join("\n"));
    Ok(())
}

fn template_of(plan: &Plan, template: &str) -> anyhow::Result<Document> {
    let experiment = plan.call.as_ref().map(|call| Path::new(&call.folder).join(&call.experiment));
    let beside = |file: &Path| file.parent().unwrap_or(Path::new("")).join(template);
    let mut path = beside(experiment.as_deref().unwrap_or(Path::new("")));
    // A link to an experiment has the templates beside the file that it refers to.
    if !path.exists()
        && let Some(target) = experiment.as_deref().and_then(|file| file.canonicalize().ok())
    {
        path = beside(&target);
    }
    let bytes = std::fs::read(&path).with_context(|| {
        let experiment = experiment.as_deref().unwrap_or(Path::new("the experiment"));
        format!("{}: `report.documents`: {}", experiment.display(), path.display())
    })?;
    let text = lrlab_spec::decode(&bytes, &path.display().to_string())?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Document { name, template: text })
}
