//! Helpers of the operators' tests.

use candle_core::{Device, Result, Shape, Tensor, Var};
use lrlab_random::{Purpose, Stream};

/// Standard normal values, the same for the same name.
pub(crate) fn draw(shape: impl Into<Shape>, name: &str) -> Tensor {
    let shape = shape.into();
    let stream = Stream::new(11, Purpose::Synthetic, name);
    let values = (0..shape.elem_count() as u64).map(|i| stream.normal(i) as f32).collect::<Vec<_>>();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Gradients of the sum of `y`.
pub(crate) fn grads_of(y: &Tensor, vars: &[&Var]) -> Result<Vec<Tensor>> {
    let grads = y.sum_all()?.backward()?;
    Ok(vars.iter().map(|v| grads.get(v).expect("a gradient").clone()).collect())
}

/// Asserts equality up to `tolerance` times the largest value expected.
pub(crate) fn assert_close(found: &Tensor, expected: &[f64], tolerance: f64) {
    let found = found.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(*f) - e).abs() <= tolerance * scale, "element {i}: {f}, not {e} (scale {scale})");
    }
}

/// Asserts that the result is an error whose message contains `words`.
#[track_caller]
pub(crate) fn assert_error<T>(words: &str, result: Result<T>) {
    let error = result.map_or_else(|error| error.to_string(), |_| "no error".to_owned());
    assert!(error.contains(words), "{error}");
}

/// The elements as f64.
pub(crate) fn values(x: &Tensor) -> Vec<f64> {
    x.to_dtype(candle_core::DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}
