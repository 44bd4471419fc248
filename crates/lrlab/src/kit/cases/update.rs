//! Updates of parameters: three steps each.

use candle_core::{Result, Tensor, Var, bail};
use lrlab_kernels::{
    AdamStep, SgdStep, Update, adam_update, adam_updates, sgd_update, sgd_updates, squared_norms,
};

use super::dims::joined;
use crate::kit::compare::Case;
use crate::kit::side::{Outputs, Side};

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
    all.extend([0.0, 0.9].map(sgd_of_many));
    all.extend([false, true].map(adam_of_many));
    all.extend([false, true].map(scheduled_sgd));
    all.extend([false, true].map(scheduled_adam));
    all.push(norm_of_many());
    all.push(Case::new("sgd_updates", "a tensor given twice", |side| {
        twice(side, 1, |updates| {
            let (lr, momentum, nesterov, weight_decay) = (0.1, 0.9, false, 0.0);
            sgd_updates(updates, SgdStep { lr, momentum, nesterov, weight_decay, first: true })
        })
    }));
    all.push(Case::new("adam_updates", "a tensor given twice", |side| {
        twice(side, 2, |updates| {
            let (lr, beta1, beta2, eps, weight_decay, decoupled) = (0.1, 0.9, 0.99, 1e-8, 0.0, false);
            adam_updates(updates, AdamStep { lr, beta1, beta2, eps, weight_decay, decoupled, step: 1 })
        })
    }));
    all
}

/// Shapes as in a network: large and small, with more values than a thread block, and of odd sizes.
const MANY: [&[usize]; 6] = [&[64, 33], &[10], &[1], &[17, 3, 3, 3], &[129, 256], &[7]];

/// Updates all of [`MANY`] with `moments`, every second one with a weight decay, which is multiplied by the number of the
/// step if it is `scheduled`.
fn update_many(
    side: &Side,
    moments: &[&str],
    scheduled: bool,
    step: impl Fn(&[Update], u64) -> Result<()>,
) -> Result<()> {
    let mut vars = Vec::new();
    for (i, dims) in MANY.iter().enumerate() {
        let var = side.signed_state(&format!("parameter {i}"), dims)?;
        let of = moments.iter().map(|name| side.zero_state(&format!("{name} {i}"), dims));
        vars.push((var, of.collect::<Result<Vec<_>>>()?));
    }
    for number in 1..=STEPS {
        let gradient =
            |(i, dims): (usize, &&[usize])| side.data(&format!("gradient {number} {i}"), dims, 1.0);
        let grads = MANY.iter().enumerate().map(gradient).collect::<Result<Vec<_>>>()?;
        let mut updates = Vec::new();
        for (i, ((var, moments), grad)) in vars.iter().zip(&grads).enumerate() {
            let factor = if scheduled { number as f64 } else { 1.0 };
            let weight_decay = if i % 2 == 0 { 0.1 * factor } else { 0.0 };
            updates.push(Update { var, grad, moments, weight_decay });
        }
        step(&updates, number)?;
    }
    Ok(())
}

fn sgd_of_many(momentum: f64) -> Case {
    let nesterov = momentum > 0.0;
    let what =
        format!("{} tensors, momentum {momentum}{}", MANY.len(), if nesterov { " (Nesterov)" } else { "" });
    Case::new("sgd_updates", what, move |side| {
        let moments: &[&str] = if nesterov { &["buffer"] } else { &[] };
        update_many(side, moments, false, |updates, number| {
            let step = SgdStep { lr: 0.1, momentum, nesterov, weight_decay: 0.0, first: number == 1 };
            sgd_updates(updates, step)
        })?;
        Ok(Vec::new())
    })
}

