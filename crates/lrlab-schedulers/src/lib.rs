//! Learning-rate schedules as pure functions of time, and metric-driven controllers.

mod algebra;
mod check;
mod controlled;
mod controller;
mod controllers;
mod error;
mod lambda;
mod schedule;
mod schedules;
mod span;
mod spec;
mod text;
mod time;
pub mod torch;

pub use algebra::{Clamp, Compose, Delay, Max, Min, Over, Repeat, Scale, Then};
pub use controlled::{AnyController, Controlled};
pub use controller::{Controller, Decision, Observation};
pub use controllers::*;
pub use error::{Error, Problem};
pub use lambda::{Factor, Lambda, fixed, lambda, multiplicative};
pub use schedule::{Mark, MarkKind, Schedule};
pub use schedules::*;
pub use span::{Span, SpanError};
pub use spec::{ControllerSpec, ScheduleSpec};
pub use text::{Compat, replay, trace};
pub use time::{Every, Horizon, Time};
