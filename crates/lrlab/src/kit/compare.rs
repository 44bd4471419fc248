//! Compares an operator's outputs and gradients with the reference.

use candle_core::{Device, Result, bail};
use lrlab_kernels::Precision;

use super::side::{Layouts, Outputs, Seen, Side};
use super::verdict::{Measure, Verdict};

/// The error bound with rounded operands, as a multiple of the effect of rounding on the reference.
const TIMES_ROUNDING: f64 = 4.0;
/// The upper limit of every bound.
const MAX_BOUND: f64 = 0.5;

/// Computes an operator on a side's operands.
type Run = Box<dyn Fn(&Side) -> Result<Outputs>>;

/// An operator on operands of certain shapes.
pub(super) struct Case {
    /// The operator's name.
    pub(super) operator: &'static str,
    /// Shapes and options.
    what: String,
    traits: Traits,
    run: Run,
}

/// The properties that decide the bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties")]
struct Traits {
    /// The operator has a precision.
    mixed: bool,
    /// The operator multiplies matrices, which a GPU may do less accurately.
    products: bool,
    /// The operator has kinks: an error that moves a value across a kink changes its gradient.
    kinks: bool,
    /// Some gradients are sums with cancellation, because a norm is invariant to the scale of its input.
    cancels: bool,
    /// Random numbers decide which outputs are 0, which must agree.
    drops: bool,
}

impl Case {
    pub(super) fn new(
        operator: &'static str,
        what: impl Into<String>,
        run: impl Fn(&Side) -> Result<Outputs> + 'static,
    ) -> Self {
        Self { operator, what: what.into(), traits: Traits::default(), run: Box::new(run) }
    }

    /// Declares that the operator has a precision and multiplies matrices.
    pub(super) fn mixed(mut self) -> Self {
        (self.traits.mixed, self.traits.products) = (true, true);
        self
    }

    /// Declares that the operator multiplies matrices.
    pub(super) fn products(mut self) -> Self {
        self.traits.products = true;
        self
    }

    /// Declares whether the operator has kinks.
    pub(super) fn kinks(mut self, yes: bool) -> Self {
        self.traits.kinks = yes;
        self
    }

    /// Declares that gradients suffer from cancellation.
    pub(super) fn cancels(mut self) -> Self {
        self.traits.cancels = true;
        self
    }

    /// Declares that random zeros occur in the output.
    pub(super) fn drops(mut self) -> Self {
        self.traits.drops = true;
        self
    }

    /// Returns whether the operator supports this precision.
    pub(super) fn supports(&self, precision: Precision) -> bool {
        precision == Precision::F32 || self.traits.mixed
    }

    fn all(&self, side: &Side) -> Result<Vec<Seen>> {
        side.outcome_and_gradients(&(self.run)(side)?)
    }

    fn forward(&self, side: &Side) -> Result<Vec<Seen>> {
        side.outcome(&(self.run)(side)?)
    }

    /// Returns the error bound of each result.
    fn bounds(
        &self,
        expected: &[Seen],
        precision: Precision,
        exactness: Exactness,
        draw: u64,
    ) -> Result<Vec<f64>> {
        // Rounding that moves one of n values across a kink changes its gradient: an error of 1 / √n.
        let across = |seen: &Seen| self.traits.kinks && seen.gradient;
        let floor = |seen: &Seen| match exactness {
            Exactness::Tf32 if self.traits.products && across(seen) => 0.15,
            Exactness::Tf32 if self.traits.products => 5e-3,
            Exactness::F32 | Exactness::Tf32 if self.traits.cancels => 1e-4,
            Exactness::F32 | Exactness::Tf32 => 2e-5,
            Exactness::Bf16 if across(seen) => 0.3,
            Exactness::Bf16 => 2e-2,
        };
        let Some(bits) = exactness.bits().filter(|_| self.traits.products) else {
            return Ok(expected.iter().map(floor).collect());
        };
        // The reference shows the rounding error of sums that cancel.
        let exact = self.all(&Side::reference(Precision::F32, draw))?;
        let rounded = self.all(&Side::reference(precision, draw).rounded(bits))?;
        let bound = |(exact, rounded): (&Seen, &Seen)| {
            (TIMES_ROUNDING * distance(&rounded.values, &exact.values)).clamp(floor(exact), MAX_BOUND)
        };
        Ok(exact.iter().zip(&rounded).map(bound).collect())
    }

