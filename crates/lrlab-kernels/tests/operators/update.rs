//! The updates of parameters.

use candle_core::{Result, Var};
use lrlab_kernels::{AdamStep, SgdStep, adam_update, sgd_update};

use crate::harness::{Array, Draw, close, tensor, values};

/// Steps that follow one another.
const STEPS: u64 = 3;

/// Starts with random weights and zero moments, and compares all of it after each step.
fn follow(
    draw: &mut Draw,
    rule: impl Fn(&Var, &candle_core::Tensor, &[Var], u64) -> Result<()>,
    expected: impl Fn(&mut f64, f64, &mut [f64; 2], u64),
) -> Result<()> {
    let dims = [draw.size(1, 40), draw.size(1, 9)];
    let mut weights = draw.normal(&dims, 1.0);
    let mut moments = vec![[0.0; 2]; weights.data.len()];
    let var = Var::from_tensor(&tensor(&weights))?;
    let state = [(); 2].map(|()| Var::from_tensor(&tensor(&Array::zeros(&dims))).unwrap());
    for step in 1..=STEPS {
        let grad = draw.normal(&dims, 1.0);
        // Every other gradient comes as a transpose.
        let given = if step % 2 == 0 { tensor(&grad).t()?.contiguous()?.t()? } else { tensor(&grad) };
        rule(&var, &given, &state, step)?;
        for ((w, g), m) in weights.data.iter_mut().zip(&grad.data).zip(&mut moments) {
            expected(w, *g, m, step);
        }
        close("weights", &values(&var), &weights.data, 1e-5);
        for (i, var) in state.iter().enumerate() {
            let expected: Vec<f64> = moments.iter().map(|m| m[i]).collect();
            close("moment", &values(var), &expected, 1e-5);
        }
    }
    Ok(())
}

#[test]
fn sgd() -> Result<()> {
    let mut draw = Draw::new("sgd");
    for case in 0..12 {
        let (lr, weight_decay) = (0.1, draw.pick(&[0.0, 0.01]));
        let (momentum, nesterov) = draw.pick(&[(0.0, false), (0.9, false), (0.9, true)]);
        let keeps = case % 3 > 0;
        follow(
            &mut draw,
            |var, grad, state, step| {
                let step = SgdStep { lr, momentum, nesterov, weight_decay, first: step == 1 };
                sgd_update(var, grad, keeps.then_some(&state[0]), step)
            },
            |w, g, moments, step| {
                let g = g + weight_decay * *w;
                if !keeps {
                    *w -= lr * g;
                    return;
                }
                moments[0] = if step == 1 { g } else { momentum * moments[0] + g };
                *w -= lr * if nesterov { g + momentum * moments[0] } else { moments[0] };
            },
        )?;
    }
    Ok(())
}

#[test]
fn adam() -> Result<()> {
    let mut draw = Draw::new("adam");
    for decoupled in [false, true] {
        for _ in 0..6 {
            let (lr, beta1, beta2, eps) = (0.01, 0.9, 0.99, 1e-6);
            let weight_decay = draw.pick(&[0.0, 0.1]);
            follow(
                &mut draw,
                |var, grad, state, step| {
                    let step = AdamStep { lr, beta1, beta2, eps, weight_decay, decoupled, step };
                    adam_update(var, grad, &state[0], &state[1], step)
                },
                |w, g, [m, v], step| {
                    let g = if decoupled { g } else { g + weight_decay * *w };
                    if decoupled {
                        *w -= lr * weight_decay * *w;
                    }
                    *m = beta1 * *m + (1.0 - beta1) * g;
                    *v = beta2 * *v + (1.0 - beta2) * g * g;
                    let (m, v) = (*m / (1.0 - beta1.powf(step as f64)), *v / (1.0 - beta2.powf(step as f64)));
                    *w -= lr * m / (v.sqrt() + eps);
                },
            )?;
        }
    }
    Ok(())
}
