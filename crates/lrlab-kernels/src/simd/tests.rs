use lrlab_random::{Purpose, Stream};

use super::*;

macro_rules! over {
    ($xs:expr, $s:ident, $v:ident => $body:expr) => {{
        struct Run<'a>(&'a [f32]);
        impl Kernel for Run<'_> {
            type Out = Vec<f32>;
            #[inline(always)]
            fn run<S: Simd>(self, $s: S) -> Vec<f32> {
                let mut out = vec![0.0; self.0.len()];
                for (x, y) in self.0.chunks(LANES).zip(out.chunks_mut(LANES)) {
                    let $v = $s.load_partial(x, 0.0);
                    $s.store_partial(y, $body);
                }
                out
            }
        }
        let xs: &[f32] = $xs;
        let found = dispatch(Run(xs));
        assert_eq!(found, {
            let again = dispatch(Run(xs));
            again
        });
        found
    }};
}

fn close(xs: &[f32], found: &[f32], expected: impl Fn(f64) -> f64, relative: f64, absolute: f64) {
    for (x, y) in xs.iter().zip(found) {
        let e = expected(f64::from(*x));
        let error = (f64::from(*y) - e).abs();
        assert!(error <= relative * e.abs() + absolute, "f({x}) = {y}, not {e}");
    }
}

#[test]
fn elementary_functions_are_accurate() {
    let xs: Vec<f32> = (-2000..=2000).map(|i| i as f32 * 0.0213).collect();
    close(&xs, &over!(&xs, s, v => exp(s, v)), f64::exp, 3e-7, 0.0);
    close(&xs, &over!(&xs, s, v => sigmoid(s, v)), |x| 1.0 / (1.0 + (-x).exp()), 4e-7, 0.0);
    close(&xs, &over!(&xs, s, v => tanh(s, v)), f64::tanh, 4e-7, 0.0);
    let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    close(&xs, &over!(&xs, s, v => erf_parts(s, v).1), density, 1e-5, 1e-30);
    // Φ by Simpson's rule.
    let distribution = |x: f64| {
        let n = 2000;
        let h = x / f64::from(n);
        let weight = |i| {
            if i == 0 || i == n {
                1.0
            } else if i % 2 == 1 {
                4.0
            } else {
                2.0
            }
        };
        0.5 + (0..=n).map(|i| weight(i) * density(f64::from(i) * h)).sum::<f64>() * h / 3.0
    };
    let near: Vec<f32> = (-60..=60).map(|i| i as f32 * 0.1).collect();
    close(&near, &over!(&near, s, v => erf_parts(s, v).0), distribution, 0.0, 2e-7);
}

#[test]
fn emulated_products_are_fused() {
    let stream = Stream::new(1, Purpose::Init, "fused");
    for i in 0..200_000 {
        let [a, b] = [0, 1].map(|k| bits(stream, 3 * i + k, 1, 254));
        // Near the product, so that digits cancel and subnormal results come up, or anywhere.
        let near = -a * b * (1.0 + (stream.bits(3 * i + 2) % 5) as f32 * f32::EPSILON);
        let c = if i % 2 == 0 { near } else { bits(stream, 3 * i + 2, 0, 254) };
        let (found, expected) = (fused::mul_add(a, b, c), a.mul_add(b, c));
        let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
        assert!(same, "{a:e} · {b:e} + {c:e}: {found:e}, not {expected:e}");
    }
    for (a, b, c) in [
        (f32::INFINITY, 0.0, 1.0),
        (f32::INFINITY, 1.0, f32::NEG_INFINITY),
        (f32::MAX, 2.0, f32::NEG_INFINITY),
        (f32::MAX, f32::MAX, -f32::MAX),
        (f32::NAN, 1.0, 1.0),
        (0.0, -1.0, 0.0),
        (-0.0, 1.0, -0.0),
        (f32::MIN_POSITIVE, 0.5, f32::from_bits(1)),
    ] {
        let (found, expected) = (fused::mul_add(a, b, c), a.mul_add(b, c));
        assert!(found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan());
    }
}

#[test]
fn infinite_and_large_arguments() {
    let xs = [-f32::INFINITY, -200.0, 200.0, f32::INFINITY];
    close(&[0.0, 0.0, 1.0, 1.0], &over!(&xs, s, v => sigmoid(s, v)), |y| y, 0.0, 1e-37);
    assert_eq!(over!(&xs, s, v => tanh(s, v)), [-1.0, -1.0, 1.0, 1.0]);
    assert_eq!(over!(&xs[..2], s, v => exp(s, v)), [0.0, 0.0]);
}

