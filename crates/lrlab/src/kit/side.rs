//! One side of a comparison: the same operands on a device and in a type, and what an operator makes of them.

use std::cell::{Cell, RefCell};

use candle_core::{DType, Device, Result, Tensor, Var, bail};
use lrlab_kernels::Precision;
use lrlab_random::{Purpose, Stream};

/// Where an operator runs, and on what.
pub(super) struct Side {
    pub(super) device: Device,
    pub(super) precision: Precision,
    dtype: DType,
    /// Which of several sets of values.
    draw: u64,
    /// Stands in the place of the first operand's first element.
    poked: Option<f64>,
    /// Significant bits that operands are rounded to.
    bits: u32,
    layouts: Layouts,
    /// Operands so far.
    operands: Cell<usize>,
    variables: RefCell<Vec<(String, Var, View)>>,
    states: RefCell<Vec<(String, Var)>>,
    notes: RefCell<Vec<Seen>>,
}

/// How operands lie in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Layouts {
    /// Row after row.
    #[default]
    Plain,
    /// By turns a part of something larger and transposed.
    Views,
    /// By turns transposed and a part of something larger.
    OtherViews,
}

/// What of a tensor in memory is the operand.
#[derive(Debug, Clone, Copy)]
enum View {
    Whole,
    /// First and last dimension exchanged.
    Transposed,
    /// All but the first and last along the first dimension.
    Part,
}

impl View {
    /// What must lie in memory so that [`View::of`] it is `x`.
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

/// Which of an operator's operands have a gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of them.
    All,
    /// Its parameters, each a variable: what it reads is neither a variable nor made of one.
    Parameters,
    /// What it reads: its parameters are frozen.
    Input,
}

impl Wanted {
    /// For the end of a case's words.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Parameters => ", input without a gradient",
            Self::Input => ", parameters without a gradient",
        }
    }
}

/// What came out, under its name.
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) gradient: bool,
    pub(super) dims: Vec<usize>,
    pub(super) values: Vec<f64>,
}