    /// Returns the worst measurement over all outputs on `device`.
    fn compare(&self, device: &Device, precision: Precision, draw: u64) -> Result<Measure> {
        let expected = self.all(&Side::reference(precision, draw))?;
        let bounds = self.bounds(&expected, precision, Exactness::of(device, precision), draw)?;
        let mut worst: Option<Measure> = None;
        for layouts in [Layouts::Plain, Layouts::Views, Layouts::OtherViews] {
            let found = self.all(&Side::on(device, precision, draw).laid_out(layouts))?;
            if found.len() != expected.len() {
                bail!("{} results, expected {}", found.len(), expected.len());
            }
            if layouts == Layouts::Plain {
                self.check_determinism(device, precision, draw, &found)?;
            }
            for ((found, expected), bound) in found.iter().zip(&expected).zip(&bounds) {
                let measure = self.measure(found, expected, *bound, layouts)?;
                if worst.as_ref().is_none_or(|worst| measure.worse_than(worst)) {
                    worst = Some(measure);
                }
            }
        }
        worst.map_or_else(|| bail!("the operator has no output"), Ok)
    }

    /// Checks that a second computation gives equal bits; it does not if the order of sums varies.
    fn check_determinism(
        &self,
        device: &Device,
        precision: Precision,
        draw: u64,
        first: &[Seen],
    ) -> Result<()> {
        let bits = |seen: &Seen| seen.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let second = self.all(&Side::on(device, precision, draw))?;
        match first.iter().zip(&second).find(|(a, b)| bits(a) != bits(b)) {
            Some((seen, _)) => bail!("{}: different bits in the second computation", seen.name),
            None => Ok(()),
        }
    }

    fn measure(&self, found: &Seen, expected: &Seen, bound: f64, layouts: Layouts) -> Result<Measure> {
        let name = &expected.name;
        if found.dims != expected.dims {
            bail!("{name} has the shape {:?}, expected {:?}", found.dims, expected.dims);
        }
        let dropped = |seen: &Seen| seen.values.iter().map(|v| *v == 0.0).collect::<Vec<_>>();
        if self.traits.drops && !expected.gradient && dropped(found) != dropped(expected) {
            bail!("{name}: other elements are dropped");
        }
        let views = if layouts == Layouts::Plain { "" } else { ", of views" };
        let of = format!("{name}, {}{views}", self.what);
        Ok(Measure { error: distance(&found.values, &expected.values), bound, of })
    }

    /// Returns whether a NaN propagates like on the CPU; `None` if the CPU does not propagate it.
    ///
    /// The convolutions of the CPU propagate a NaN to pixels that do not depend on it. An output must therefore be NaN if it is NaN
    /// on the CPU and depends on the value in the reference.
    fn propagates_nan(&self, device: &Device) -> Result<Option<bool>> {
        let nan = |side: Side| self.forward(&side.injected(f64::NAN));
        let on_cpu = nan(Side::on(&Device::Cpu, Precision::F32, 0))?;
        let here = nan(Side::on(device, Precision::F32, 0))?;
        let reference = || Side::reference(Precision::F32, 0);
        let plain = self.forward(&reference())?;
        let [up, down] = [1e3, -1e3].map(|value| self.forward(&reference().injected(value)));
        let (up, down) = (up?, down?);
        let (mut wanted, mut missing) = (0, 0);
        for (i, plain) in plain.iter().enumerate() {
            for (at, value) in plain.values.iter().enumerate() {
                let depends = up[i].values[at] != *value || down[i].values[at] != *value;
                if depends && on_cpu[i].values[at].is_nan() {
                    wanted += 1;
                    missing += usize::from(!here[i].values[at].is_nan());
                }
            }
        }
        Ok((wanted > 0).then_some(missing == 0))
    }
}

/// The accuracy of products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exactness {
    F32,
    /// Operands are rounded to eleven significant bits.
    Tf32,
    Bf16,
}

impl Exactness {
    /// Returns the number of significant bits of the operands of a product, if it is below that of f32.
    fn bits(self) -> Option<u32> {
        match self {
            Self::F32 => None,
            Self::Tf32 => Some(11),
            Self::Bf16 => Some(8),
        }
    }

