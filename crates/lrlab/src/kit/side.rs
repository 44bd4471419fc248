//! One side of a comparison: the operands of an operator on a device and in a type, and its results.

use std::cell::{Cell, RefCell};

use candle_core::{DType, Device, Result, Tensor, Var, bail};
use lrlab_kernels::Precision;
use lrlab_random::{Purpose, Stream};

/// The device and the operands of an operator.
pub(super) struct Side {
    pub(super) device: Device,
    pub(super) precision: Precision,
    dtype: DType,
    /// The index of the set of random values.
    draw: u64,
    /// The value that replaces the first element of the first operand.
    injected: Option<f64>,
    /// The number of significant bits that operands are rounded to.
    bits: u32,
    layouts: Layouts,
    /// The number of operands that were created.
    operands: Cell<usize>,
    variables: RefCell<Vec<(String, Var, View)>>,
    states: RefCell<Vec<(String, Var)>>,
    notes: RefCell<Vec<Seen>>,
}

/// The memory layout of operands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Layouts {
    /// Contiguous tensors.
    #[default]
    Plain,
    /// Alternately a slice of a larger tensor and transposed.
    Views,
    /// Alternately transposed and a slice of a larger tensor.
    OtherViews,
}

/// How an operand views a tensor in memory.
#[derive(Debug, Clone, Copy)]
enum View {
    Whole,
    /// The first and the last dimension exchanged.
    Transposed,
    /// All but the first and the last element of the first dimension.
    Part,
}

impl View {
    /// Returns the tensor whose [`View::of`] is `x`.
    fn stored(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Whole => Ok(x.clone()),
            Self::Transposed => x.transpose(0, x.rank() - 1)?.contiguous(),
            Self::Part => {
                let edge = x.narrow(0, 0, 1)?;
                Tensor::cat(&[&edge, x, &edge], 0)
            }
        }
    }

    fn of(self, stored: &Tensor) -> Result<Tensor> {
        match self {
            Self::Whole => Ok(stored.clone()),
            Self::Transposed => stored.transpose(0, stored.rank() - 1),
            Self::Part => stored.narrow(0, 1, stored.dim(0)? - 2),
        }
    }
}

/// The operands of an operator that have a gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of them.
    All,
    /// The parameters, each a variable; the inputs do not depend on variables.
    Parameters,
    /// The inputs; the parameters are frozen.
    Input,
}

impl Wanted {
    /// Returns a suffix for the description of a case.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Parameters => ", input without a gradient",
            Self::Input => ", parameters without a gradient",
        }
    }
}

/// A named result.
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) gradient: bool,
    pub(super) dims: Vec<usize>,
    pub(super) values: Vec<f64>,
}