#[test]
fn transposed_tiles() {
    struct Run;
    impl Kernel for Run {
        type Out = Vec<f32>;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<f32> {
            let values: Vec<f32> = (0..256).map(|i| i as f32).collect();
            // SAFETY: 16 rows of 16 values.
            let rows = std::array::from_fn(|i| unsafe { s.load(values.as_ptr().add(16 * i)) });
            let mut out = vec![0.0; 256];
            for (row, v) in out.chunks_mut(16).zip(s.transpose(rows)) {
                s.store_partial(row, v);
            }
            out
        }
    }
    for (level, out) in every_level(|| Run) {
        for i in 0..16 {
            for j in 0..16 {
                assert_eq!(out[16 * i + j], (16 * j + i) as f32, "{level}, row {i}, column {j}");
            }
        }
    }
}

/// Random bits with exponents from `low` to `high`.
fn bits(stream: Stream, index: u64, low: u32, high: u32) -> f32 {
    let r = stream.bits(index);
    let exponent = low + (r >> 40) as u32 % (high - low + 1);
    f32::from_bits(r as u32 & 0x807f_ffff | exponent << 23)
}

/// The same bits at every level, with AVX512-BF16 and without; NaN may differ in what they carry.
fn same_at_every_level<K: Kernel<Out = Vec<f32>>>(kernel: impl Fn() -> K) -> Vec<f32> {
    let mut outs = every_level(kernel);
    let (_, first) = outs.remove(0);
    for (level, out) in outs {
        for (i, (a, b)) in first.iter().zip(&out).enumerate() {
            let same = a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
            assert!(same, "{level}, value {i}: {a:e} {:08x}, {b:e} {:08x}", a.to_bits(), b.to_bits());
        }
    }
    first
}

struct Pairs<'a>(&'a [f32]);

impl Kernel for Pairs<'_> {
    type Out = Vec<f32>;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<f32> {
        let mut out = vec![0.0; 2 * self.0.len()];
        for (x, y) in self.0.chunks_exact(2 * LANES).zip(out.chunks_exact_mut(4 * LANES)) {
            let (first, second) = (s.load_partial(&x[..LANES], 0.0), s.load_partial(&x[LANES..], 0.0));
            let halves = [s.pair(first, second), s.pair_neighbours(first, second)];
            for (v, y) in halves.into_iter().zip(y.chunks_exact_mut(2 * LANES)) {
                let mut lanes = [0.0_f32; LANES];
                s.store_partial(&mut lanes, v);
                for (lane, y) in lanes.iter().zip(y.chunks_exact_mut(2)) {
                    y[0] = f32::from_bits(lane.to_bits() << 16);
                    y[1] = f32::from_bits(lane.to_bits() & 0xffff_0000);
                }
            }
        }
        out
    }
}

#[test]
fn rounding_to_bfloat16() {
    let stream = Stream::new(3, Purpose::Synthetic, "bf16");
    let mut xs: Vec<f32> = (0..1 << 15).map(|i| f32::from_bits(stream.bits(i) as u32)).collect();
    // Ties, the largest number, infinity, a NaN that rounding up would lose.
    let special =
        [0x3f80_8000, 0x3f81_8000, 0x7f7f_ffff, 0x7f80_0000, 0xff80_0000, 0x7fff_ffff, 0x7f80_0001, 1];
    xs.splice(..special.len(), special.map(f32::from_bits));
    let found = same_at_every_level(|| Pairs(&xs));
    for (x, y) in xs.chunks_exact(2 * LANES).zip(found.chunks_exact(4 * LANES)) {
        for (i, x) in x.iter().enumerate() {
            // Lane by lane, and as neighbours.
            for y in [y[2 * (i % LANES) + i / LANES], y[2 * LANES + i]] {
                if x.is_nan() {
                    assert!(y.is_nan());
                    continue;
                }
                let expected = if x.is_subnormal() { 0.0 } else { half(*x) };
                assert!(y == expected, "{x:e} became {y:e}, not {expected:e}");
            }
        }
    }
}

/// By what candle rounds with.
fn half(x: f32) -> f32 {
    let x = candle_core::Tensor::new(x, &candle_core::Device::Cpu).unwrap();
    let rounded = x.to_dtype(candle_core::DType::BF16).unwrap().to_dtype(candle_core::DType::F32).unwrap();
    rounded.to_scalar().unwrap()
}

