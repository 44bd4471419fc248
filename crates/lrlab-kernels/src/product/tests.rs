use candle_core::{DType, Device, Result, Tensor};

use super::*;
use crate::simd::every_level;
use crate::testing::{assert_close, draw, values};

/// Every way to pack, against f64.
fn check(precision: Precision, m: usize, n: usize, k: usize) -> Result<()> {
    let (a, b) = (draw((m, k), "a"), draw((k, n), "b"));
    let exact = |t: &Tensor| match precision {
        Precision::F32 => t.to_dtype(DType::F64),
        Precision::Bf16 => t.to_dtype(DType::BF16)?.to_dtype(DType::F64),
    };
    let expected = values(&exact(&a)?.matmul(&exact(&b)?)?);
    let flat = |t: &Tensor| t.contiguous()?.flatten_all()?.to_vec1::<f32>();
    let (rows, columns) = (flat(&a)?, flat(&a.t()?)?);
    let (by_k, by_n) = (flat(&b)?, flat(&b.t()?)?);
    // In f32 always, in pairs where the product is in bf16: it takes both.
    let packed = |precision: Precision| {
        let mut left = vec![f32::NAN; packed_len(precision, k, m, LANES)];
        pack::<LANES>(precision, &columns, m, k, m, &mut left);
        left
    };
    let lefts = [Precision::F32, precision].map(|precision| (precision, packed(precision)));
    for transposed in [false, true] {
        let mut right = vec![f32::NAN; packed_len(precision, k, n, PANEL)];
        if transposed {
            pack_transposed(precision, &by_n, k, k, n, &mut right);
        } else {
            pack::<PANEL>(precision, &by_k, n, k, n, &mut right);
        }
        let right = Right { data: &right, k, n, precision };
        let mut out = vec![f32::NAN; m * n];
        let mut store = Store::new(RowsMut::new(&mut out, n), None);
        product(m, Left::rows(&rows, k), right, &mut store);
        let found = Tensor::from_vec(out, (m, n), &Device::Cpu)?;
        assert_close(&found, &expected, 2e-6);
        let pitch = n.next_multiple_of(LANES);
        for (precision, left) in &lefts {
            let mut sums = vec![1.0; m * pitch];
            product(m, Left::transposed(left, *precision, k), right, &mut Add::new(&mut sums, pitch));
            let found: Vec<f32> =
                sums.chunks(pitch).flat_map(|row| row[..n].iter().map(|v| v - 1.0)).collect();
            assert_close(&Tensor::from_vec(found, (m, n), &Device::Cpu)?, &expected, 2e-6);
        }
    }
    Ok(())
}

#[test]
fn products_against_f64() -> Result<()> {
    for (m, n, k) in
        [(1, 1, 1), (16, 32, 16), (29, 33, 17), (12, 16, 5), (40, 80, 3), (7, 49, 64), (3, 20, 35)]
    {
        check(Precision::F32, m, n, k)?;
        check(Precision::Bf16, m, n, k)?;
    }
    Ok(())
}

/// Operands of the product that [`every_level_gives_the_same_bits_in_bf16`] runs.
struct Run<'a>(&'a [f32], &'a [f32], [usize; 3]);

impl Kernel for Run<'_> {
    type Out = Vec<u32>;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<u32> {
        let Self(left, right, [rows, n, depth]) = self;
        let mut out = vec![0.0; rows * n];
        let mut store = Store::new(RowsMut::new(&mut out, n), None);
        let left = Left { paired: true, ..Left::rows(left, depth) };
        let right = Right { data: right, k: 2 * depth, n, precision: Precision::Bf16 };
        Product::<_, true> { rows, left, right, depth, finish: &mut store }.run(s);
        out.into_iter().map(f32::to_bits).collect()
    }
}

#[test]
fn every_level_gives_the_same_bits_in_bf16() -> Result<()> {
    let sizes @ [rows, n, depth] = [29, 70, 48];
    let (a, b) = (draw((rows, 2 * depth), "a"), draw((2 * depth, n), "b"));
    let flat = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
    let (a, b) = (flat(&a)?, flat(&b)?);
    // Small enough that products and sums are about the smallest normal number.
    for scale in [1.0, 2e-19] {
        let [a, b] = [&a, &b].map(|x| x.iter().map(|v| v * scale).collect::<Vec<f32>>());
        let mut left = vec![0.0; rows * depth];
        pack::pair_rows(Rows::new(&a, 2 * depth), rows, &mut left);
        let mut right = vec![0.0; packed_len(Precision::Bf16, 2 * depth, n, PANEL)];
        pack::<PANEL>(Precision::Bf16, &b, n, 2 * depth, n, &mut right);
        let outs = every_level(|| Run(&left, &right, sizes));
        for (level, out) in &outs {
            assert!(*out == outs[0].1, "{level} and {}, scale {scale}", outs[0].0);
        }
    }
    Ok(())
}
