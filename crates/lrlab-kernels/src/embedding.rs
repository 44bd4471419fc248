//! Embedding look-up.

#![allow(unsafe_code, reason = "a gradient is written before it is given a length")]

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::check;
use crate::dropout::{Bits, Dropout, dropout};
use crate::gradient::store_grad;
use crate::host::{self, Unwritten};
use crate::rows::put;
use crate::simd::{Kernel, Simd, dispatch, part, starts};

/// Rows of `table (v, d)` at u8, u32 or i64 `ids (b, l)`: `(b, l, d)`. The table's gradient is dense.
///
/// **In PyTorch**: `torch.nn.functional.embedding(ids, table)`.
///
/// # Errors
/// Returns an error if shapes, types or devices do not fit, something is empty, or an id is not below v. The values of
/// ids on a GPU are not checked: there an id that is not below v reads NaN with this crate's kernel, and is unspecified with
/// candle's operators.
pub fn embedding(ids: &Tensor, table: &Tensor) -> Result<Tensor> {
    let LookUp { shape, ids } = LookUp::new("embedding", ids, table)?;
    let ids = match ids {
        Ids::Seen(ids) if host::is_f32(&[table]) => {
            return table.contiguous()?.apply_op1(Embedding { ids, shape });
        }
        ids => ids.into_tensor(shape)?,
    };
    #[cfg(feature = "cuda")]
    if crate::cuda::is_f32(&[table]) {
        return crate::cuda::embedding(&ids, table);
    }
    table.contiguous()?.index_select(&ids.flatten_all()?, 0)?.reshape(shape)
}

/// A look-up with checked arguments.
pub(crate) struct LookUp {
    /// Batch, length, width.
    pub(crate) shape: (usize, usize, usize),
    pub(crate) ids: Ids,
}

/// The ids of a look-up; ids on the host are valid rows of the table.
pub(crate) enum Ids {
    /// On the host.
    Seen(Vec<u32>),
    /// u32, on the device.
    Unseen(Tensor),
}

impl LookUp {
    pub(crate) fn new(name: &str, ids: &Tensor, table: &Tensor) -> Result<Self> {
        let [b, l] = check::dims(name, "ids", ids, "(b, l)")?;
        let [v, d] = check::dims(name, "table", table, "(v, d)")?;
        if b * l * v * d == 0 {
            bail!("{name}: empty ids {:?} or table {:?}", ids.shape(), table.shape());
        }
        check::floats(name, [("table", table)])?;
        check::beside(name, ("ids", ids), ("table", table))?;
        let ids = match check::indices(name, "ids", ids, v)? {
            Some(ids) => Ids::Seen(ids),
            #[cfg(feature = "cuda")]
            None if crate::cuda::is_f32(&[table]) => Ids::Unseen(crate::cuda::known_indices(ids, v)?),
            None => Ids::Unseen(ids.to_dtype(DType::U32)?),
        };
        Ok(Self { shape: (b, l, d), ids })
    }
}

impl Ids {
    /// u32 `(b, l)`.
    pub(crate) fn into_tensor(self, (b, l, _): (usize, usize, usize)) -> Result<Tensor> {
        match self {
            Self::Seen(ids) => Tensor::from_vec(ids, (b, l), &Device::Cpu),
            Self::Unseen(ids) => Ok(ids),
        }
    }
}

struct Embedding {
    ids: Vec<u32>,
    shape: (usize, usize, usize),
}

/// Rows of the table per task.
const ROWS: usize = 512;

/// The places that read each row of a table: a counting sort of the places by their rows.
pub(crate) struct Readers {
    /// The rows that are read, in ascending order.
    rows: Vec<u32>,
    /// Where the readers of each of `rows` begin in `places`, and the end.
    starts: Vec<u32>,
    /// The places, those of one row in their order.
    places: Vec<u32>,
    /// Per place, the index of its row among `rows`.
    slots: Vec<u32>,
}

