//! Documents rendered with the report's numbers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

mod common;

use std::sync::Arc;

use lrlab_report::{Document, Metric, Report, parse, render, summarise, write};
use serde_json::json;

/// Two models, two schedules, eight seeds of invented runs; one arm has none.
fn report() -> Arc<Report> {
    let grid = common::Grid {
        models: vec![("resnet", "pictures"), ("lstm", "reviews")],
        schedules: vec!["static", "cosine"],
        monitors: vec!["off"],
        seeds: 8,
        ..common::quickstart()
    };
    let mut plan = common::plan(&grid);
    for run in &mut plan.runs {
        let schedule = run.cell["schedule"].as_str().unwrap().to_owned();
        run.spec = json!({ "lr": 0.01, "schedule": { &schedule: { "t_max": "100%" } }, "note": schedule, "lr_max": null }).into();
    }
    plan.claims = json!([
        { "id": "helps", "text": "Cosine & co. help: 100 % of the time", "metric": "val_accuracy",
          "where": { "schedule": "cosine", "model": "resnet" }, "compare": ">", "than": { "schedule": "static" } },
    ]);
    let (_folder, store) = common::store(&plan, |i, planned| (i < 24).then(|| common::result(planned)));
    Arc::new(summarise(&plan, &store).unwrap())
}

fn of(name: &str, template: &str) -> Result<String, String> {
    let document = Document { name: name.to_owned(), template: template.to_owned() };
    render(&report(), &document).map_err(|error| error.to_string())
}

#[test]
fn numbers_come_from_the_report() {
    let report = report();
    let arm =
        report.arms.iter().find(|arm| arm.label("model") == "resnet" && arm.label("schedule") == "cosine");
    let s = arm.unwrap().estimate(Metric::best("test_accuracy")).summary.unwrap();
    let expected = format!("{:.2} ± {:.2} % (n = 8)", 100.0 * s.mean, 100.0 * s.std.unwrap());
    let call = "estimate(\"best.test_accuracy\", model=\"resnet\", schedule=\"cosine\")";
    assert_eq!(of("a.txt", &format!("{{{{ {call} }}}}\n")).unwrap(), format!("{expected}\n"));
    assert_eq!(of("a.txt", &format!("{{{{ {call}.n }}}}")).unwrap(), "8");
    assert_eq!(of("a.txt", &format!("{{{{ {call}.mean }}}}")).unwrap(), s.mean.to_string());
    assert_eq!(of("a.txt", &format!("{{{{ {call}.runs | length }}}}")).unwrap(), "8");
    assert_eq!(
        of("a.tex", &format!("<< {call} >> {{%")).unwrap(),
        format!("{} {{%", expected.replace('±', "$\\pm$").replace('%', "\\%")),
        "LaTeX has its own delimiters"
    );
    assert_eq!(
        of("a.txt", "{{ estimate(\"best.test_f1\", model=\"lstm\", schedule=\"cosine\") }}").unwrap(),
        "not run"
    );
    assert_eq!(of("a.txt", "{{ setting(\"lr\") }} {{ setting(\"lr_max\") }}").unwrap(), "0.01 off");
    assert_eq!(of("a.txt", "{{ setting(\"schedule.cosine.t_max\", schedule=\"cosine\") }}").unwrap(), "100%");
    assert_eq!(of("a.txt", "{{ counts.done }} of {{ counts.planned }}").unwrap(), "24 of 32");
    assert_eq!(of("a.txt", "{{ axis(\"schedule\") | join(\", \") }}").unwrap(), "static, cosine");
    let each = "{% for arm in arms(model=\"lstm\") %}\n{{ arm.schedule }}\n{% endfor %}\n";
    assert_eq!(of("a.txt", each).unwrap(), "static\ncosine\n");
}

#[test]
fn the_answer_is_that_of_the_page_without_the_claims() {
    let report = report();
    let sentences = lrlab_report::answer(&report);
    let expected: Vec<String> = sentences
        .iter()
        .filter(|sentence| !sentence.about.starts_with("The experiment's"))
        .map(|sentence| format!("{}: {}", sentence.about, sentence.text))
        .collect();
    assert_eq!((expected.len(), sentences.len()), (1, 2), "{sentences:?}");
    let template = "{% for s in answer %}\n{{ s.about }}: {{ s.text }}\n{% endfor %}\n";
    assert_eq!(of("a.txt", template).unwrap(), expected.join("\n") + "\n");
}

