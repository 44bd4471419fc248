//! Learning-rate schedules as pure functions of time, and metric-driven controllers.

mod controller;
mod schedule;
mod spec;
mod time;

pub use controller::{Controller, Decision, Observation};
pub use schedule::{Mark, MarkKind, Schedule};
pub use spec::{ControllerSpec, ScheduleSpec};
pub use time::{Horizon, Span, Time};