impl Readers {
    /// Of `(place, row)`, places in their order, rows below `count`.
    pub(crate) fn new(of: impl Iterator<Item = (u32, u32)> + Clone, count: usize) -> Self {
        let mut slot_of = vec![0_u32; count];
        let mut read = 0;
        let mut last = None;
        for (place, row) in of.clone() {
            slot_of[row as usize] += 1;
            read += 1;
            last = Some(place);
        }
        let (mut rows, mut starts) = (Vec::new(), vec![0]);
        let mut end = 0;
        for (row, readers) in slot_of.iter_mut().enumerate().filter(|(_, readers)| **readers > 0) {
            end += *readers;
            *readers = rows.len() as u32;
            rows.push(row as u32);
            starts.push(end);
        }
        let mut next = starts.clone();
        let mut places = vec![0; read];
        let mut slots = vec![0; last.map_or(0, |last| last as usize + 1)];
        for (place, row) in of {
            let slot = slot_of[row as usize];
            let next = &mut next[slot as usize];
            places[*next as usize] = place;
            slots[place as usize] = slot;
            *next += 1;
        }
        Self { rows, starts, places, slots }
    }

    /// The rows that are read, in ascending order.
    pub(crate) fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The places that read the row with this index among [`Readers::rows`].
    pub(crate) fn of(&self, slot: usize) -> &[u32] {
        &self.places[self.starts[slot] as usize..self.starts[slot + 1] as usize]
    }

    /// The index of the row that a place reads.
    pub(crate) fn slot(&self, place: usize) -> usize {
        self.slots[place] as usize
    }
}

/// The gradient of a table `(v, d)` from that of its rows at `ids`, each row's in their order.
pub(crate) fn table_grad(ids: &[u32], grad: &[f32], (v, d): (usize, usize)) -> Vec<f32> {
    let readers = Readers::new((0..).zip(ids.iter().copied()), v);
    let mut out = Unwritten::new(v * d);
    out.room().par_chunks_mut(ROWS * d).enumerate().for_each(|(part, out)| {
        let first = part * ROWS;
        let mut slot = readers.rows().partition_point(|row| (*row as usize) < first);
        for (i, out) in out.chunks_mut(d).enumerate() {
            if readers.rows().get(slot).is_none_or(|row| *row as usize != first + i) {
                out.fill(MaybeUninit::new(0.0));
                continue;
            }
            let mut grads = readers.of(slot).iter().map(|place| &grad[*place as usize * d..][..d]);
            slot += 1;
            let Some(first) = grads.next() else { continue };
            let out = out.write_copy_of_slice(first);
            for more in grads {
                out.iter_mut().zip(more).for_each(|(o, g)| *o += g);
            }
        }
    });
    // SAFETY: every row was written, for a row that is read has a reader.
    unsafe { out.written() }
}

impl CustomOp1 for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let table = host::slice(table, layout)?;
        let d = self.shape.2;
        let mut out = Vec::with_capacity(self.ids.len() * d);
        for id in &self.ids {
            out.extend_from_slice(&table[*id as usize * d..][..d]);
        }
        Ok((CpuStorage::F32(out), Shape::from(self.shape)))
    }

    fn bwd(&self, table: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let out = host::with(grad, |grad| Ok(table_grad(&self.ids, grad, table.dims2()?)))?;
        Ok(store_grad(table, host::tensor(out, table.shape())?))
    }
}

