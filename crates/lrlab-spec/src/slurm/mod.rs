//! Slurm profiles: the partition and account names of a site, and the resources of runs. A profile does not affect results,
//! so it is a separate file and not part of the identity of runs.
//!
//! ```
//! let text = r#"
//! partition = "gpu"
//! account = "lab"
//! time = "4:00:00"                  # of one task; minutes, or Slurm's [days-]hours:minutes:seconds
//! memory = "16G"
//! cpus = 4
//! gres = "gpu:1"
//! modules = ["cuda/12.4"]           # `module load` before the work
//! setup = ["export NCCL_DEBUG=WARN"] # lines of shell before the work
//! extra = ["--constraint=a100"]     # further options of sbatch
//! throttle = 16                     # tasks at once
//!
//! [report]                          # the job that writes the report; see below
//! partition = "cpu"
//! time = "10"
//!
//! [classes.large]                   # runs that need other resources; each class is a separate array
//! where = { model = ["resnet50"] }  # as in [[exclude]]: any key of a run, with a value or a list of them
//! gres = "gpu:a100:1"
//! time = "1-00:00:00"
//! "#;
//! let cell = [("model".to_owned(), "resnet50".into())].into();
//! let spec = serde_json::Value::Null; // the run's specification, for keys that are not axes
//! let profile = lrlab_spec::SlurmProfile::read(text, "slurm.toml", &[(&cell, &spec)])?;
//! let large = profile.class_of(&cell, &spec);
//! assert_eq!((large.name.as_str(), large.resources.time_s, large.resources.cpus), ("large", 86_400, 4));
//! assert_eq!((profile.report.partition.as_deref(), profile.report.gres.as_deref()), (Some("cpu"), None));
//! # Ok::<(), lrlab_spec::Mistakes>(())
//! ```
//!
//! The job that writes the report requests the same resources as a task of the arrays, so that a partition accepts both,
//! except that it requests one CPU, thirty minutes and the partition's default memory. A table `[report]` replaces these resources; of the keys at the
//! top level, only `account`, `modules` and `setup` still apply.

mod values;

use std::collections::BTreeSet;

use lrlab_runs::Cell;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::conditions;
use crate::coordinate::meets;
use crate::definitions::check_length;
use crate::mistake::{Log, Mistakes, Severity};
use crate::tree::{Key, Node, parse};
use crate::walk::{missing, walk};

use self::values::{duration, find, lines, memory, whole, word};

/// The resources of a task of a job array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlurmResources {
    /// `--partition`.
    pub partition: Option<String>,
    /// `--account`.
    pub account: Option<String>,
    /// `--qos`.
    pub qos: Option<String>,
    /// `--gres`.
    pub gres: Option<String>,
    /// `--mem`.
    pub memory: Option<String>,
    /// `--time`, in seconds.
    pub time_s: u64,
    /// `--cpus-per-task`.
    pub cpus: u32,
    /// The number of concurrent runs in one task.
    pub runs_at_once: u32,
    /// The time before the time limit at which runs are asked to save, in seconds.
    pub save_before_s: u64,
    /// The modules to load by `module load`.
    pub modules: Vec<String>,
    /// Shell commands before the work.
    pub setup: Vec<String>,
    /// Additional options of `sbatch`.
    pub extra: Vec<String>,
}

impl Default for SlurmResources {
    /// One CPU for thirty minutes.
    fn default() -> Self {
        Self {
            partition: None,
            account: None,
            qos: None,
            gres: None,
            memory: None,
            time_s: REPORT_TIME_S,
            cpus: 1,
            runs_at_once: 1,
            save_before_s: 0,
            modules: Vec::new(),
            setup: Vec::new(),
            extra: Vec::new(),
        }
    }
}

/// The time limit of the job that writes the report, in seconds.
const REPORT_TIME_S: u64 = 1800;

/// A class of runs with the same resources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlurmClass {
    /// The name.
    pub name: String,
    /// The conditions on keys of the runs, each with the accepted values; without conditions, every run belongs to the class.
    pub cells: Vec<(String, Vec<Json>)>,
    /// The resources of a task.
    pub resources: SlurmResources,
}

