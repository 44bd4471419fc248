//! The specifications of combined schedules: [`crate::Compose`] with lengths that have a unit.

use super::{Specification, Stairs};
use crate::{
    ChainedSpec, ClampSpec, Compose, DelaySpec, Error, FloorSpec, Horizon, Mark, MaxSpec, MinSpec, Problem,
    RepeatSpec, ScaleSpec, Schedule, ScheduleSpec, SequentialSpec, Span, StaircaseSpec, SumSpec, Time, check,
};

fn check_all(schedulers: &[ScheduleSpec]) -> Result<(), Error> {
    if schedulers.is_empty() {
        return Err(Error::new("schedulers", Problem::Empty));
    }
    let check = |(i, spec): (usize, &ScheduleSpec)| spec.check().map_err(|error| nth(error, i));
    schedulers.iter().enumerate().try_for_each(check)
}

fn nth(error: Error, i: usize) -> Error {
    error.under(&format!("schedulers.{i}"))
}

type Join = fn(Box<dyn Schedule>, Box<dyn Schedule>) -> Box<dyn Schedule>;

/// Builds all schedules for the same run and joins them from the left.
fn build_all(schedulers: &[ScheduleSpec], run: &Horizon, join: Join) -> Result<Box<dyn Schedule>, Error> {
    let build = |(i, spec): (usize, &ScheduleSpec)| spec.build(run).map_err(|error| nth(error, i));
    let mut built = schedulers.iter().enumerate().map(build);
    let first = built.next().unwrap_or_else(|| Err(Error::new("schedulers", Problem::Empty)))?;
    built.try_fold(first, |before, next| Ok(join(before, next?)))
}

impl Specification for SequentialSpec {
    fn check(&self) -> Result<(), Error> {
        check_all(&self.schedulers)?;
        if self.milestones.len() + 1 != self.schedulers.len() {
            let expected = format!("{}: one fewer than schedulers", self.schedulers.len() - 1);
            let problem = Problem::Length { found: self.milestones.len(), expected };
            return Err(Error::new("milestones", problem));
        }
        let check = |(i, &span): (usize, &Span)| check::length(&format!("milestones.{i}"), span);
        self.milestones.iter().enumerate().try_for_each(check)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let mut starts = vec![0];
        for (i, span) in self.milestones.iter().enumerate() {
            let start = span.resolve_updates(run);
            if start <= starts[i] {
                let previous = if i == 0 { "the start".into() } else { self.milestones[i - 1].to_string() };
                let problem = Problem::NotIncreasing { previous, next: span.to_string() };
                return Err(Error::new(format!("milestones.{i}"), problem));
            }
            starts.push(start);
        }
        let mut after: Option<(u64, Box<dyn Schedule>)> = None;
        for (i, (spec, &start)) in self.schedulers.iter().zip(&starts).enumerate().rev() {
            let end = after.as_ref().map_or(run.updates, |(start, _)| *start).min(run.updates);
            let part = Horizon { updates: end.saturating_sub(start).max(1), ..*run };
            let this = spec.build(&part).map_err(|error| nth(error, i))?;
            let joined: Box<dyn Schedule> = match after {
                Some((next, schedule)) => Box::new(this.then(next - start, schedule)),
                None => this,
            };
            after = Some((start, joined));
        }
        after.map(|(_, schedule)| schedule).ok_or_else(|| Error::new("schedulers", Problem::Empty))
    }

    fn reads_base(&self) -> bool {
        self.schedulers.iter().any(ScheduleSpec::reads_base)
    }
}

impl Specification for ChainedSpec {
    fn check(&self) -> Result<(), Error> {
        check_all(&self.schedulers)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        build_all(&self.schedulers, run, |inner, outer| Box::new(outer.over(inner)))
    }

    fn reads_base(&self) -> bool {
        self.schedulers.iter().all(ScheduleSpec::reads_base)
    }
}

impl Specification for MinSpec {
    fn check(&self) -> Result<(), Error> {
        check_all(&self.schedulers)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        build_all(&self.schedulers, run, |a, b| Box::new(Compose::min(a, b)))
    }

    fn reads_base(&self) -> bool {
        self.schedulers.iter().any(ScheduleSpec::reads_base)
    }
}

