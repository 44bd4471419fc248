//! A small network in a custom training loop. A killed run continues with the same bits when it is started again.
//!
//!     cargo run --release -p lrlab-optim --example mlp

use candle_core::{DType, Device::Cpu, Tensor};
use candle_nn::{Activation, Module, VarBuilder, VarMap, linear, loss::cross_entropy, seq};
use lrlab_callbacks::{
    Callbacks, Checkpoint, CheckpointConfig, CsvLogger, EarlyStopping, EarlyStoppingConfig, EpochMetrics,
    SaveEvery, Session, TensorBoardLogger, ValidationLossMonitor,
};
use lrlab_optim::{AdamConfig, Group, Groups, OptimizerConfig, VarMapHost};
use lrlab_schedulers::{ControllerSpec, Horizon, ScheduleSpec};

type Outcome = Result<(VarMapHost, Session), Box<dyn std::error::Error>>;

pub(crate) fn train(folder: &std::path::Path, callbacks: Callbacks) -> Outcome {
    let x = (Tensor::arange(0f32, 1024., &Cpu)? * 37.)?.sin()?.reshape((512, 2))?;
    let y = x.get_on_dim(1, 0)?.mul(&x.get_on_dim(1, 1)?)?.gt(0f32)?.to_dtype(DType::U32)?;
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &Cpu);
    let mlp =
        seq().add(linear(2, 64, vb.pp("body"))?).add(Activation::Relu).add(linear(64, 2, vb.pp("head"))?);
    let loss =
        |from, count| cross_entropy(&mlp.forward(&x.narrow(0, from, count)?)?, &y.narrow(0, from, count)?);

    let head = Group { lr_scale: 0.5, weight_decay: Some(0.0), ..Group::default() };
    let adamw = OptimizerConfig::AdamW(AdamConfig::adamw());
    let optimizer = |params: &_| Groups::new(&adamw, params, &[("head.*", head)]);
    let mut host = VarMapHost::new(&map, optimizer)?.in_folder(folder)?;

    let run = Horizon { updates: 40 * 12, updates_per_epoch: 12 };
    let schedule =
        ScheduleSpec::parse("warmup = { over = '2 epochs', then = { cosine = {} } }")?.build(&run)?;
    let plateau = ControllerSpec::parse("plateau = { factor = 0.5, patience = 2 }")?.build()?;
    let callbacks = callbacks
        .with(ValidationLossMonitor::new(plateau, "val_loss")?)
        .with(EarlyStopping::new(EarlyStoppingConfig {
            patience: 8,
            restore_best: true,
            ..Default::default()
        })?)
        .with(Checkpoint::new(CheckpointConfig { top_k: 3, last: None, ..Default::default() })?)
        .with(CsvLogger::new(folder.join("metrics.csv")))
        .with(TensorBoardLogger::new(folder.join("tensorboard")));
    let session = Session::new(callbacks, schedule, 0.01, run);
    let mut session = session.checkpoint_every(SaveEvery::Epochs(1))?;

    session.begin(&mut host)?;
    while !session.is_over() {
        session.begin_epoch(&mut host)?;
        for update in session.epoch_updates() {
            host.update(&mut session, &loss(update as usize % 12 * 32, 32)?)?;
            if session.is_over() {
                break; // A callback may stop the run within an epoch.
            }
        }
        let val_loss = Some(loss(384, 128)?.to_scalar::<f32>()?.into());
        session.end_epoch(EpochMetrics { val_loss, ..Default::default() }, &mut host)?;
    }
    session.end(&mut host)?;
    Ok((host, session))
}

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (_, session) = train(std::path::Path::new("mlp"), Callbacks::default())?;
    eprintln!("{} epochs; the best is in mlp/best.safetensors", session.epoch());
    Ok(())
}