/// A Slurm profile of a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlurmProfile {
    /// The classes in the order of the file; the last one takes the remaining runs.
    pub classes: Vec<SlurmClass>,
    /// The resources of the job that writes the report.
    #[serde(default)]
    pub report: SlurmResources,
    /// The maximum number of tasks of one array (below the site's `MaxArraySize`).
    pub max_tasks: u32,
    /// The maximum number of concurrent tasks.
    pub throttle: Option<u32>,
    /// Warnings about classes without a run in this grid: several experiments of a site share a profile.
    #[serde(skip)]
    pub warnings: Mistakes,
}

/// The name of the class of the remaining runs.
const REST: &str = "default";
/// The name of the job that writes the report.
const REPORT: &str = "report";

impl SlurmProfile {
    /// Reads a profile for a grid of runs: their cells and resolved specifications.
    ///
    /// # Errors
    /// Returns all errors with their positions and, if available, suggestions.
    pub fn read(text: &str, file_name: &str, runs: &[(&Cell, &Json)]) -> Result<Self, Mistakes> {
        let mut log = Log::new(file_name, text);
        let (root, complaints) = parse(text, 0);
        for (place, message) in &complaints {
            log.error(*place, format!("invalid TOML: {message}"), None);
        }
        if complaints.is_empty() && root.table().is_empty() {
            log.error(root.place, format!("{file_name} is empty: expected at least `time`"), None);
        }
        if log.has_errors() {
            return Err(log.finish());
        }
        walk(&mut log, &root, &schema(), "");
        let classes = root.get("classes").map(Node::table).unwrap_or_default();
        let (mut read, mut known) = (Vec::new(), Vec::new());
        for (key, node) in classes {
            check_length(&mut log, key.place, &key.name);
            if [REST, REPORT].contains(&key.name.as_str())
                || !key.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
            {
                let hint = format!(
                    "expected letters from a to z, digits, `-` and `_`; `{REST}` is reserved for runs without a class, `{REPORT}` for the report"
                );
                log.error(key.place, format!("`{}` is not a valid name of a class", key.name), hint);
            }
            if node.get("where").is_none() {
                missing(&mut log, node, "where");
            }
            let (cells, all_known) =
                node.get("where").map(|node| conditions(&mut log, node, runs)).unwrap_or_default();
            let resources = resources(&mut log, &[node, &root], key);
            read.push(SlurmClass { name: key.name.clone(), cells, resources });
            known.push((key, all_known));
        }
        let rest = Key { name: REST.to_owned(), place: root.place };
        let resources = resources(&mut log, &[&root], &rest);
        let report = match root.get("report") {
            Some(node) => report(&mut log, node, &root),
            None => SlurmResources {
                memory: None,
                time_s: REPORT_TIME_S,
                cpus: 1,
                runs_at_once: 1,
                ..resources.clone()
            },
        };
        read.push(SlurmClass { name: REST.to_owned(), cells: Vec::new(), resources });
        let at_least_one = |log: &mut Log, key: &str| whole(log, &[&root], key);
        let (max_tasks, throttle) = (at_least_one(&mut log, "max_tasks"), at_least_one(&mut log, "throttle"));
        if log.has_errors() {
            return Err(log.finish());
        }
        let max_tasks = max_tasks.unwrap_or(1000);
        let mut profile = Self { classes: read, report, max_tasks, throttle, warnings: Mistakes::default() };
        let taken: BTreeSet<&str> =
            runs.iter().map(|(cell, spec)| profile.class_of(cell, spec).name.as_str()).collect();
        for (class, (key, _)) in profile.classes.iter().zip(known).filter(|(_, (_, all_known))| *all_known) {
            if taken.contains(class.name.as_str()) {
                continue;
            }
            let message = if runs.iter().any(|run| class.accepts(*run)) {
                format!(
                    "class `{}` takes no run: earlier classes take those that meet its conditions",
                    class.name
                )
            } else {
                format!("class `{}` takes no run: none meets all of its conditions", class.name)
            };
            log.push(Severity::Warning, key.place, message, None);
        }
        profile.warnings = log.finish();
        Ok(profile)
    }

    /// Returns the first class whose conditions a run satisfies, by its cell and its resolved specification.
    #[must_use]
    pub fn class_of(&self, cell: &Cell, spec: &Json) -> &SlurmClass {
        // The last one has no conditions.
        let class = self.classes.iter().find(|class| class.accepts((cell, spec)));
        class.unwrap_or(&self.classes[self.classes.len() - 1])
    }
}

