//! The learning-rate range test on the model, optimizer and data of a run.

use std::sync::Arc;

use lrlab_callbacks::{Callbacks, RangeTest, Session};
use lrlab_runs::Event;

use crate::host::TrainingHost;
use crate::trainer::Trainer;
use crate::{Error, Fit};

/// Trains at the rates that `test` requests, one per update, until the test is complete, the loss diverges, or `stops`
/// returns true after an update. `report` receives the rate and the loss of each update. The sweep reads only the training split
/// and does not call the callbacks of `parts`.
///
/// The test multiplies the rate of the run's schedule by a gain, so a constant schedule is the best choice.
///
/// # Errors
/// Returns an [`Error`] if training fails or the schedule's rate is 0 at some update.
pub fn sweep(
    parts: Fit<'_>,
    test: RangeTest,
    stops: &dyn Fn() -> bool,
    report: &mut dyn FnMut(f64, f64),
) -> Result<RangeTest, Error> {
    parts.settings.check()?;
    let Fit { model, optimizer, schedule, driver, data, settings, device, .. } = parts;
    let horizon = Fit::horizon(settings, data.train.len());
    let mut session = Session::new(Callbacks::default().with(test.clone()), schedule, settings.lr, horizon);
    let trainer = Trainer::new(model, optimizer, Arc::new(driver), data, settings, device)?;
    let mut silent = |_: &Event| {};
    let mut host = TrainingHost::new(trainer, &mut silent);
    session.begin(&mut host)?;
    'sweep: for epoch in 0.. {
        let mut batches = host.trainer.batches(epoch, 0);
        let mut batch = epoch * settings.batches_per_epoch(data.train.len());
        loop {
            let window = host.trainer.next_window(&mut batches)?;
            if window.is_empty() {
                break;
            }
            let lr = session.lr();
            let updated = host.trainer.step(&window, batch, lr)?;
            batch += window.len() as u64;
            report(lr, updated.loss);
            session.end_update(updated.loss, Some(updated.grad_norm), &mut host)?;
            if session.stop_reason().is_some() || stops() {
                break 'sweep;
            }
        }
    }
    Ok(session.callbacks().get::<RangeTest>().cloned().unwrap_or(test))
}