/// An operator's outputs; the gradients are those of their sum under random weights.
pub(super) type Outputs = Vec<(&'static str, Tensor)>;

impl Side {
    /// The reference: candle's operators on the CPU in f64.
    pub(super) fn reference(precision: Precision, draw: u64) -> Self {
        Self::new(Device::Cpu, DType::F64, precision, draw)
    }

    /// What is looked at: this crate's operators in f32.
    pub(super) fn on(device: &Device, precision: Precision, draw: u64) -> Self {
        Self::new(device.clone(), DType::F32, precision, draw)
    }

    fn new(device: Device, dtype: DType, precision: Precision, draw: u64) -> Self {
        Self {
            device,
            dtype,
            precision,
            draw,
            poked: None,
            bits: f32::MANTISSA_DIGITS,
            layouts: Layouts::Plain,
            operands: Cell::new(0),
            variables: RefCell::default(),
            states: RefCell::default(),
            notes: RefCell::default(),
        }
    }

    /// The same with another value in the place of the first operand's first element.
    pub(super) fn poked(self, value: f64) -> Self {
        Self { poked: Some(value), ..self }
    }

    /// The same with operands of so many significant bits.
    pub(super) fn rounded(self, bits: u32) -> Self {
        Self { bits, ..self }
    }

    /// The same with operands that lie in memory in another way.
    pub(super) fn laid_out(self, layouts: Layouts) -> Self {
        Self { layouts, ..self }
    }

    /// How the next operand lies in memory.
    fn view(&self, rank: usize) -> View {
        let turn = self.operands.replace(self.operands.get() + 1).is_multiple_of(2);
        match (self.layouts, rank) {
            (Layouts::Plain, _) | (_, 0) => View::Whole,
            (Layouts::Views, 2..) if !turn => View::Transposed,
            (Layouts::OtherViews, 2..) if turn => View::Transposed,
            _ => View::Part,
        }
    }

    /// The draws of an operand.
    fn stream(&self, name: &str) -> Stream {
        Stream::new(self.draw, Purpose::Synthetic, name)
    }

    /// Values that are the same on every side: each is an f32.
    fn values(&self, name: &str, shape: &[usize], centre: f64, deviation: f64) -> Result<Tensor> {
        let stream = self.stream(name);
        let count = shape.iter().product::<usize>() as u64;
        let value = |i: u64| rounded((centre + deviation * stream.normal(i)) as f32, self.bits);
        Tensor::from_vec((0..count).map(value).collect(), shape, &Device::Cpu)
    }

    fn here(&self, x: &Tensor) -> Result<Tensor> {
        x.to_dtype(self.dtype)?.to_device(&self.device)
    }

    /// Normal values that have a gradient, with this deviation.
    pub(super) fn var(&self, name: &str, shape: &[usize], deviation: f64) -> Result<Tensor> {
        self.var_around(name, shape, 0.0, deviation)
    }

    /// [`Side::var`] around a centre.
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

    /// [`Side::var_around`] for operators that take a variable, which lies row after row.
    pub(super) fn parameter(&self, name: &str, shape: &[usize], centre: f64, deviation: f64) -> Result<Var> {
        self.tracked(name, &self.values(name, shape, centre, deviation)?, View::Whole)
    }

    fn tracked(&self, name: &str, x: &Tensor, view: View) -> Result<Var> {
        let x = match self.poked.filter(|_| self.variables.borrow().is_empty()) {
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

    /// Normal values without a gradient.
    pub(super) fn data(&self, name: &str, shape: &[usize], deviation: f64) -> Result<Tensor> {
        self.data_around(name, shape, 0.0, deviation)
    }

    /// [`Side::data`] around a centre.
    fn data_around(&self, name: &str, shape: &[usize], centre: f64, deviation: f64) -> Result<Tensor> {
        let view = self.view(shape.len());
        view.of(&self.here(&view.stored(&self.values(name, shape, centre, deviation)?)?)?)
    }

    /// A variable itself, or [`Side::data`].
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

    /// What an operator with parameters reads.
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

    /// A parameter of an operator that takes any tensor.
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

    /// Positive values that the operator changes and that are compared afterwards.
    pub(super) fn state(&self, name: &str, shape: &[usize]) -> Result<Var> {
        let values = self.values(name, shape, 0.0, 1.0)?;
        self.keep(name, &((values.sqr()? * 0.5)? + 0.5)?)
    }

    /// Normal values that the operator changes and that are compared afterwards.
    pub(super) fn signed_state(&self, name: &str, shape: &[usize]) -> Result<Var> {
        self.keep(name, &self.values(name, shape, 0.0, 0.5)?)
    }

    /// Zeros that the operator changes and that are compared afterwards.
    pub(super) fn zero_state(&self, name: &str, shape: &[usize]) -> Result<Var> {
        self.keep(name, &Tensor::zeros(shape, DType::F32, &Device::Cpu)?)
    }

    fn keep(&self, name: &str, x: &Tensor) -> Result<Var> {
        let var = Var::from_tensor(&self.here(x)?)?;
        self.states.borrow_mut().push((name.to_owned(), var.clone()));
        Ok(var)
    }

    /// f32 of `(lengths, l)`: 1 at tokens, 0 at the padding after them.
    pub(super) fn mask(&self, lengths: &[usize], l: usize) -> Result<Tensor> {
        let row = |length: &usize| (0..l).map(move |t| f32::from(u8::from(t < *length))).collect::<Vec<_>>();
        self.given(&Tensor::from_vec(
            lengths.iter().flat_map(row).collect(),
            (lengths.len(), l),
            &Device::Cpu,
        )?)
    }

    /// Whole numbers below `bound`, the first of them 0.
    pub(super) fn ids(&self, name: &str, shape: &[usize], bound: usize) -> Result<Tensor> {
        let stream = self.stream(name);
        let count = shape.iter().product::<usize>() as u64;
        let value = |i: u64| if i == 0 { 0 } else { stream.below(i, bound as u64) as u32 };
        self.given(&Tensor::from_vec((0..count).map(value).collect(), shape, &Device::Cpu)?)
    }

    /// Whole numbers below `bound`, nine of ten of them 0, as padding is.
    pub(super) fn ids_with_padding(&self, name: &str, shape: &[usize], bound: usize) -> Result<Tensor> {
        let stream = self.stream(name);
        let count = shape.iter().product::<usize>() as u64;
        let value = |i: u64| match stream.below(2 * i, 10) {
            0 => stream.below(2 * i + 1, bound as u64) as u32,
            _ => 0,
        };
        self.given(&Tensor::from_vec((0..count).map(value).collect(), shape, &Device::Cpu)?)
    }

    /// Of a type of its own.
    fn given(&self, x: &Tensor) -> Result<Tensor> {
        let view = self.view(x.rank());
        view.of(&view.stored(x)?.to_device(&self.device)?)
    }

    /// Figures that are no tensor.
    pub(super) fn note(&self, name: &str, values: Vec<f64>) {
        let seen = Seen { name: name.to_owned(), gradient: false, dims: vec![values.len()], values };
        self.notes.borrow_mut().push(seen);
    }

    /// Everything that came out, without gradients.
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

    /// Everything that came out, and the gradients of all variables.
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

/// To the nearest number of so many significant bits.
fn rounded(x: f32, bits: u32) -> f32 {
    match f32::MANTISSA_DIGITS.saturating_sub(bits) {
        0 => x,
        gone => f32::from_bits((x.to_bits() + (1 << (gone - 1))) & (u32::MAX << gone)),
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
