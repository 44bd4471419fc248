//! The rate of stochastic weight averaging.

use super::Specification;
use crate::schedules::cosine::share;
use crate::{Anneal, Error, Horizon, Mark, MarkKind, Schedule, SwaSpec, Time, check};

impl Specification for SwaSpec {
    fn check(&self) -> Result<(), Error> {
        check::rate("swa_lr", self.swa_lr)?;
        check::moment("start", self.start)?;
        check::moment("anneal", self.anneal)?;
        self.of.check().map_err(|error| error.under("of"))
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let (start, length) = (self.start.resolve_updates(run), self.anneal.resolve(run));
        let of = self.of.build(run).map_err(|error| error.under("of"))?;
        Ok(Box::new(Swa { start, length, last: self.swa_lr, shape: self.anneal_strategy, run: *run, of }))
    }

    fn reads_base(&self) -> bool {
        self.of.reads_base()
    }
}

#[derive(Debug)]
struct Swa {
    start: u64,
    /// In updates; 0 changes the rate immediately.
    length: f64,
    last: f64,
    shape: Anneal,
    run: Horizon,
    of: Box<dyn Schedule>,
}

impl Schedule for Swa {
    fn lr(&self, base: f64, at: Time) -> f64 {
        if at.update < self.start {
            return self.of.lr(base, at);
        }
        let t = (at.update - self.start) as f64;
        let left = match self.shape {
            Anneal::Cos => share(t, self.length),
            Anneal::Linear if t < self.length => 1.0 - t / self.length,
            Anneal::Linear => 0.0,
        };
        let from = if left == 0.0 { 0.0 } else { self.of.lr(base, self.run.at(self.start)) };
        self.last * (1.0 - left) + from * left
    }

    fn marks(&self) -> Vec<Mark> {
        let mut all: Vec<Mark> =
            self.of.marks().into_iter().filter(|mark| mark.update < self.start).collect();
        all.push(Mark { update: self.start, kind: MarkKind::Milestone });
        all.push(Mark { update: self.start.saturating_add(self.length.ceil() as u64), kind: MarkKind::End });
        all
    }
}