impl Specification for MaxSpec {
    fn check(&self) -> Result<(), Error> {
        check_all(&self.schedulers)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        build_all(&self.schedulers, run, |a, b| Box::new(Compose::max(a, b)))
    }

    fn reads_base(&self) -> bool {
        self.schedulers.iter().any(ScheduleSpec::reads_base)
    }
}

impl Specification for SumSpec {
    fn check(&self) -> Result<(), Error> {
        check_all(&self.schedulers)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        build_all(&self.schedulers, run, |a, b| Box::new(a.plus(b)))
    }

    fn reads_base(&self) -> bool {
        self.schedulers.iter().any(ScheduleSpec::reads_base)
    }
}

impl Specification for FloorSpec {
    fn check(&self) -> Result<(), Error> {
        check::unit("at", self.at)?;
        self.of.check().map_err(of)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        Ok(Box::new(self.of.build(run).map_err(of)?.above(self.at)))
    }

    fn reads_base(&self) -> bool {
        self.at > 0.0 || self.of.reads_base()
    }
}

impl Specification for ScaleSpec {
    fn check(&self) -> Result<(), Error> {
        check::rate("by", self.by)?;
        self.of.check().map_err(of)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        Ok(Box::new(self.of.build(run).map_err(of)?.scale(self.by)))
    }

    fn reads_base(&self) -> bool {
        self.by != 0.0 && self.of.reads_base()
    }
}

impl Specification for ClampSpec {
    fn check(&self) -> Result<(), Error> {
        check::rate("min", self.min)?;
        if let Some(max) = self.max {
            let accepted = max >= self.min && max <= check::MAX;
            check::range("max", max, accepted, "a number from min to 1e30")?;
        }
        self.of.check().map_err(of)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        Ok(Box::new(self.of.build(run).map_err(of)?.clamp(self.min, self.max.unwrap_or(f64::MAX))))
    }

    fn reads_base(&self) -> bool {
        self.of.reads_base()
    }
}

impl Specification for DelaySpec {
    fn check(&self) -> Result<(), Error> {
        check::moment("by", self.by)?;
        self.of.check().map_err(of)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let by = self.by.resolve_updates(run);
        Ok(Box::new(self.of.build(&run.after(by)).map_err(of)?.delay(by)))
    }

    fn reads_base(&self) -> bool {
        self.of.reads_base()
    }
}

impl Specification for RepeatSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("period", self.period)?;
        check::rate("decay", self.decay)?;
        let limit = self.limit.unwrap_or(1);
        check::range("limit", f64::from(limit), limit >= 1, "at least 1")?;
        self.of.check().map_err(of)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let period = self.period.resolve_updates(run).max(1);
        let inner = self.of.build(&Horizon { updates: period, ..*run }).map_err(of)?;
        let limit = self.limit.map_or(u64::MAX, u64::from);
        Ok(Box::new(inner.repeat(period).decay(self.decay).limit(limit)))
    }

    fn reads_base(&self) -> bool {
        self.of.reads_base()
    }
}

impl Specification for StaircaseSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("step", self.step)?;
        self.of.check().map_err(of)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let steps = Stairs { size: self.step.resolve(run) };
        let of = self.of.build(run).map_err(of)?;
        Ok(Box::new(Staircase { steps, run: *run, of }))
    }

    fn reads_base(&self) -> bool {
        self.of.reads_base()
    }
}

#[derive(Debug)]
struct Staircase {
    steps: Stairs,
    run: Horizon,
    of: Box<dyn Schedule>,
}

impl Staircase {
    /// Returns the first update of the step that contains an update.
    fn floor(&self, update: u64) -> u64 {
        self.steps.start(self.steps.number(update))
    }
}

impl Schedule for Staircase {
    fn lr(&self, base: f64, at: Time) -> f64 {
        self.of.lr(base, self.run.at(self.floor(at.update)))
    }

    fn marks(&self) -> Vec<Mark> {
        // An event within a step takes effect at the next step.
        let delayed = |mark: Mark| {
            let floor = self.floor(mark.update);
            let next = self.steps.start(self.steps.number(mark.update) + 1.0);
            Mark { update: if floor == mark.update { floor } else { next }, ..mark }
        };
        let mut marks: Vec<Mark> = self.of.marks().into_iter().map(delayed).collect();
        marks.dedup();
        marks
    }
}

fn of(error: Error) -> Error {
    error.under("of")
}
