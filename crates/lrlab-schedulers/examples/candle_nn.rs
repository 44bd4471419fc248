//! A schedule with an optimizer of candle-nn.
//!
//!     cargo run --release -p lrlab-schedulers --example candle_nn

use candle_core::{DType, Device, Tensor};
use candle_nn::{AdamW, Init, Optimizer, ParamsAdamW, VarBuilder, VarMap};
use lrlab_schedulers::{Horizon, Rates, ScheduleSpec};

/// Fits `y = 2x + 1` by least squares.
pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let map = VarMap::new();
    let vars = VarBuilder::from_varmap(&map, DType::F64, &Device::Cpu);
    let weight = vars.get_with_hints(1, "weight", Init::Const(0.0))?;
    let bias = vars.get_with_hints(1, "bias", Init::Const(0.0))?;
    let x = Tensor::new(&[-1.0f64, -0.5, 0.0, 0.5, 1.0], &Device::Cpu)?;
    let y = ((&x * 2.0)? + 1.0)?;
    let loss = || -> candle_core::Result<Tensor> {
        x.broadcast_mul(&weight)?.broadcast_add(&bias)?.sub(&y)?.sqr()?.mean_all()
    };
    let parameters = map.data().lock().map_err(|_| "poisoned")?.values().cloned().collect();
    let mut optimizer = AdamW::new(parameters, ParamsAdamW { weight_decay: 0.0, ..ParamsAdamW::default() })?;

    let run = Horizon { updates: 200, updates_per_epoch: 20 };
    let schedule = ScheduleSpec::parse("warmup = { over = '1 epoch', then = { cosine = {} } }")?;
    for lr in Rates::new(schedule.build(&run)?, 0.3, run) {
        optimizer.set_learning_rate(lr);
        optimizer.backward_step(&loss()?)?;
    }

    let last = loss()?.to_scalar::<f64>()?;
    eprintln!("loss {last:.3e}, rate of the last update {:.3e}", optimizer.learning_rate());
    if last > 1e-6 {
        return Err(format!("the loss is {last}, expected at most 1e-6").into());
    }
    Ok(())
}
