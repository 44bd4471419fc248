//! Constructors for the conventions of Keras, timm, transformers and Optax where they differ from those of PyTorch. They return
//! specifications, which can be written to experiment files.

use crate::{FloorSpec, ScheduleSpec, Span, WarmupClock, WarmupShape, WarmupSpec};
pub mod keras;
pub mod optax;
pub mod timm;
pub mod transformers;

/// A schedule above a share of the base rate, where there is one.
fn above(at: f64, of: ScheduleSpec) -> ScheduleSpec {
    if at == 0.0 { of } else { FloorSpec { at, of: Box::new(of) }.into() }
}

/// A schedule behind its warm-up, where there is one.
fn warm(over: Span, start_factor: f64, clock: WarmupClock, then: ScheduleSpec) -> ScheduleSpec {
    if over.amount() == 0.0 {
        then
    } else {
        WarmupSpec { over, start_factor, clock, shape: WarmupShape::Linear, then: Box::new(then) }.into()
    }
}
