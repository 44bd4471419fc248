//! Checks of arguments. An operator runs them before it chooses an implementation, so all implementations return the
//! same errors.
//!
//! Shapes, types and devices are always checked. Values are checked on the host only, because reading them from a GPU
//! would wait for the device.

use candle_core::{DType, DeviceLocation, Result, Tensor, bail};

/// Rejects a tensor of another rank than `N`; `form` shows the expected dimensions.
pub(crate) fn dims<const N: usize>(name: &str, what: &str, x: &Tensor, form: &str) -> Result<[usize; N]> {
    match <[usize; N]>::try_from(x.dims()) {
        Ok(dims) => Ok(dims),
        Err(_) => bail!("{name}: {what} of shape {:?}, expected {form}", x.shape()),
    }
}

/// Rejects types that are not floats, and arguments of another type or on another device than the first.
pub(crate) fn floats<'a>(
    name: &str,
    arguments: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> Result<()> {
    let mut first = None;
    for (what, x) in arguments {
        let dtype = x.dtype();
        if !matches!(dtype, DType::F32 | DType::F64 | DType::BF16 | DType::F16) {
            bail!("{name}: {what} of type {}, expected f32, f64, bf16 or f16", dtype.as_str());
        }
        let (other, like) = *first.get_or_insert((what, x));
        if dtype != like.dtype() {
            let (dtype, expected) = (dtype.as_str(), like.dtype().as_str());
            bail!(
                "{name}: {what} of type {dtype}, expected {expected} as {other}; convert one with `to_dtype`"
            );
        }
        beside(name, (what, x), (other, like))?;
    }
    Ok(())
}

/// Rejects arguments on different devices.
pub(crate) fn beside(name: &str, (what, x): (&str, &Tensor), (other, like): (&str, &Tensor)) -> Result<()> {
    if !x.device().same_device(like.device()) {
        let (here, there) = (device(x), device(like));
        bail!("{name}: {what} on {here}, expected {there} as {other}; move one with `to_device`");
    }
    Ok(())
}

/// A tensor's device, as the command line names it.
fn device(x: &Tensor) -> String {
    match x.device().location() {
        DeviceLocation::Cpu => "cpu".to_owned(),
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}

/// Rejects indices of another type than u8, u32 and i64; on the host also indices that are not below `count`. Returns
/// the indices if it has read them.
pub(crate) fn indices(name: &str, what: &str, x: &Tensor, count: usize) -> Result<Option<Vec<u32>>> {
    let dtype = x.dtype();
    if !matches!(dtype, DType::U8 | DType::U32 | DType::I64) {
        bail!("{name}: {what} of type {}, expected u8, u32 or i64", dtype.as_str());
    }
    if !x.device().is_cpu() {
        return Ok(None);
    }
    let flat = x.detach().flatten_all()?;
    let found = match dtype {
        DType::U8 => flat.to_vec1::<u8>()?.into_iter().map(u32::from).collect(),
        DType::U32 => flat.to_vec1::<u32>()?,
        _ => {
            let all = flat.to_vec1::<i64>()?;
            let known = |index: &i64| usize::try_from(*index).is_ok_and(|index| index < count);
            if let Some(at) = all.iter().position(|index| !known(index)) {
                return outside(name, what, all[at], (x, at), count);
            }
            all.into_iter().map(|index| index as u32).collect()
        }
    };
    match found.iter().position(|index| *index as usize >= count) {
        Some(at) => outside(name, what, i64::from(found[at]), (x, at), count),
        None => Ok(Some(found)),
    }
}

fn outside<T>(name: &str, what: &str, index: i64, (x, at): (&Tensor, usize), count: usize) -> Result<T> {
    let place = place(x, at);
    match count.checked_sub(1) {
        Some(last) => bail!("{name}: {index} in {what} at {place:?}, expected 0 to {last}"),
        None => bail!("{name}: {index} in {what} at {place:?}, but no index is valid"),
    }
}

/// The index of the element `at` of the flattened tensor.
fn place(x: &Tensor, mut at: usize) -> Vec<usize> {
    let mut place: Vec<usize> = Vec::with_capacity(x.rank());
    for size in x.dims().iter().rev() {
        place.push(at % size);
        at /= size;
    }
    place.reverse();
    place
}

/// Rejects a mask of another shape than `(b, l)` or on another device than `like`; on the host also values other than 0
/// and 1. Returns the values if it has read them.
pub(crate) fn mask(
    name: &str,
    mask: &Tensor,
    (b, l): (usize, usize),
    like: (&str, &Tensor),
) -> Result<Option<Vec<f32>>> {
    if mask.dims() != [b, l] {
        bail!("{name}: mask of shape {:?}, expected {:?}", mask.shape(), [b, l]);
    }
    beside(name, ("mask", mask), like)?;
    if !mask.device().is_cpu() {
        return Ok(None);
    }
    let values = mask.detach().to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    match values.iter().position(|value| *value != 0.0 && *value != 1.0) {
        Some(at) => bail!("{name}: {} in mask at {:?}, expected 0 or 1", values[at], place(mask, at)),
        None => Ok(Some(values)),
    }
}

/// Rejects an eps that is not a normal number as an f32; `usual` is an example of a valid one.
pub(crate) fn eps(name: &str, eps: f64, usual: &str) -> Result<()> {
    if (f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX)).contains(&eps) {
        return Ok(());
    }
    bail!("{name}: eps is {eps:?}, expected a finite number above 0 such as {usual}")
}

/// Rejects a number outside [0, 1].
pub(crate) fn share(name: &str, what: &str, x: f64) -> Result<()> {
    if (0.0..=1.0).contains(&x) { Ok(()) } else { bail!("{name}: {what} is {x:?}, expected 0 to 1") }
}

/// Rejects a number outside [0, 1).
pub(crate) fn below_one(name: &str, what: &str, x: f64) -> Result<()> {
    if (0.0..1.0).contains(&x) {
        Ok(())
    } else {
        bail!("{name}: {what} is {x:?}, expected 0 or more and below 1")
    }
}

/// Rejects negative numbers, infinity and NaN.
pub(crate) fn not_negative(name: &str, what: &str, x: f64) -> Result<()> {
    if x >= 0.0 && x.is_finite() {
        Ok(())
    } else {
        bail!("{name}: {what} is {x:?}, expected a finite number of 0 or more")
    }
}