impl SlurmClass {
    /// Returns whether a run meets the conditions.
    fn accepts(&self, run: (&Cell, &Json)) -> bool {
        let meets = |(key, values): &(String, Vec<Json>)| {
            conditions::any(coordinate(run, key), values.iter().cloned())
        };
        self.cells.iter().all(meets)
    }
}

const TEXTS: [&str; 4] = ["partition", "account", "qos", "gres"];
const LISTS: [&str; 3] = ["modules", "setup", "extra"];
fn schema() -> Json {
    let (text, number) = (json!({ "type": "string" }), json!({ "type": "integer" }));
    let mut keys = serde_json::Map::new();
    for key in TEXTS.into_iter().chain(["memory", "time", "save_before"]) {
        keys.insert(key.to_owned(), text.clone());
    }
    for key in ["cpus", "runs_at_once"] {
        keys.insert(key.to_owned(), number.clone());
    }
    for key in LISTS {
        keys.insert(key.to_owned(), json!({ "type": "array", "items": text }));
    }
    let mut report = keys.clone();
    report.retain(|key, _| !matches!(key.as_str(), "save_before" | "runs_at_once"));
    let report = json!({ "type": "object", "properties": report, "additionalProperties": false });
    let mut class = keys.clone();
    class.insert("where".to_owned(), json!({ "type": "object" }));
    let class = json!({ "type": "object", "properties": class, "additionalProperties": false });
    keys.insert("max_tasks".to_owned(), number.clone());
    keys.insert("throttle".to_owned(), number);
    keys.insert("report".to_owned(), report);
    keys.insert("classes".to_owned(), json!({ "type": "object", "additionalProperties": class }));
    json!({ "type": "object", "properties": keys, "additionalProperties": false, "required": ["time"] })
}

/// The table `[report]`.
fn report(log: &mut Log, own: &Node, root: &Node) -> SlurmResources {
    let both = [own, root];
    let [partition, qos, gres] = ["partition", "qos", "gres"].map(|key| word(log, own.get(key), key));
    let [modules, setup] = ["modules", "setup"].map(|key| lines(log, find(&both, key), key));
    SlurmResources {
        partition,
        account: word(log, find(&both, "account"), "account"),
        qos,
        gres,
        memory: own.get("memory").and_then(|node| memory(log, node)),
        time_s: own.get("time").and_then(|node| duration(log, node)).unwrap_or(REPORT_TIME_S),
        cpus: whole(log, &[own], "cpus").unwrap_or(1),
        modules,
        setup,
        extra: lines(log, own.get("extra"), "extra"),
        ..SlurmResources::default()
    }
}

fn resources(log: &mut Log, tables: &[&Node], class: &Key) -> SlurmResources {
    let [partition, account, qos, gres] = TEXTS.map(|key| word(log, find(tables, key), key));
    let memory = find(tables, "memory").and_then(|node| memory(log, node));
    let time_s = find(tables, "time").and_then(|node| duration(log, node)).unwrap_or(0);
    let save = find(tables, "save_before");
    let save_before_s = save.and_then(|node| duration(log, node)).unwrap_or(120);
    if time_s > 0 && save_before_s >= time_s {
        let place = save.or_else(|| find(tables, "time")).map_or(class.place, |node| node.place);
        let message = format!("runs would be asked to save {save_before_s} s before a limit of {time_s} s");
        log.error(place, message, "increase `time`, or decrease `save_before`".to_owned());
    }
    let cpus = whole(log, tables, "cpus").unwrap_or(1);
    let runs_at_once = whole(log, tables, "runs_at_once").unwrap_or(1);
    let [modules, setup, extra] = LISTS.map(|key| lines(log, find(tables, key), key));
    SlurmResources {
        partition,
        account,
        qos,
        gres,
        memory,
        time_s,
        cpus,
        runs_at_once,
        save_before_s,
        modules,
        setup,
        extra,
    }
}

/// The conditions of a class: coordinates with the accepted values, and whether the grid has all of these.
fn conditions(log: &mut Log, node: &Node, runs: &[(&Cell, &Json)]) -> (Vec<(String, Vec<Json>)>, bool) {
    let names: Vec<&str> =
        runs.first().into_iter().flat_map(|(cell, _)| cell.keys()).map(String::as_str).collect();
    let (mut read, mut all_known) = (Vec::new(), true);
    for (key, node) in conditions::entries(node) {
        let found = runs.iter().filter_map(|run| coordinate(*run, &key.name));
        let wanted = conditions::values(node);
        all_known &= conditions::of_site(log, (&key, wanted), &names, found, meets);
        read.push((key.name, wanted.iter().map(Node::json).collect()));
    }
    (read, all_known)
}