/// The input of an encoder: rows of `table (v, d)` at u8, u32 or i64 `ids (b, l)` times `gain`, plus
/// `positions (l, d)`, after dropout: `(b, l, d)`.
///
/// # Errors
/// Returns an error where [`embedding`] does, or if the gain is not finite, or the dropout's p is outside [0, 1).
pub fn embedding_at_positions(
    ids: &Tensor,
    table: &Tensor,
    gain: f64,
    positions: &Tensor,
    drop: Option<Dropout>,
) -> Result<Tensor> {
    let name = "embedding_at_positions";
    let LookUp { shape, ids } = LookUp::new(name, ids, table)?;
    let (_, l, d) = shape;
    if positions.dims() != [l, d] {
        bail!("{name}: positions of shape {:?}, expected {:?}", positions.shape(), [l, d]);
    }
    check::floats(name, [("table", table), ("positions", positions)])?;
    if !gain.is_finite() {
        bail!("{name}: gain is {gain:?}, expected a finite number");
    }
    if let Some(drop) = drop {
        drop.check(name)?;
    }
    let ids = match ids {
        Ids::Seen(ids) if host::is_f32(&[table, positions]) => {
            let drop = drop.filter(|drop| drop.p > 0.0);
            let op = AtPositions { ids, shape, gain: gain as f32, drop };
            return table.contiguous()?.apply_op2(&positions.contiguous()?, op);
        }
        ids => ids.into_tensor(shape)?,
    };
    #[cfg(feature = "cuda")]
    if crate::cuda::is_f32(&[table, positions]) {
        return crate::cuda::at_positions(&ids, table, gain, positions, drop);
    }
    let x = embedding(&ids, table)?;
    let x = if gain == 1.0 { x } else { (x * gain)? };
    let x = x.broadcast_add(positions)?;
    match drop {
        Some(drop) => dropout(&x, drop),
        None => Ok(x),
    }
}

struct AtPositions {
    ids: Vec<u32>,
    shape: (usize, usize, usize),
    gain: f32,
    drop: Option<Dropout>,
}

/// A sequence's rows, or their gradients, after dropout.
struct Sequence<'a> {
    drop: Option<(Bits, usize, f32)>,
    from: Source<'a>,
    to: &'a mut [MaybeUninit<f32>],
}

enum Source<'a> {
    Rows { ids: &'a [u32], table: &'a [f32], gain: f32, positions: &'a [f32] },
    Grad(&'a [f32]),
}

impl Kernel for Sequence<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { drop, from, to } = self;
        match from {
            Source::Rows { ids, table, gain, positions } => {
                let d = to.len() / ids.len();
                for ((t, id), place) in ids.iter().enumerate().zip(positions.chunks(d)) {
                    let row = &table[*id as usize * d..][..d];
                    let (place, to) = (&place[..d], &mut to[t * d..][..d]);
                    for at in starts(d) {
                        let v = s.fma(part(s, row, at, 0.0), s.splat(gain), part(s, place, at, 0.0));
                        put(s, &mut to[at..], kept(s, drop.as_ref(), t * d + at, v));
                    }
                }
            }
            Source::Grad(grad) => {
                let grad = &grad[..to.len()];
                for at in starts(to.len()) {
                    let v = kept(s, drop.as_ref(), at, part(s, grad, at, 0.0));
                    put(s, &mut to[at..], v);
                }
            }
        }
    }
}

/// Dropout of sixteen values of a sequence.
#[inline(always)]
fn kept<S: Simd>(s: S, drop: Option<&(Bits, usize, f32)>, at: usize, v: S::V) -> S::V {
    match drop {
        Some((bits, start, gain)) => s.keep(bits.at(start + at), s.mul(v, s.splat(*gain))),
        None => v,
    }
}

impl AtPositions {
    /// The sequence's draws.
    fn draws(&self, sequence: usize) -> Option<(Bits, usize, f32)> {
        let (_, l, d) = self.shape;
        let start = sequence * l * d;
        self.drop.map(|drop| (Bits::draw(drop, start, l * d), start, drop.gain()))
    }

    /// The gradient before dropout.
    fn before(&self, grad: &[f32]) -> Vec<f32> {
        let (_, l, d) = self.shape;
        let mut out = Unwritten::new(grad.len());
        let sequences = out.room().par_chunks_mut(l * d).zip(grad.par_chunks(l * d)).enumerate();
        sequences.for_each(|(i, (out, grad))| {
            dispatch(Sequence { drop: self.draws(i), from: Source::Grad(grad), to: out });
        });
        // SAFETY: every sequence was written.
        unsafe { out.written() }
    }
}