    fn of(device: &Device, precision: Precision) -> Self {
        match precision {
            Precision::Bf16 => Self::Bf16,
            Precision::F32 if tf32(device) => Self::Tf32,
            Precision::F32 => Self::F32,
        }
    }
}

/// Returns whether the environment allows TF32 products on this device.
pub(super) fn tf32(device: &Device) -> bool {
    device.is_cuda() && lrlab_kernels::tf32()
}

/// Returns ‖found − expected‖ / ‖expected‖, or ‖found‖ if ‖expected‖ is 0.
pub(super) fn distance(found: &[f64], expected: &[f64]) -> f64 {
    let length = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let apart = length(&mut found.iter().zip(expected).map(|(f, e)| f - e));
    let whole = length(&mut expected.iter().copied());
    if whole == 0.0 { apart } else { apart / whole }
}

/// Compares the cases of an operator.
pub(super) fn operator(cases: &[Case], precision: Precision, device: &Device) -> Verdict {
    let mut worst: Option<Measure> = None;
    let mut repeated = 0;
    for case in cases {
        let compare = |draw| match case.compare(device, precision, draw) {
            Ok(measure) => Ok(measure),
            Err(error) => Err(format!("{}: {error}", case.what)),
        };
        let mut measure = match compare(0) {
            Ok(measure) => measure,
            Err(words) => return Verdict::failed(words),
        };
        // A rounding error rarely moves a value across a kink; a wrong gradient occurs with any values.
        if !measure.holds() && case.traits.kinks && precision == Precision::F32 {
            repeated += 1;
            measure = match compare(1) {
                Ok(measure) => measure,
                Err(words) => return Verdict::failed(words),
            };
        }
        if worst.as_ref().is_none_or(|worst| measure.worse_than(worst)) {
            worst = Some(measure);
        }
    }
    let Some(worst) = worst else { return Verdict::failed("there are no cases") };
    let count = cases.len();
    let others = if repeated > 0 { format!(", {repeated} with other values") } else { String::new() };
    let cases = if count == 1 { "1 case".to_owned() } else { format!("{count} cases") };
    Verdict::measured(worst, &format!("{cases}{others}"))
}

/// Checks that each operator propagates a NaN.
pub(super) fn nan_propagation(cases: &[Case], device: &Device) -> Verdict {
    let (mut kept, mut lost) = (0, Vec::new());
    for case in cases {
        match case.propagates_nan(device) {
            Ok(Some(true)) => kept += 1,
            Ok(Some(false)) => lost.push(format!("{} ({})", case.operator, case.what)),
            Ok(None) => {}
            Err(error) => return Verdict::failed(format!("{}, {}: {error}", case.operator, case.what)),
        }
    }
    if lost.is_empty() {
        Verdict::passed(format!(
            "propagates wherever it does on the CPU, which is the case in {kept} of {} cases",
            cases.len()
        ))
    } else {
        Verdict::failed(format!("does not propagate in {}", lost.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Tensor};

    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert_eq!(distance(&[3.0, 5.0], &[3.0, 4.0]), 0.2);
        assert_eq!(distance(&[0.0, 0.5], &[0.0, 0.0]), 0.5);
        assert!(distance(&[f64::NAN], &[1.0]).is_nan());
    }

    #[test]
    fn wrong_values_gradients_and_nan_are_found() {
        let judge = |wrong: fn(&Tensor) -> Result<Tensor>| {
            let case = Case::new("relu", "3", move |side| {
                let x = side.var("x", &[3], 1.0)?;
                let reference = x.dtype() == DType::F64;
                Ok(vec![("y", if reference { x.sqr()? } else { wrong(&x)? })])
            });
            operator(&[case], Precision::F32, &Device::Cpu)
        };
        assert!(judge(Tensor::sqr).outcome.passed());
        let half_a_gradient = judge(|x| (x * x.detach())? + 0.0);
        assert!(half_a_gradient.detail.contains("gradient of x"), "{}", half_a_gradient.detail);
        assert!(!half_a_gradient.outcome.passed());
        assert!(!judge(|x| x.sqr()? * 1.001).outcome.passed());
        assert!(!judge(|x| x.sqr()? / 0.0).outcome.passed());
        assert!(!judge(|x| x.sqr()? * f64::NAN).outcome.passed());
    }
}