#[test]
fn differences_and_claims_state_their_tests() {
    let text = of(
        "a.txt",
        "{{ difference(\"final.val_loss\", \"schedule\", model=\"resnet\", schedule=\"cosine\") }}",
    );
    let text = text.unwrap();
    assert!(text.contains(" nats (n = 8, p = ") && text.contains(", +") | text.contains(", −"), "{text}");
    let claim =
        of("a.md", "{{ claim(\"helps\").text }}: {{ claim(\"helps\") }}, {{ claim(\"helps\").arms[0] }}")
            .unwrap();
    assert!(claim.starts_with("Cosine &amp; co. help: 100 % of the time: "), "{claim}");
    assert!(claim.contains(" pp") && claim.contains("\\["), "{claim}");
    assert!(of("a.tex", "<< claim(\"helps\").text >>").unwrap().starts_with("Cosine \\& co. help: 100 \\%"));
}

#[test]
fn tables_are_in_the_language_of_the_document() {
    assert!(of("a.md", "{{ table(\"results\") }}").unwrap().starts_with("| model | "));
    assert!(of("a.tex", "<< table(\"results\") >>").unwrap().contains("\\begin{tabular}"));
    assert_eq!(
        of("a.md", "{{ figure(\"resnet-pictures-val-loss\") }}").unwrap(),
        "figures/resnet-pictures-val-loss.svg"
    );
    let all =
        "{% for f in figures() %}{{ f.path }}: {{ f.title }}{{ \" of the paper\" if f.paper }}\n{% endfor %}";
    let all = of("a.md", all).unwrap();
    assert!(all.starts_with("figures/answer.svg: Differences from the baseline\n"), "{all}");
    assert!(all.contains("\nfigures/figure-1-loss.svg: Figure 1. Training and validation loss by epoch under a static learning rate of the paper\n"), "{all}");
    assert!(all.contains("\nfigures/resnet-pictures-val-loss.svg: "), "{all}");
    let tex = of("a.tex", "<% for f in figures() %><< f.path >> <% endfor %>").unwrap();
    assert!(tex.starts_with("figures/answer ") && !tex.contains(".svg"), "{tex}");
}

#[test]
fn unknown_names_are_errors_with_the_line() {
    let check = |template: &str, expected: &str| {
        assert_eq!(of("a.md", template).unwrap_err(), expected, "{template}");
    };
    check(
        "one\n{{ estimate(\"best.test_acuracy\", model=\"lstm\") }}",
        "a.md.jinja:2: unknown metric \"best.test_acuracy\": expected a name such as \"best.test_accuracy\" or \
         \"final.val_loss\"",
    );
    check("{{ estimate(\"val_loss\", model=\"vgg\") }}", "a.md.jinja:1: no arm has model = vgg");
    check(
        "{{ estimate(\"val_loss\", modle=\"lstm\") }}",
        "a.md.jinja:1: the report has no axis `modle`: expected one of model, dataset, epochs, schedule, monitor",
    );
    // An axis with a dot is given in a table.
    check(
        "{{ estimate(\"val_loss\", model=\"lstm\", **{\"optimizer.adam.beta1\": 0.5}) }}",
        "a.md.jinja:1: the report has no axis `optimizer.adam.beta1`: expected one of model, dataset, epochs, schedule, \
         monitor",
    );
    let many = of("a.md", "{{ estimate(\"val_loss\", model=\"lstm\") }}").unwrap_err();
    assert!(
        many.starts_with("a.md.jinja:1: 2 arms match (") && many.ends_with("): name more coordinates"),
        "{many}"
    );
    check("{{ claim(\"hepls\") }}", "a.md.jinja:1: unknown claim \"hepls\": expected one of helps");
    check(
        "{{ setting(\"schedule.cosine.eta\", schedule=\"cosine\") }}",
        "a.md.jinja:1: these runs have no setting \"schedule.cosine.eta\": expected one of t_max",
    );
    check(
        "{{ axis(\"epoch\") }}",
        "a.md.jinja:1: the report has no axis `epoch`: expected one of model, dataset, epochs, schedule, monitor",
    );
    check(
        "{{ setting(\"note\") }}",
        "a.md.jinja:1: `note` has several values in these runs: static, cosine, static",
    );
    assert!(
        of("a.md", "{{ table(\"result\") }}")
            .unwrap_err()
            .starts_with("a.md.jinja:1: unknown table \"result\"")
    );
    check("{{ counts.dnoe }}", "a.md.jinja:1: `counts.dnoe` is undefined");
    assert!(of("a.md", "\n\n{% if %}").unwrap_err().starts_with("a.md.jinja:3: "));
}