#[test]
fn dot_products_of_pairs() {
    struct Dot<'a>([&'a [f32]; 3]);
    impl Kernel for Dot<'_> {
        type Out = Vec<f32>;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<f32> {
            let [a, b, sums] = self.0;
            let mut out = vec![0.0; sums.len()];
            let operands = a.chunks_exact(LANES).zip(b.chunks_exact(LANES)).zip(sums.chunks_exact(LANES));
            for (((a, b), sum), out) in operands.zip(out.chunks_exact_mut(LANES)) {
                let [a, b, sum] = [a, b, sum].map(|x| s.load_partial(x, 0.0));
                s.store_partial(out, s.dot_pairs(a, b, sum));
            }
            out
        }
    }
    // Exponents of the halves and of the sums: everyday numbers, sums far above and far below their products, results
    // about the smallest normal number, everything there is.
    for (case, (halves, sums)) in
        [((120, 134), (110, 139)), ((110, 120), (130, 150)), ((55, 72), (1, 40)), ((1, 255), (1, 255))]
            .into_iter()
            .enumerate()
    {
        let stream = Stream::new(case as u64, Purpose::Synthetic, "pairs");
        let count = 1 << 14;
        let paired = |from: u64| -> Vec<f32> {
            let half = |i: u64| bits(stream, from + i, halves.0, halves.1).to_bits() >> 16;
            (0..count).map(|i| f32::from_bits(half(2 * i) | half(2 * i + 1) << 16)).collect()
        };
        let (a, b) = (paired(0), paired(1 << 20));
        let c: Vec<f32> = (0..count).map(|i| bits(stream, (1 << 30) + i, sums.0, sums.1)).collect();
        let found = same_at_every_level(|| Dot([&a, &b, &c]));
        for (i, found) in found.iter().enumerate().filter(|_| case < 3) {
            let half = |x: f32, at: u32| f64::from(f32::from_bits(x.to_bits() << (16 * at) & 0xffff_0000));
            let terms = [half(a[i], 1) * half(b[i], 1), half(a[i], 0) * half(b[i], 0), f64::from(c[i])];
            let size = terms.iter().map(|t| t.abs()).sum::<f64>();
            let error = (f64::from(*found) - terms.iter().sum::<f64>()).abs();
            assert!(error <= 1.2e-7 * size + 2.4e-38, "{terms:?}: {found}");
        }
    }
}

/// Every operation but those on pairs, on two vectors, and the functions that are made of them.
struct Operations<'a>(&'a [f32], &'a [f32]);

impl Kernel for Operations<'_> {
    type Out = Vec<f32>;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<f32> {
        let mut out = Vec::new();
        for (a, b) in self.0.chunks_exact(LANES).zip(self.1.chunks_exact(LANES)) {
            let bits = a[0].to_bits() as u16;
            let (a, b) = (s.load_partial(a, 0.0), s.load_partial(b, 0.0));
            let near = |x: S::V| s.max(s.splat(-126.0), s.min(s.splat(127.0), x));
            let (phi, density) = erf_parts(s, a);
            let vectors = [
                s.add(a, b),
                s.sub(a, b),
                s.mul(a, b),
                s.div(a, b),
                s.fma(a, b, s.sub(b, a)),
                s.max(a, b),
                s.min(a, b),
                s.sqrt(s.max(a, s.zero())),
                s.round(a),
                s.power_of_two(s.round(near(b))),
                s.where_greater(a, b, b, s.zero()),
                s.keep(bits, b),
                exp(s, a),
                sigmoid(s, a),
                tanh(s, b),
                phi,
            ];
            let mut lanes = [0.0; LANES];
            for v in s.transpose(vectors).into_iter().chain([density]) {
                s.store_partial(&mut lanes, v);
                out.extend(lanes);
            }
            out.extend([s.sum(a), s.largest(b)]);
            for words in s.draws(u64::from(bits), [1, 2], 1 << 30) {
                out.push(f32::from(words));
            }
        }
        out
    }
}

#[test]
fn every_level_gives_the_same_bits() {
    let stream = Stream::new(7, Purpose::Init, "operations");
    let draw = |salt: u64, low, high| -> Vec<f32> {
        (0..1600).map(|i| bits(stream, 2 * i + salt, low, high)).collect()
    };
    let (a, b) = (draw(0, 100, 150), draw(1, 100, 150));
    same_at_every_level(|| Operations(&a, &b));
    // Where a result is subnormal, infinite or no number too.
    let mut wide = draw(0, 1, 254);
    for (x, special) in wide
        .iter_mut()
        .step_by(17)
        .zip([0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::from_bits(1)].repeat(9))
    {
        *x = special;
    }
    let b = draw(1, 1, 254);
    same_at_every_level(|| Operations(&wide, &b));
}