fn coordinate((cell, spec): (&Cell, &Json), name: &str) -> Option<Json> {
    conditions::of_run(cell, || Some(spec.clone()), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(model: &str) -> Cell {
        [("model".to_owned(), Json::from(model)), ("seed".to_owned(), Json::from(0))].into()
    }

    fn spec(momentum: f64) -> Json {
        json!({ "optimizer": { "sgd": { "momentum": momentum } }, "clip_norm": null })
    }

    fn read(text: &str) -> Result<SlurmProfile, Mistakes> {
        SlurmProfile::read(text, "s.toml", &[(&cell("lstm"), &spec(0.0)), (&cell("resnet"), &spec(0.9))])
    }

    #[test]
    fn classes_get_matching_runs_and_the_default_the_rest() {
        let profile = read(
            "time = '10'\ncpus = 2\n[classes.big]\nwhere = { model = 'resnet' }\ncpus = 8\nmemory = '16G'\n",
        )
        .unwrap();
        let of = |model: &str| profile.class_of(&cell(model), &spec(0.0));
        let (big, rest) = (of("resnet"), of("lstm"));
        assert_eq!((big.name.as_str(), big.resources.cpus, big.resources.time_s), ("big", 8, 600));
        assert_eq!(
            (rest.name.as_str(), rest.resources.cpus, rest.resources.memory.as_deref()),
            ("default", 2, None)
        );
        assert_eq!((profile.max_tasks, profile.throttle, rest.resources.save_before_s), (1000, None, 120));
    }

    /// As `[[exclude]]` and `--filter` have them.
    #[test]
    fn classes_accept_every_condition() {
        for (conditions, taken) in [
            ("seed = 0.0", [true, true]),
            ("seed = '0'", [true, true]),
            ("optimizer.sgd.momentum = 0.9", [false, true]),
            ("optimizer = { sgd = { momentum = [0] } }", [true, false]),
            ("\"optimizer.sgd.momentum\" = [0.9]\nmodel = ['resnet', 'lstm']", [false, true]),
            ("optimizer.sgd.momentum = 0.9\nmodel = 'lstm'", [false, false]),
            ("clip_norm = 'off'", [true, true]),
        ] {
            let text = format!("time = '10'\n[classes.big.where]\n{conditions}\n");
            let profile = read(&text).unwrap();
            let of = |model, momentum| profile.class_of(&cell(model), &spec(momentum)).name == "big";
            assert_eq!([of("lstm", 0.0), of("resnet", 0.9)], taken, "{conditions}");
        }
        let wrong = read("time = '10'\n[classes.big]\nwhere.optimizer.sgd.momentun = 0.9\n").unwrap_err();
        assert!(
            wrong.to_string().contains("`optimizer.sgd.momentun` is not an axis of this grid"),
            "{wrong}"
        );
    }

    #[test]
    fn the_report_job_has_the_resources_of_tasks_unless_configured() {
        let site = "partition = 'gpu'\naccount = 'lab'\nqos = 'long'\ntime = '4:00:00'\ncpus = 8\nmemory = '64G'\n\
                    gres = 'gpu:1'\nextra = ['--constraint=a100']\nmodules = ['cuda']\n";
        let report = read(site).unwrap().report;
        assert_eq!((report.partition.as_deref(), report.gres.as_deref()), (Some("gpu"), Some("gpu:1")));
        assert_eq!((report.qos.as_deref(), report.extra.len()), (Some("long"), 1));
        assert_eq!((report.cpus, report.time_s, report.memory), (1, 1800, None));
        let own = "[report]\npartition = 'cpu'\nmemory = '2G'\nextra = ['--nice=5']\ncpus = 2\ntime = '5'\n";
        let report = read(&format!("{site}{own}")).unwrap().report;
        let expected = SlurmResources {
            partition: Some("cpu".to_owned()),
            account: Some("lab".to_owned()),
            memory: Some("2G".to_owned()),
            modules: vec!["cuda".to_owned()],
            extra: vec!["--nice=5".to_owned()],
            cpus: 2,
            time_s: 300,
            ..SlurmResources::default()
        };
        assert_eq!(report, expected);
        let wrong = "time = '10'\n[report]\npartiton = 'cpu'\ncpus = 0\nextra = ['--array=1']\n";
        let mistakes: Vec<String> = read(wrong).unwrap_err().iter().map(ToString::to_string).collect();
        for expected in [
            "s.toml:3:1: unknown key `partiton`; did you mean `partition`?",
            "s.toml:4:8: `cpus` is 0: expected at least 1",
            "s.toml:5:10: `--array` is set for every job",
        ] {
            assert!(mistakes.iter().any(|line| line.starts_with(expected)), "{expected}\n{mistakes:#?}");
        }
    }

    /// Several experiments share the profile of a site, so a class without runs is a warning.
    #[test]
    fn classes_of_other_experiments_are_warnings() {
        let profile = read(
            "time = '10'\n[classes.big]\nwhere = { model = 'resent' }\n[classes.own]\nwhere = { model = 'lstm', epochs = 9 }\n",
        )
        .unwrap();
        let warnings: Vec<String> = profile.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "s.toml:3:19: no cell has `model` = `resent`; did you mean `resnet`?",
                "s.toml:5:27: `epochs` is not an axis of this grid; expected one of `model`, `seed`",
            ]
        );
        for model in ["lstm", "resnet"] {
            assert_eq!(profile.class_of(&cell(model), &spec(0.0)).name, "default");
        }
        let profile = read(
            "time = '10'\n[classes.first]\nwhere = { model = 'lstm' }\n[classes.second]\nwhere = { model = ['lstm'] }\n\
             [classes.never]\nwhere = { model = 'lstm', optimizer.sgd.momentum = 0.9 }\n[classes.rest]\nwhere = { seed = 0 }\n",
        )
        .unwrap();
        let warnings: Vec<String> = profile.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "s.toml:4:10: class `second` takes no run: earlier classes take those that meet its conditions",
                "s.toml:6:10: class `never` takes no run: none meets all of its conditions",
            ]
        );
        let wrong = read("time = '10'\n[classes.big]\nwhere = { modle = 'resnet' }\n").unwrap_err();
        assert!(wrong.to_string().contains("did you mean `model`?"), "{wrong}");
    }

    #[test]
    fn every_mistake_has_its_line() {
        let text = "partion = 'gpu'\ntime = '1'\naccount = 'a b'\nmemory = '16GB'\ncpus = 0\n\
                    extra = ['--array=0-3', 'constraint=x']\nmodules = [\"a\\nb\"]\nthrottle = 'two'\n\
                    [classes.big]\nwhere = { modle = 'resnet', model = ['resent'] }\n[classes.default]\n\
                    [classes.report]\nwhere = { model = 'resnet' }\n";
        let mistakes: Vec<String> = read(text).unwrap_err().iter().map(ToString::to_string).collect();
        for expected in [
            "s.toml:1:1: unknown key `partion`; did you mean `partition`?",
            "s.toml:2:8: runs would be asked to save 120 s before a limit of 60 s",
            "s.toml:3:11: `account` is \"a b\": expected one word",
            "s.toml:4:10: \"16GB\" is not an amount of memory",
            "s.toml:5:8: `cpus` is 0: expected at least 1",
            "s.toml:6:10: `--array` is set for every job",
            "s.toml:6:25: \"constraint=x\" is not an option; write \"--constraint=x\"",
            "s.toml:7:12: \"a\\nb\": expected one word",
            "s.toml:8:12: expected an integer for `throttle`, found a string",
            "s.toml:10:11: `modle` is not an axis of this grid; did you mean `model`?",
            "s.toml:10:38: no cell has `model` = `resent`; did you mean `resnet`?",
            "s.toml:11:10: `default` is not a valid name of a class",
            "s.toml:11:1: `where` is missing",
            "s.toml:12:10: `report` is not a valid name of a class",
        ] {
            assert!(mistakes.iter().any(|line| line.starts_with(expected)), "{expected}\n{mistakes:#?}");
        }
        assert_eq!(mistakes.len(), 14, "{mistakes:#?}");
        assert!(read("").unwrap_err().to_string().contains("empty"));
        assert!(read("time = ").unwrap_err().to_string().contains("invalid TOML"));
        assert!(read("cpus = 1").unwrap_err().to_string().contains("`time` is missing"));
    }
}