/// Names that no report has are found before the template is rendered.
#[test]
fn undefined_names_are_errors_with_the_line() {
    let check = |name: &str, template: &str, expected: &str| {
        let document = Document { name: name.to_owned(), template: template.to_owned() };
        assert_eq!(parse(&document).unwrap_err().to_string(), expected, "{template}");
        assert_eq!(of(name, template).unwrap_err(), expected, "{template}");
    };
    check("a.md", "counst\n{{ counst.done }}", "a.md.jinja:2: unknown name `counst`: did you mean `counts`?");
    check(
        "a.tex",
        "counst {{counst}}\n<% if 1 == counst.done %><% endif %>",
        "a.tex.jinja:2: unknown name `counst`: did you mean `counts`?",
    );
    check(
        "a.md",
        "{{ estmate(\"val_loss\", model=\"lstm\") }}\n{{ model }}",
        "a.md.jinja:1: unknown name `estmate`: did you mean `estimate`?; line 2: unknown name `model`: expected one of \
         answer, arms, axis, claim, claims, counts, debug, description, dict, difference, estimate, experiment, figure, \
         figures, namespace, origin, planned, range, remaining, runs, seconds, setting, table, warnings",
    );
    // A name may be set in a branch, or its absence may be provided for.
    assert_eq!(of("a.txt", "{% if counts.done %}{% set it, n = 1, 2 %}{% endif %}{{ n }}").unwrap(), "2");
    assert_eq!(of("a.txt", "{{ it is defined }} {{ other | default(3) }}").unwrap(), "False 3");
    let some = "{% if not counts.done %}{%- set it = 1 %}{% endif %}\n{{ it }}";
    assert_eq!(of("a.txt", some).unwrap_err(), "a.txt.jinja:2: `it` is undefined");
    let own = "{% macro f(x, y=2) %}{{ x }}{{ y }}{% endmacro %}{% for x in [1] %}{{ f(x) }}{{ loop.index }}{% endfor %}";
    assert_eq!(of("a.txt", own).unwrap(), "121");
}

/// Templates that set a name somewhere, or provide for its absence, in every spelling.
#[test]
fn names_that_may_be_defined_are_known() {
    let later = "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}1{% endmacro %}{{ f() }}";
    let branch = "{% if true %}{%- macro f() %}1{% endmacro %}{% endif %}{{ f() }}";
    let line = "{% if true %}{% set\nn = 1 %}{% endif %}{{ n }}";
    let spaces = "{% if true %}{% set   n = 1 %}{% endif %}{{ n }}";
    for template in [later, branch, line, spaces] {
        assert_eq!(of("a.txt", template).unwrap(), "1", "{template}");
    }
    for template in [
        "{{ note | d(\"–\") }}",
        "{{ note|default(\"–\") }}",
        "{{ (note) | default(\"–\") }}",
        "{{ ((note)) | d(\"–\") }}",
        "{% if (note) | d(true) %}–{% endif %}",
        "{{ \"–\" if note is not defined else note }}",
        "{{ \"–\" if (note) is undefined }}",
        "{# {{ counst }} #}{% raw %}{% endraw %}{{ {\"}}\": {\"a\": \"–\"}}[\"}}\"][\"a\"] }}",
    ] {
        assert_eq!(of("a.txt", template).unwrap(), "–", "{template}");
    }
    assert_eq!(
        of("a.txt", "{% raw -%} {{ counst }} {%- endraw %}{{ counts.done }}").unwrap(),
        "{{ counst }}24"
    );
}

