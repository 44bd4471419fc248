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
fn elementary_functions() {
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
fn extremes() {
    let xs = [-f32::INFINITY, -200.0, 200.0, f32::INFINITY];
    close(&[0.0, 0.0, 1.0, 1.0], &over!(&xs, s, v => sigmoid(s, v)), |y| y, 0.0, 1e-37);
    assert_eq!(over!(&xs, s, v => tanh(s, v)), [-1.0, -1.0, 1.0, 1.0]);
    assert_eq!(over!(&xs[..2], s, v => exp(s, v)), [0.0, 0.0]);
}

#[test]
fn transposes() {
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
    let out = dispatch(Run);
    for i in 0..16 {
        for j in 0..16 {
            assert_eq!(out[16 * i + j], (16 * j + i) as f32);
        }
    }
}
