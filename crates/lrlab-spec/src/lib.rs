//! Reads experiment files, reports all mistakes with their positions, and expands files to fully resolved run specifications.
//!
//! An experiment file is TOML. [`read`] reports **all** mistakes at once, each with `file:line:column`, a caret and, if
//! available, a suggestion. Otherwise it returns an [`Experiment`], whose [cells](Experiment::cells) are expanded in a fixed
//! order and resolved to [`RunSpec`]s without omitted values. [`canonical`] and [`run_id`] derive the identity of a run,
//! [`schema`] is the JSON schema for editors, and [`Experiment::explain`] shows the origin of every value.
//!
//! ```
//! let text = r#"
//! name = "first"                        # [a-z0-9-]+, names the folder
//! description = "Does a cosine help?"
//!
//! [axes]                                # the grid: their product in this order, the last fastest
//! model = ["resnet", "lstm"]            # names under [models]
//! schedule = ["static", "cosine"]       # names under [schedules]
//! monitor = ["off", "on"]               # `off` is built in; without this axis every run is off
//! epochs = [10, 20]                     # any single value of a run may be an axis: lr, batch_size, optimizer.sgd.momentum, …
//! seed = [0, 1, 2]
//!
//! [defaults]                            # any key of a run; lr, epochs, batch_size and optimizer are required
//! batch_size = 64
//! label_smoothing = 0.1
//! early_stopping = "off"                # `"off"` unsets an optional key
//!
//! [models.resnet]                       # a network, its data, and its overrides of the defaults
//! network = { resnet = { depth = 20 } }
//! data = "cifar10"
//! [models.resnet.set]
//! lr = 0.1
//! optimizer = { sgd = { momentum = 0.9 } }
//!
//! [models.lstm]
//! network = { lstm = { hidden = 128 } }
//! data = "reviews"
//! set = { lr = 0.001, optimizer = { adam = {} }, clip_norm = 1.0 }
//!
//! [data.cifar10]
//! source = { cifar10 = {} }             # or imdb, hub_pictures, hub_texts, synthetic_pictures, …, custom
//! augment = { crop_padding = 4, flip = true }
//!
//! [data.reviews]
//! source = { synthetic_reviews = {} }
//! tokens = { max_length = 40 }
//!
//! [schedules.static]
//! static = {}
//!
//! [schedules.cosine]
//! cosine = { t_max = "100%" }           # lengths have a unit: "3 epochs", "200 updates", "30%"
//!
//! [monitors.on]
//! controller = { plateau = { factor = 0.5, patience = 1 } }
//! metric = "val_loss"
//!
//! [[exclude]]                           # keys that may be axes, and `dataset`, each with a value or a list
//! model = "lstm"
//! epochs = 20
//!
//! [[include]]                           # additional cells; omitted axes take all of their values
//! model = "resnet"
//! epochs = 40
//! monitor = "off"
//!
//! [[set]]                               # values of the cells that meet conditions; they are not coordinates
//! where = { model = "resnet", epochs = 40 }
//! clip_norm = 1.0
//!
//! [[claims]]                            # for the report
//! id = "gain"
//! text = "A cosine beats a fixed rate"
//! metric = "final.val_accuracy"         # or best., premium. (best − final), max., min.
//! where = { schedule = "cosine" }
//! compare = ">"                         # against `value`, or against `than` (plus `value`); or value and tolerance
//! than = { schedule = "static" }
//! "#;
//! let experiment = lrlab_spec::read(text, "first.toml", &["axes.seed=[0]".into()], &Default::default())?;
//! assert_eq!(experiment.cells(&[], None)?.len(), 14);
//! let (cell, run) = experiment.cells(&["model=lstm".into(), "schedule=cosine".into()], None)?.remove(0);
//! assert_eq!((cell["monitor"].as_str(), run.lr, run.epochs), (Some("off"), 0.001, 10));
//!
//! let mistakes = lrlab_spec::read(&text.replace("batch_size", "bacth_size"), "first.toml", &[], &Default::default());
//! assert!(mistakes.unwrap_err().to_string().contains("did you mean `batch_size`?"));
//! # Ok::<(), lrlab_spec::Mistakes>(())
//! ```
//!
//! # Precedence
//!
//! Built-in values come first, then `[defaults]`, the data set's table, the model's `set`, the axes, and `[[set]]`; later
//! values replace earlier ones. Tables
//! are merged key by key; another variant (`adam` over `sgd`) replaces the table. A key of an axis or a search cannot be in
//! `[[set]]`, nor can a table that would replace it. A value that is replaced in every run is a warning; an
//! override on the command line that is replaced in every run is a mistake. It is also a mistake if an axis, a search or an
//! override sets a key that has no effect in its runs: `lr` with a `one_cycle` that has its own `max_lr`, or `decay_all` without weight decay.
//!
//! The built-in values are `accumulate = 1`, `label_smoothing = 0`, `lr_min = 0`, `precision = "f32"`, `select = "val_accuracy"`, `data.split_seed = 0`, no
//! limits, no augmentation, no clipping, no ceiling, no early stopping, no averaging, no divergence guard, `keep_top = 0`, no
//! monitor, and the defaults that the types of a
//! [`RunSpec`] state. `zip = [["lr", "batch_size"]]` at the top makes axes advance together.
//!
//! # Callbacks
//!
//! ```toml
//! averaging = { ema = { decay = 0.999 } }           # or swa = { start = "75%", every = "1 epoch" }, lawa = { k = 5 }
//! divergence = { explosion = 10.0, action = { rewind = { factor = 0.5, limit = 3 } } }   # or cut, "diverge", "stop"
//! early_stopping = { patience = 5, at_restart = "begin_anew" }   # also metric, min_delta, baseline, start_epoch, restore_best
//! keep_top = 3                                      # weights of the three best epochs beside the result's
//! log_every = 50                                    # every 50th update in events.jsonl, updates.csv and TensorBoard
//! ```
//!
//! An average replaces the weights after the last update, with recomputed batch-norm statistics: `final` in the result is that
//! of the average (`averaged = true`), the history is that of the plain weights, and `best` is the average if its `select`
//! metric on the validation split is better than that of every epoch. `every` is a length or `"cycle"`, the end of each of the
//! schedule's cycles; an average that never samples the weights is a mistake. Without `divergence`, a run ends as diverged at
//! a non-finite loss. A monitor accepts `at_restart = "reset"`, which resets its gain in each cycle. `keep_top` does not affect
//! results and is not part of a run's identity, so finished runs are not repeated for it.

mod axes;
mod cell_values;
mod claim_metric;
mod claims;
mod conditions;
mod continuation;
mod coordinate;
mod coupled;
mod definitions;
mod doubts;
mod effect;
mod encoding;
mod expand;
mod experiment;
mod explain;
mod identity;
mod length;
mod mistake;
mod ranges;
mod report;
mod resolve;
mod run_spec;
mod schema;
mod search;
mod select;
mod slurm;
mod suggest;
mod tree;
mod walk;

pub use definitions::{Catalog, Registered};
pub use encoding::decode;
pub use experiment::{Experiment, read};
#[doc(hidden)]
pub use identity::run_id_of;
pub use identity::{NoIdentity, canonical, run_id};
pub use length::{LoneExample, Oversized};
pub use mistake::{Mistake, Mistakes, Severity};
pub use run_spec::*;
pub use schema::schema;
pub use slurm::{SlurmClass, SlurmProfile, SlurmResources};