/// What only resembles a definition or a test, and text that is no code.
#[test]
fn names_that_are_never_defined_are_unknown() {
    for (line, template) in [
        (1, "{{ counst is odd }}"),
        (1, "{{ counst | dictsort }}"),
        (1, "{{ estimate(counst) | default(1) }}"),
        (1, "{{ \"counst is defined\" }}{{ counst }}"),
        (1, "{{ 'it\\'s counst is defined' }}{{ counst }}"),
        (1, "{% set n = counst %}"),
        (1, "{% macro f(n=counst) %}{% endmacro %}"),
        (
            5,
            "{# {{ counst }} #}\n{% raw %}{{ counst is defined }}\n{% endraw %}{{ \"counst\" }}\n\n{{ counst }}",
        ),
        (2, "{{ counts.counst }} {{ dict(counst=1) }}\n{{ [{\"}}\": {}}, counst] }}"),
    ] {
        let document = Document { name: "a.md".to_owned(), template: template.to_owned() };
        let expected = format!("a.md.jinja:{line}: unknown name `counst`: did you mean `counts`?");
        assert_eq!(parse(&document).unwrap_err().to_string(), expected, "{template}");
    }
    let latex = "<# << counst >> #>\n<% raw %><< counst is defined >><%- endraw %>\n<< counst >>";
    let document = Document { name: "a.tex".to_owned(), template: latex.to_owned() };
    let error = parse(&document).unwrap_err().to_string();
    assert!(error.starts_with("a.tex.jinja:3: unknown name `counst`"), "{error}");
}

/// A report without claims, comparisons and figures has nothing to suggest.
#[test]
fn empty_reports_have_no_suggestions() {
    let check = |report: &Arc<Report>, template: &str, expected: &str| {
        let document = Document { name: "a.md".to_owned(), template: template.to_owned() };
        let error = render(report, &document).unwrap_err().to_string();
        assert_eq!(error, format!("a.md.jinja:1: {expected}"), "{template}");
    };
    let nothing = Arc::new(Report::default());
    check(&nothing, "{{ claim(\"a\") }}", "unknown claim \"a\": the experiment has no claims");
    check(&nothing, "{{ axis(\"model\") }}", "the report has no axis `model`: it has no axes");
    check(&nothing, "{{ figure(\"a\") }}", "unknown figure \"a\": the report has no figures");
    let grid = common::Grid {
        models: vec![("lstm", "reviews")],
        schedules: vec!["static"],
        monitors: vec!["off"],
        ..common::quickstart()
    };
    let mut plan = common::plan(&grid);
    plan.runs.iter_mut().for_each(|run| run.spec = json!({ "schedule": { "static": {} } }).into());
    let (_folder, store) = common::store(&plan, |_, _| None);
    let single = Arc::new(summarise(&plan, &store).unwrap());
    check(
        &single,
        "{{ setting(\"schedule.static.gamma\") }}",
        "these runs have no setting \"schedule.static.gamma\": there are no keys beside it",
    );
    check(
        &single,
        "{{ difference(\"val_loss\", \"schedule\") }}",
        "the report has no contrast along \"schedule\": it compares no arms",
    );
}

/// Commands in warnings are code in every language.
#[test]
fn warnings_have_their_commands_as_code() {
    let mut report = report();
    let warning = "50 % are missing: `a_b run c.toml` trains them";
    Arc::get_mut(&mut report).unwrap().warnings = vec![warning.to_owned()];
    let of = |name: &str, template: &str| {
        render(&report, &Document { name: name.to_owned(), template: template.to_owned() }).unwrap()
    };
    assert_eq!(of("a.md", "{{ warnings[0] }}"), "50 % are missing: `a_b run c.toml` trains them");
    assert_eq!(
        of("a.tex", "<< warnings[0] >>"),
        "50 \\% are missing: \\texttt{a\\_b run c.toml} trains them"
    );
    assert_eq!(of("a.txt", "{{ warnings[0] }}"), warning);
    // A printed list has the same values.
    for (name, list, one) in [
        ("a.md", "{{ warnings }}", "{{ warnings[0] }}"),
        ("a.tex", "<< warnings >>", "<< warnings[0] >>"),
        ("a.md", "{{ [[warnings[0]]] }}", "{{ warnings[0] }}"),
    ] {
        assert_eq!(of(name, list), of(name, one));
    }
    assert_eq!(of("a.md", "{{ ['x_y', 2, 0.5] }}"), "x\\_y, 2, 0.5");
}