/// The outputs of an operator. Gradients are those of their sum with random weights.
pub(super) type Outputs = Vec<(&'static str, Tensor)>;

impl Side {
    /// Creates the reference: the operators of candle on the CPU in f64.
    pub(super) fn reference(precision: Precision, draw: u64) -> Self {
        Self::new(Device::Cpu, DType::F64, precision, draw)
    }

    /// Creates the side under test: operators in f32 on a device.
    pub(super) fn on(device: &Device, precision: Precision, draw: u64) -> Self {
        Self::new(device.clone(), DType::F32, precision, draw)
    }

    fn new(device: Device, dtype: DType, precision: Precision, draw: u64) -> Self {
        Self {
            device,
            dtype,
            precision,
            draw,
            injected: None,
            bits: f32::MANTISSA_DIGITS,
            layouts: Layouts::Plain,
            operands: Cell::new(0),
            variables: RefCell::default(),
            states: RefCell::default(),
            notes: RefCell::default(),
        }
    }

    /// Replaces the first element of the first operand.
    pub(super) fn injected(self, value: f64) -> Self {
        Self { injected: Some(value), ..self }
    }

    /// Rounds operands to this many significant bits.
    pub(super) fn rounded(self, bits: u32) -> Self {
        Self { bits, ..self }
    }

    /// Sets the memory layout of operands.
    pub(super) fn laid_out(self, layouts: Layouts) -> Self {
        Self { layouts, ..self }
    }

    /// Returns the layout of the next operand.
    fn view(&self, rank: usize) -> View {
        let turn = self.operands.replace(self.operands.get() + 1).is_multiple_of(2);
        match (self.layouts, rank) {
            (Layouts::Plain, _) | (_, 0) => View::Whole,
            (Layouts::Views, 2..) if !turn => View::Transposed,
            (Layouts::OtherViews, 2..) if turn => View::Transposed,
            _ => View::Part,
        }
    }

    /// Returns the random stream of an operand.
    fn stream(&self, name: &str) -> Stream {
        Stream::new(self.draw, Purpose::Synthetic, name)
    }

    /// Returns f32 values that are equal on every side.
    fn values(&self, name: &str, shape: &[usize], centre: f64, deviation: f64) -> Result<Tensor> {
        let stream = self.stream(name);
        let count = shape.iter().product::<usize>() as u64;
        let value = |i: u64| rounded((centre + deviation * stream.normal(i)) as f32, self.bits);
        Tensor::from_vec((0..count).map(value).collect(), shape, &Device::Cpu)
    }

    fn here(&self, x: &Tensor) -> Result<Tensor> {
        x.to_dtype(self.dtype)?.to_device(&self.device)
    }

    /// Returns normal values with a gradient and this standard deviation.
    pub(super) fn var(&self, name: &str, shape: &[usize], deviation: f64) -> Result<Tensor> {
        self.var_around(name, shape, 0.0, deviation)
    }

    /// Like [`Side::var`], around a centre.
    pub(super) fn var_around(
        &self,
        name: &str,
        shape: &[usize],
        centre: f64,
        deviation: f64,
    ) -> Result<Tensor> {
        let view = self.view(shape.len());
        view.of(self.tracked(name, &self.values(name, shape, centre, deviation)?, view)?.as_tensor())
    }

    /// Like [`Side::var_around`], for operators that take a contiguous variable.
    pub(super) fn parameter(&self, name: &str, shape: &[usize], centre: f64, deviation: f64) -> Result<Var> {
        self.tracked(name, &self.values(name, shape, centre, deviation)?, View::Whole)
    }

    fn tracked(&self, name: &str, x: &Tensor, view: View) -> Result<Var> {
        let x = match self.injected.filter(|_| self.variables.borrow().is_empty()) {
            None => x.clone(),
            Some(value) => {
                let mut values = x.flatten_all()?.to_vec1::<f32>()?;
                if let Some(first) = values.first_mut() {
                    *first = value as f32;
                }
                Tensor::from_vec(values, x.shape(), &Device::Cpu)?
            }
        };
        let var = Var::from_tensor(&self.here(&view.stored(&x)?)?)?;
        self.variables.borrow_mut().push((name.to_owned(), var.clone(), view));
        Ok(var)
    }

    /// Returns normal values without a gradient.
    pub(super) fn data(&self, name: &str, shape: &[usize], deviation: f64) -> Result<Tensor> {
        self.data_around(name, shape, 0.0, deviation)
    }

    /// Like [`Side::data`], around a centre.
    fn data_around(&self, name: &str, shape: &[usize], centre: f64, deviation: f64) -> Result<Tensor> {
        let view = self.view(shape.len());
        view.of(&self.here(&view.stored(&self.values(name, shape, centre, deviation)?)?)?)
    }

    /// Returns a variable, or [`Side::data`].
    pub(super) fn variable_or_data(
        &self,
        variable: bool,
        name: &str,
        shape: &[usize],
        deviation: f64,
    ) -> Result<Tensor> {
        let wanted = if variable { Wanted::Parameters } else { Wanted::Input };
        self.weight(wanted, name, shape, 0.0, deviation)
    }

    /// Returns an input of an operator with parameters.
    pub(super) fn input(
        &self,
        wanted: Wanted,
        name: &str,
        shape: &[usize],
        deviation: f64,
    ) -> Result<Tensor> {
        match wanted {
            Wanted::All | Wanted::Input => self.var(name, shape, deviation),
            Wanted::Parameters => self.data(name, shape, deviation),
        }
    }

    /// Returns a parameter of an operator that takes any tensor.
    pub(super) fn weight(
        &self,
        wanted: Wanted,
        name: &str,
        shape: &[usize],
        centre: f64,
        deviation: f64,
    ) -> Result<Tensor> {
        match wanted {
            Wanted::All => self.var_around(name, shape, centre, deviation),
            Wanted::Parameters => Ok(self.parameter(name, shape, centre, deviation)?.into_inner()),
            Wanted::Input => self.data_around(name, shape, centre, deviation),
        }
    }

    /// Returns positive values that the operator changes and that are compared afterwards.
    pub(super) fn state(&self, name: &str, shape: &[usize]) -> Result<Var> {
        let values = self.values(name, shape, 0.0, 1.0)?;
        self.keep(name, &((values.sqr()? * 0.5)? + 0.5)?)
    }

    /// Returns normal values that the operator changes and that are compared afterwards.
    pub(super) fn signed_state(&self, name: &str, shape: &[usize]) -> Result<Var> {
        self.keep(name, &self.values(name, shape, 0.0, 0.5)?)
    }

    /// Returns zeros that the operator changes and that are compared afterwards.
    pub(super) fn zero_state(&self, name: &str, shape: &[usize]) -> Result<Var> {
        self.keep(name, &Tensor::zeros(shape, DType::F32, &Device::Cpu)?)
    }

    fn keep(&self, name: &str, x: &Tensor) -> Result<Var> {
        let var = Var::from_tensor(&self.here(x)?)?;
        self.states.borrow_mut().push((name.to_owned(), var.clone()));
        Ok(var)
    }

    /// Returns an f32 mask `(lengths, l)`: 1 at tokens, 0 at padding.
    pub(super) fn mask(&self, lengths: &[usize], l: usize) -> Result<Tensor> {
        self.given_mask(lengths.len(), l, |row, t| t < lengths[row])
    }

    /// Returns an f32 mask `(b, l)` with padding before, between and after tokens; the second sequence has no token.
    pub(super) fn mask_with_gaps(&self, b: usize, l: usize) -> Result<Tensor> {
        let stream = self.stream("gaps");
        self.given_mask(b, l, |row, t| match row {
            0 => t % 2 == 1,
            1 => false,
            _ => stream.below((row * l + t) as u64, 2) == 1,
        })
    }

    fn given_mask(&self, b: usize, l: usize, token: impl Fn(usize, usize) -> bool) -> Result<Tensor> {
        let value = |i: usize| f32::from(u8::from(token(i / l, i % l)));
        self.given(&Tensor::from_vec((0..b * l).map(value).collect(), (b, l), &Device::Cpu)?)
    }

    /// Returns integers below `bound`; the first one is 0.
    pub(super) fn ids(&self, name: &str, shape: &[usize], bound: usize) -> Result<Tensor> {
        let stream = self.stream(name);
        let count = shape.iter().product::<usize>() as u64;
        let value = |i: u64| if i == 0 { 0 } else { stream.below(i, bound as u64) as u32 };
        self.given(&Tensor::from_vec((0..count).map(value).collect(), shape, &Device::Cpu)?)
    }

    /// Returns integers below `bound`, nine of ten of which are 0, like padding.
    pub(super) fn ids_with_padding(&self, name: &str, shape: &[usize], bound: usize) -> Result<Tensor> {
        let stream = self.stream(name);
        let count = shape.iter().product::<usize>() as u64;
        let value = |i: u64| match stream.below(2 * i, 10) {
            0 => stream.below(2 * i + 1, bound as u64) as u32,
            _ => 0,
        };
        self.given(&Tensor::from_vec((0..count).map(value).collect(), shape, &Device::Cpu)?)
    }

    /// Returns a tensor on the device, in its own type.
    fn given(&self, x: &Tensor) -> Result<Tensor> {
        let view = self.view(x.rank());
        view.of(&view.stored(x)?.to_device(&self.device)?)
    }

    /// Returns `x (b, l, …)` with NaN where the mask is 0. Gradients pass unchanged.
    pub(super) fn spoiled(&self, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let spoil = mask.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.eq(0.0)?;
        let nan = spoil.ones_like()?.to_dtype(DType::F64)?.affine(f64::NAN, 0.0)?;
        let spoil = spoil.where_cond(&nan, &nan.zeros_like()?)?;
        x.broadcast_add(&self.here(&spoil)?.unsqueeze(2)?)
    }

    /// Records results that are not tensors.
    pub(super) fn note(&self, name: &str, values: Vec<f64>) {
        let seen = Seen { name: name.to_owned(), gradient: false, dims: vec![values.len()], values };
        self.notes.borrow_mut().push(seen);
    }

    /// Records where values are NaN.
    pub(super) fn note_nan(&self, name: &str, x: &Tensor) -> Result<()> {
        let values =
            x.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        self.note(name, values.iter().map(|value| f64::from(u8::from(value.is_nan()))).collect());
        Ok(())
    }

    /// Records whether all values are numbers of bf16, as only results are that are rounded to it.
    pub(super) fn note_rounded(&self, name: &str, x: &Tensor) -> Result<()> {
        let values =
            x.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let rounded = values.iter().all(|value| value.to_bits().trailing_zeros() >= 16);
        self.note(name, vec![f64::from(u8::from(rounded))]);
        Ok(())
    }

    /// Returns all results without gradients.
    pub(super) fn outcome(&self, outputs: &Outputs) -> Result<Vec<Seen>> {
        let mut all = Vec::new();
        for (name, y) in outputs {
            all.push(seen((*name).to_owned(), false, y)?);
        }
        for (name, state) in self.states.borrow().iter() {
            all.push(seen(format!("{name} afterwards"), false, state)?);
        }
        all.append(&mut self.notes.borrow_mut());
        Ok(all)
    }

    /// Returns all results and the gradients of all variables.
    pub(super) fn outcome_and_gradients(&self, outputs: &Outputs) -> Result<Vec<Seen>> {
        let mut all = self.outcome(outputs)?;
        let mut loss: Option<Tensor> = None;
        for (name, y) in outputs {
            let weights = self.here(&self.values(&format!("weights of {name}"), y.dims(), 0.0, 1.0)?)?;
            let part = (y * weights)?.sum_all()?;
            loss = Some(match loss {
                Some(loss) => (loss + part)?,
                None => part,
            });
        }
        let Some(loss) = loss else { return Ok(all) };
        let grads = lrlab_kernels::backward(&loss)?;
        for (name, var, view) in self.variables.borrow().iter() {
            let Some(grad) = grads.get(var) else { bail!("there is no gradient of {name}") };
            all.push(seen(format!("gradient of {name}"), true, &view.of(grad)?)?);
        }
        Ok(all)
    }
}

/// Rounds to the nearest number with this many significant bits.
fn rounded(x: f32, bits: u32) -> f32 {
    match f32::MANTISSA_DIGITS.saturating_sub(bits) {
        0 => x,
        dropped => f32::from_bits((x.to_bits() + (1 << (dropped - 1))) & (u32::MAX << dropped)),
    }
}

fn seen(name: String, gradient: bool, x: &Tensor) -> Result<Seen> {
    let x = x.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    Ok(Seen { name, gradient, dims: x.dims().to_vec(), values: x.flatten_all()?.to_vec1()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded() {
        assert_eq!(rounded(0.1, 24), 0.1);
        for x in [0.1_f32, -3.7, 1e-5, 255.9] {
            let expected = Tensor::new(x, &Device::Cpu).and_then(|x| x.to_dtype(DType::BF16)).unwrap();
            let expected = expected.to_dtype(DType::F32).and_then(|x| x.to_scalar::<f32>()).unwrap();
            assert_eq!(rounded(x, 8), expected);
            assert!((rounded(x, 11) / x - 1.0).abs() < 5e-4);
        }
    }
}