/// The momentum starts at 0 and changes with every step, like the weight decay.
fn scheduled_sgd(nesterov: bool) -> Case {
    let what = format!("{} tensors, scheduled{}", MANY.len(), if nesterov { ", Nesterov" } else { "" });
    Case::new("sgd_updates", what, move |side| {
        update_many(side, &["buffer"], true, |updates, number| {
            let momentum = [0.0, 0.5, 0.9][number as usize - 1];
            let step = SgdStep { lr: 0.1, momentum, nesterov, weight_decay: 0.0, first: number == 1 };
            sgd_updates(updates, step)
        })?;
        Ok(Vec::new())
    })
}

fn adam_of_many(decoupled: bool) -> Case {
    let name = if decoupled { "AdamW" } else { "Adam" };
    Case::new("adam_updates", format!("{name} of {} tensors", MANY.len()), move |side| {
        update_many(side, &["first moment", "second moment"], false, |updates, step| {
            let (lr, beta1, beta2, eps, weight_decay) = (0.1, 0.9, 0.99, 1e-8, 0.0);
            adam_updates(updates, AdamStep { lr, beta1, beta2, eps, weight_decay, decoupled, step })
        })?;
        Ok(Vec::new())
    })
}

/// Both β change with every step, like the weight decay.
fn scheduled_adam(decoupled: bool) -> Case {
    let name = if decoupled { "AdamW" } else { "Adam" };
    Case::new("adam_updates", format!("{name} of {} tensors, scheduled", MANY.len()), move |side| {
        update_many(side, &["first moment", "second moment"], true, |updates, step| {
            let at = step as usize - 1;
            let (beta1, beta2) = ([0.95, 0.85, 0.0][at], [0.9, 0.999, 0.99][at]);
            let (lr, eps, weight_decay) = (0.1, 1e-8, 0.0);
            adam_updates(updates, AdamStep { lr, beta1, beta2, eps, weight_decay, decoupled, step })
        })?;
        Ok(Vec::new())
    })
}

/// Two updates of the same parameter or moment are an error that leaves all values unchanged, in any order with a third
/// update.
fn twice(side: &Side, moments: usize, step: impl Fn(&[Update]) -> Result<()>) -> Result<Outputs> {
    const DIMS: &[usize] = &[33, 5];
    let vars = ["a", "b", "c"].map(|name| side.signed_state(name, DIMS));
    let vars = vars.into_iter().collect::<Result<Vec<Var>>>()?;
    let moments_of = |name: &str| -> Result<Vec<Var>> {
        (0..moments).map(|i| side.state(&format!("moment {i} of {name}"), DIMS)).collect()
    };
    let of = [moments_of("a")?, moments_of("b")?, moments_of("c")?];
    let grad: Tensor = side.data("gradient", DIMS, 1.0)?;
    let update = |var: usize, moments| Update { var: &vars[var], grad: &grad, moments, weight_decay: 0.0 };
    let shared: Vec<Var> = of[0].iter().rev().take(1).chain(&of[1][1..]).cloned().collect();
    let mut crossed = of[1].clone();
    crossed[moments - 1] = vars[0].clone();
    for (what, updates) in [
        ("one parameter twice", [update(0, &of[0]), update(1, &of[1]), update(0, &of[2])]),
        ("a moment twice", [update(0, &of[0]), update(2, &of[2]), update(1, &shared)]),
        ("a parameter that is a moment", [update(0, &of[0]), update(1, &crossed), update(2, &of[2])]),
    ] {
        match step(&updates) {
            Err(error) if error.to_string().contains("a tensor is given twice") => {}
            Err(error) => bail!("{what}: {error}"),
            Ok(()) => bail!("{what} did not give an error"),
        }
    }
    Ok(Vec::new())
}

fn norm_of_many() -> Case {
    Case::new("squared_norms", format!("{} tensors", MANY.len()), |side| {
        let tensor = |(i, dims): (usize, &&[usize])| side.data(&format!("x {i}"), dims, 1.0);
        let all = MANY.iter().enumerate().map(tensor).collect::<Result<Vec<_>>>()?;
        side.note("norm", vec![squared_norms(&all.iter().collect::<Vec<_>>())?]);
        Ok(Vec::new())
    })
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
