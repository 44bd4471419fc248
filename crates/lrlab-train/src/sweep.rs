//! The rate-range test on a run's own model, optimizer and data.

use std::sync::atomic::{AtomicBool, Ordering};

use lrlab_callbacks::{Action, Callback, Context, Moment, Phase, RangeTest};

use crate::trainer::Trainer;
use crate::{Error, Fit, Rate};

/// Trains at the rates that `test` asks for, one after the other, until it has seen enough, the loss diverges, or
/// `interrupt` is raised; `report` hears each update's rate and loss. No split but the training one is looked at, and
/// the callbacks of `parts` stay out of it.
///
/// The run's own schedule is swept by a gain, so it is best a fixed rate.
///
/// # Errors
/// See [`Error`]; a schedule whose rate is 0 somewhere.
pub fn sweep(
    parts: Fit<'_>,
    mut test: RangeTest,
    interrupt: &AtomicBool,
    report: &mut dyn FnMut(f64, f64),
) -> Result<RangeTest, Error> {
    parts.settings.check()?;
    let Fit { model, optimizer, schedule, data, settings, device, .. } = parts;
    let horizon = Fit::horizon(settings, data.train.len());
    let rate = Rate::new(schedule, horizon, settings.lr, 0.0, None);
    let mut trainer = Trainer::new(model, optimizer, rate, data, settings, device)?;
    let mut lr = trainer.rate().at(0);
    tell(&mut trainer, &mut test, Moment::FitStart, lr)?;
    for epoch in 0.. {
        let mut batches = trainer.batches(epoch, 0);
        let mut batch = epoch * settings.batches_per_epoch(data.train.len());
        loop {
            let window = trainer.next_window(&mut batches)?;
            if window.is_empty() {
                break;
            }
            lr = trainer.rate().at(trainer.update);
            let updated = trainer.step(&window, batch, lr)?;
            let (loss, grad_norm) = (updated.loss, Some(updated.grad_norm));
            batch += window.len() as u64;
            report(lr, loss);
            let over = tell(&mut trainer, &mut test, Moment::Update { loss, grad_norm }, lr)?;
            if over || interrupt.load(Ordering::Relaxed) {
                return Ok(test);
            }
        }
    }
    Ok(test)
}

/// Lets the test see a moment; whether it has seen enough.
fn tell(trainer: &mut Trainer<'_>, test: &mut RangeTest, moment: Moment<'_>, lr: f64) -> Result<bool, Error> {
    let horizon = trainer.rate().horizon();
    let context = Context {
        moment,
        update: trainer.update,
        epoch: 0,
        updates: horizon.updates,
        updates_per_epoch: horizon.updates_per_epoch,
        epochs: 0,
        lr,
        schedule_lr: trainer.rate().schedule_at(trainer.update),
        gain: trainer.rate().gain(),
        marks: &[],
        elapsed_s: 0.0,
        history: &[],
        decisions: &[],
    };
    for action in test.on(Phase::Control, &context)? {
        match action {
            Action::SetGain { gain, .. } => trainer.set_gain(test.name(), gain),
            Action::Stop { .. } => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}