/// Finished and planned runs, and the seeds of a claim's arm.
#[test]
fn runs_are_finished_and_planned() {
    let text = "{{ runs(model=\"lstm\") | length }} of {{ planned(model=\"lstm\") }}";
    assert_eq!(of("a.txt", text).unwrap(), "8 of 16");
    let arm = "{% set arm = claim(\"helps\").arms[0] %}{{ arm.by_seed | length }} {{ arm.by_seed[\"7\"] < 1 }} {{ arm.same }}";
    assert_eq!(of("a.txt", arm).unwrap(), "8 True 0");
    assert_eq!(
        of(
            "a.txt",
            "{{ difference(\"val_loss\", \"schedule\", model=\"resnet\", schedule=\"cosine\").same }}"
        )
        .unwrap(),
        "0"
    );
}

/// Half of an arm's runs are missing, so they take as long as the other half.
#[test]
fn the_remaining_time_is_that_of_the_missing_runs() {
    let grid = common::Grid { seeds: 8, ..common::quickstart() };
    let plan = common::plan(&grid);
    let (_folder, store) = common::store(&plan, |i, planned| {
        (i % 2 == 0).then(|| {
            let mut it = common::result(planned);
            (it.timing.train_s, it.timing.eval_s, it.timing.data_s) = (30.0, 8.0, 2.0);
            it
        })
    });
    let report = Arc::new(summarise(&plan, &store).unwrap());
    let document = Document { name: "a.txt".to_owned(), template: "{{ remaining() }}".to_owned() };
    let missing = report.counts.missing;
    assert!(missing > 0 && report.counts.done == missing);
    assert_eq!(render(&report, &document).unwrap(), format!("{:?}", 40.0 * missing as f64));
}

/// A table's rows about some arms, and the time that their missing runs take.
#[test]
fn a_part_of_the_arms() {
    let rows =
        |table: &str| of("a.md", table).unwrap().lines().skip(2).map(str::to_owned).collect::<Vec<_>>();
    let all = rows("{{ table(\"results\") }}");
    let of_lstm: Vec<&String> = all.iter().filter(|row| row.starts_with("| lstm |")).collect();
    let lstm = rows("{{ table(\"results\", model=\"lstm\") }}");
    // Without the coordinates that are now the same in all rows.
    assert!(
        of("a.md", "{{ table(\"results\", model=\"lstm\") }}").unwrap().starts_with("| schedule |"),
        "{lstm:?}"
    );
    assert!(lstm.len() == of_lstm.len() && lstm.len() < all.len() && lstm.len() > 1, "{lstm:?}");
    assert!(lstm.iter().zip(of_lstm).all(|(part, whole)| whole.ends_with(part.as_str())), "{lstm:?}");
    let of_runs = of("a.md", "{{ table(\"runs\", model=\"lstm\") }}").unwrap_err();
    assert!(of_runs.contains("the rows of the table \"runs\" are not about arms"), "{of_runs}");
    let tex = of("a.tex", "<< table(\"results\", model=\"lstm\") >>").unwrap();
    assert!(tex.contains("Shown: rows of model = lstm;") && tex.contains("-model-lstm-results}"), "{tex}");
    assert!(
        of("a.md", "{{ table(\"results\", model=\"lst\") }}").unwrap_err().contains("no arm has model = lst")
    );

    let check = |text: &str, expected: &str| assert_eq!(of("a.txt", text).unwrap(), expected, "{text}");
    check("{{ remaining(model=\"resnet\") }}", "0.0");
    // Half of the runs are missing: those of one arm, from which nothing is known.
    check("{{ remaining(model=\"lstm\") is none }}", "True");
    let arm = "{% set arm = claim(\"helps\").arms[0] %}";
    check(&format!("{arm}{{{{ arm.at.model }}}} {{{{ arm.at.schedule }}}}"), "resnet cosine");
    check(
        &format!("{arm}{{{{ arm.p_uncorrected <= arm.p }}}} {{{{ arm.p_smallest <= arm.p }}}}"),
        "True True",
    );
    let it = "{% set it = difference(\"val_loss\", \"schedule\", model=\"resnet\", schedule=\"cosine\") %}";
    check(
        &format!("{it}{{{{ it.family }}}} {{{{ it.p_holm_smallest == it.family * 2 / 2 ** it.n }}}}"),
        "1 True",
    );
}