impl CustomOp2 for AtPositions {
    fn name(&self) -> &'static str {
        "embedding_at_positions"
    }

    fn cpu_fwd(
        &self,
        table: &CpuStorage,
        lt: &Layout,
        positions: &CpuStorage,
        lp: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (table, positions) = (host::slice(table, lt)?, host::slice(positions, lp)?);
        let (b, l, d) = self.shape;
        let mut out = Unwritten::new(b * l * d);
        let sequences = out.room().par_chunks_mut(l * d).zip(self.ids.par_chunks(l)).enumerate();
        sequences.for_each(|(i, (out, ids))| {
            let from = Source::Rows { ids, table, gain: self.gain, positions };
            dispatch(Sequence { drop: self.draws(i), from, to: out });
        });
        // SAFETY: every sequence was written.
        Ok((CpuStorage::F32(unsafe { out.written() }), Shape::from(self.shape)))
    }

    fn bwd(
        &self,
        table: &Tensor,
        positions: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (b, l, d) = self.shape;
        let grad = host::with(grad, |grad| Ok(self.before(grad)))?;
        let mut d_positions = vec![0.0_f32; l * d];
        d_positions.par_chunks_mut(d).enumerate().for_each(|(t, to)| {
            for sequence in 0..b {
                let from = &grad[(sequence * l + t) * d..][..d];
                to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
            }
        });
        let mut d_table = table_grad(&self.ids, &grad, table.dims2()?);
        if self.gain != 1.0 {
            d_table.par_iter_mut().for_each(|v| *v *= self.gain);
        }
        let store_grad = |of: &Tensor, data| -> Result<Option<Tensor>> {
            if of.track_op() { Ok(store_grad(of, host::tensor(data, of.shape())?)) } else { Ok(None) }
        };
        Ok((store_grad(table, d_table)?, store_grad(positions, d_positions)?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;
    use lrlab_random::{Purpose, Stream};

    use super::*;
    use crate::testing::{assert_close, assert_error, draw, grads_of, values};

    #[test]
    fn rows_and_gradients_against_f64() -> Result<()> {
        for (b, l, d, gain, p) in [(1, 1, 1, 1.0, 0.0), (3, 7, 5, 2.0, 0.0), (4, 33, 20, 1.0, 0.3)] {
            let ids = Tensor::from_vec(
                (0..b * l).map(|i| (i * 5 % 11) as u32).collect(),
                (b, l),
                &candle_core::Device::Cpu,
            )?;
            let drop = (p > 0.0).then(|| Dropout { p, stream: Stream::new(2, Purpose::Dropout, "e") });
            let results = [DType::F32, DType::F64].map(|dtype| -> Result<Vec<Tensor>> {
                let table = Var::from_tensor(&draw((13, d), "t").to_dtype(dtype)?)?;
                let positions = Var::from_tensor(&draw((l, d), "p").to_dtype(dtype)?)?;
                let y = embedding_at_positions(&ids, &table, gain, &positions, drop)?;
                let weighted = (&y * draw((b, l, d), "r").to_dtype(dtype)?)?;
                let mut out = grads_of(&weighted, &[&table, &positions])?;
                out.push(y);
                Ok(out)
            });
            let [found, expected] = results;
            for (found, expected) in found?.iter().zip(expected?) {
                assert_close(found, &values(&expected), 1e-5);
            }
        }
        let (table, positions) = (draw((3, 4), "t"), draw((2, 4), "p"));
        let run = |ids: &[[u32; 2]; 1], positions: &Tensor| {
            embedding_at_positions(&Tensor::new(ids, table.device())?, &table, 1.0, positions, None)
        };
        assert!(run(&[[0, 2]], &positions).is_ok());
        assert_error("3 in ids at [0, 1], expected 0 to 2", run(&[[0, 3]], &positions));
        assert_error("positions of shape [3, 4], expected [2, 4]", run(&[[0, 2]], &table));
        Ok(())
    }
}
