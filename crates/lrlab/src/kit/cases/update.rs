//! Updates of parameters: three steps each.

use lrlab_kernels::{AdamStep, SgdStep, adam_update, sgd_update};

use super::joined;
use crate::kit::compare::Case;

const SHAPES: [&[usize]; 3] = [&[1], &[33, 65], &[40_001]];
const STEPS: u64 = 3;

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for dims in SHAPES {
        for (momentum, nesterov, weight_decay) in
            [(0.0, false, 0.0), (0.9, false, 0.0), (0.9, false, 0.01), (0.9, true, 0.1)]
        {
            all.extend([false, true].map(|buffer| sgd(dims, momentum, nesterov, weight_decay, buffer)));
        }
    }
    for dims in SHAPES {
        for weight_decay in [0.0, 0.1] {
            all.extend([false, true].map(|decoupled| adam(dims, weight_decay, decoupled)));
        }
    }
    all
}

fn sgd(dims: &'static [usize], momentum: f64, nesterov: bool, weight_decay: f64, buffered: bool) -> Case {
    let what = format!(
        "{}, momentum {momentum}{}, decay {weight_decay}{}",
        joined(dims),
        if nesterov { " (Nesterov)" } else { "" },
        if buffered { "" } else { ", no buffer" }
    );
    Case::new("sgd_update", what, move |side| {
        let var = side.signed_state("parameter", dims)?;
        let buffer = if buffered { Some(side.signed_state("buffer", dims)?) } else { None };
        for i in 0..STEPS {
            let grad = side.data(&format!("gradient {i}"), dims, 1.0)?;
            let step = SgdStep { lr: 0.1, momentum, nesterov, weight_decay, first: i == 0 };
            sgd_update(&var, &grad, buffer.as_ref(), step)?;
        }
        Ok(Vec::new())
    })
}

fn adam(dims: &'static [usize], weight_decay: f64, decoupled: bool) -> Case {
    let name = if decoupled { "AdamW" } else { "Adam" };
    Case::new("adam_update", format!("{name} of {}, decay {weight_decay}", joined(dims)), move |side| {
        let var = side.signed_state("parameter", dims)?;
        let (m, v) = (side.zero_state("first moment", dims)?, side.zero_state("second moment", dims)?);
        for step in 1..=STEPS {
            let grad = side.data(&format!("gradient {step}"), dims, 1.0)?;
            let (lr, beta1, beta2, eps) = (0.1, 0.9, 0.99, 1e-8);
            let step = AdamStep { lr, beta1, beta2, eps, weight_decay, decoupled, step };
            adam_update(&var, &grad, &m, &v, step)?;
        }
        Ok(Vec::new())
    })
}