#[test]
fn documents_are_files_of_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let report = report();
    let rendered = |text: &str| [("paper.md".to_owned(), text.to_owned())];
    let written = write(&report, &rendered("first\n"), folder.path()).unwrap();
    let path = folder.path().join("paper.md");
    assert_eq!(written.documents, std::slice::from_ref(&path));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\n");
    write(&report, &rendered("second\n"), folder.path()).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "second\n");
    std::fs::write(&path, "by hand").unwrap();
    let written = write(&report, &[], folder.path()).unwrap();
    assert!(written.kept.is_empty(), "the new report has no such document");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "by hand");
    let written = write(&report, &rendered("third\n"), folder.path()).unwrap();
    assert_eq!(std::fs::read_to_string(&written.kept[0]).unwrap(), "by hand");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "third\n");
}

/// The paper's template, with all runs and with none.
#[test]
fn the_paper_is_rendered_with_and_without_runs() {
    let template = |name: &str, text: &str| Document { name: name.to_owned(), template: text.to_owned() };
    let document = template("paper.md", include_str!("../../../experiments/paper/paper.md.jinja"));
    let latex = template("paper.tex", include_str!("../../../experiments/paper/paper.tex.jinja"));
    let mut plan = common::plan(&common::paper());
    plan.claims = common::claims();
    for run in &mut plan.runs {
        let spec = Arc::make_mut(&mut run.spec);
        spec["lr"] = json!(0.01);
        spec["batch_size"] = json!(32);
        spec["clip_norm"] = json!(null);
        spec["select"] = json!("val_accuracy");
        spec["optimizer"] = json!({ "sgd": {} });
        spec["model"] = json!({ "linear": {} });
        let tokens = json!({ "tokenizer": "word", "vocabulary": 20_000, "max_length": 200, "keep": "end" });
        spec["data"] = json!({ "split_seed": 0, "tokens": tokens });
        let plateau = json!({ "factor": 0.5, "patience": 1, "threshold": 1e-4 });
        spec["monitor"] = match run.cell["monitor"].as_str() {
            Some("on") => json!({ "controller": { "plateau": plateau } }),
            _ => json!(null),
        };
        match run.cell["schedule"].as_str().unwrap() {
            "step" => spec["schedule"] = json!({ "step": { "gamma": 0.1, "step_size": "30%" } }),
            "exponential" => spec["schedule"] = json!({ "exponential": { "decay_rate": 0.9 } }),
            "cosine" => {
                spec["schedule"] = json!({ "cosine": { "eta_min": 0.0, "t_max": "100%", "every": "epoch" } });
            }
            _ => {}
        }
    }
    let rendered = |all: bool, document: &Document| {
        let (_folder, store) = common::store(&plan, |_, planned| all.then(|| common::result(planned)));
        render(&Arc::new(summarise(&plan, &store).unwrap()), document).unwrap()
    };
    let (whole, none) = (rendered(true, &document), rendered(false, &document));
    assert!(whole.starts_with("# ") && whole.contains("results of 288 of the 288 planned runs"), "{whole}");
    assert!(
        none.contains("results of 0 of the 288 planned runs")
            && none.contains("The LSTM has not been run in this grid."),
        "{none}"
    );
    assert!(!whole.contains("What has not been run") && none.contains("What has not been run"));
    for (text, verdict) in [(&whole, "mitigates: "), (&none, "mitigates: not run")] {
        assert!(text.contains(&format!("### {verdict}")), "{text}");
        for line in text.lines().filter(|line| line.starts_with('|')) {
            assert!(line.ends_with('|') && !line.contains("none"), "{line}");
        }
    }
    let (whole, none) = (rendered(true, &latex), rendered(false, &latex));
    assert!(whole.contains("288 of the 288 planned runs") && none.contains("0 of the 288 planned runs"));
    for text in [&whole, &none] {
        assert!(!text.contains("\\$"), "math that was escaped: {text}");
        assert!(text.starts_with("\\documentclass") && text.ends_with("\\end{document}\n"), "{text}");
        assert_eq!(text.matches("\\begin{").count(), text.matches("\\end{").count());
    }
}
