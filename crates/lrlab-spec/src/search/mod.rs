//! `[search]`: the rules of a search and the trials of every arm.

mod space;
pub(crate) mod spec;
mod trials;

use std::collections::{BTreeMap, BTreeSet};

use lrlab_runs::Search;
use lrlab_schedulers::{Horizon, Span};
use lrlab_search::Space;

use crate::axes::Axis;
use crate::mistake::Log;
use crate::resolve::Resolved;
use crate::schema::definition;
use crate::tree::{Key, Node, Place, Value};
use crate::walk::walk;

use spec::{MethodSpec, SearchSpec, two};
pub(crate) use trials::trials;

/// A valid search.
pub(crate) struct Rules {
    pub(crate) search: Search,
    method: MethodSpec,
    seed: u64,
    spaces: Vec<(Key, Space)>,
    /// The places of the method and of its rungs.
    place: Place,
    rungs: Vec<Place>,
}

/// Reads `[search]`; `None` if it is missing or invalid.
pub(crate) fn read(log: &mut Log, root: &Node, axes: &[Axis]) -> Option<Rules> {
    let node = root.get("search")?;
    if !matches!(node.value, Value::Table(_)) {
        log.error(node.place, format!("expected a table for `search`, found {}", node.kind()), None);
        return None;
    }
    let rest = node.table().iter().filter(|(key, _)| key.name != "space").cloned().collect();
    let rest = Node { value: Value::Table(rest), place: node.place };
    let mut schema = definition("Search").clone();
    schema["required"] = serde_json::json!(["method"]);
    let mut good = walk(log, &rest, &schema, "search");
    let mut spaces = Vec::new();
    match node.get("space") {
        Some(table) if !table.table().is_empty() => {
            good &= space::read(log, table, "", axes, &mut spaces);
        }
        given => {
            let place = given.map_or(node.place, |table| table.place);
            let hint = "name what is searched: space.lr = { log = { min = 1e-3, max = 1.0 } }".to_owned();
            log.error(place, "the search has no space", hint);
            return None;
        }
    }
    if !good {
        return None;
    }
    let spec: SearchSpec = serde_json::from_value(rest.json()).ok()?;
    let planned = axes.iter().find(|axis| axis.name() == "seed").map_or(1, |axis| axis.values.len());
    if spec.seeds > planned {
        let hint = format!("expected 1 … {planned}, the number of seeds in [axes]");
        log.error(node.place_near("seeds"), format!("`search.seeds` is {}", spec.seeds), hint);
        return None;
    }
    let (method, eta) = match &spec.method {
        MethodSpec::Grid(_) => ("grid", two()),
        MethodSpec::Random(_) => ("random", two()),
        MethodSpec::Halving(halving) => ("halving", halving.eta),
    };
    let rungs = node.at("method.halving.rungs").map(Node::list).unwrap_or_default();
    let search = Search {
        method: method.to_owned(),
        keys: spaces.iter().map(|(key, _): &(Key, Space)| key.name.clone()).collect(),
        metric: spec.metric,
        seeds: spec.seeds,
        rungs: BTreeMap::new(),
        eta,
    };
    Some(Rules {
        search,
        seed: spec.seed,
        spaces,
        place: node.place_near("method"),
        rungs: rungs.iter().map(|rung| rung.place).collect(),
        method: spec.method,
    })
}

/// Converts the rungs to epochs for every run length in the grid.
pub(crate) fn rungs(log: &mut Log, rules: &mut Rules, cells: &[Resolved]) {
    let MethodSpec::Halving(halving) = &rules.method else { return };
    let budgets: BTreeSet<u64> = cells.iter().map(|resolved| resolved.spec.epochs).collect();
    for budget in budgets {
        let run = Horizon { updates: budget, updates_per_epoch: 1 };
        let mut before = 0;
        let mut epochs = Vec::new();
        for (span, place) in halving.rungs.iter().zip(&rules.rungs) {
            let at = span.resolve_updates(&run);
            let whole = match span {
                Span::Updates(_) => false,
                Span::Epochs(epochs) => epochs.fract() == 0.0,
                Span::Fraction(_) => true,
            };
            if !whole {
                let hint = "write \"2 epochs\" or \"25%\"".to_owned();
                log.error(*place, format!("\"{span}\": trials are ranked after whole epochs"), hint);
            } else if at <= before || at >= budget {
                let of = if budget == 1 { "epoch" } else { "epochs" };
                let message = if at <= before {
                    format!("\"{span}\" is epoch {at}, and the rung before it is epoch {before}")
                } else {
                    format!("\"{span}\" is epoch {at} of a run of {budget} {of}")
                };
                let room = before + 1 < budget;
                let hint = if room {
                    format!("rungs increase and lie within the run: {} … {}", before + 1, budget - 1)
                } else {
                    "rungs increase and lie within the run".to_owned()
                };
                if !log.has_error_at(*place) {
                    log.error(*place, message, hint);
                }
            } else {
                before = at;
                epochs.push(at);
            }
        }
        rules.search.rungs.insert(budget, epochs);
    }
}
