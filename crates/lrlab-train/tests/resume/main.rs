//! A run that is interrupted between any two updates and continues from its serialised state has the bits of an
//! undisturbed run, with every update rule, every callback and every kind of network.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

mod callbacks;
mod networks;
mod rules;
mod states;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use lrlab_callbacks::Callbacks;
use lrlab_data::{DataConfig, Dataset, Source, SyntheticPictures};
use lrlab_kernels::Params;
use lrlab_models::{Linear, LinearConfig, Model};
use lrlab_optim::OptimizerConfig;
use lrlab_schedulers::ScheduleSpec;
use lrlab_train::{
    CheckpointAction, CheckpointPolicy, Error, Fit, Fitted, Position, Settings, State, Stop, fit_from,
};

type Build<'a> = dyn Fn(&Dataset) -> Box<dyn Model> + 'a;

/// A run that can be built repeatedly.
struct Case<'a> {
    name: String,
    data: &'a Dataset,
    settings: Settings,
    schedule: &'a str,
    optimizer: OptimizerConfig,
    model: &'a Build<'a>,
    callbacks: &'a dyn Fn() -> Callbacks,
}

/// Interrupts at the `place`-th call, from 0, and keeps the serialised state.
struct At {
    place: usize,
    asked: usize,
    kept: Option<(Vec<u8>, Vec<u8>)>,
}

impl At {
    fn new(place: usize) -> Self {
        Self { place, asked: 0, kept: None }
    }
}

impl CheckpointPolicy for At {
    fn check(&mut self, _: &Position) -> CheckpointAction {
        self.asked += 1;
        if self.asked > self.place { CheckpointAction::Interrupt } else { CheckpointAction::Continue }
    }

    fn save(&mut self, state: State) -> Result<(), Error> {
        self.kept = Some(state.write()?);
        Ok(())
    }
}

impl Case<'_> {
    fn run(&self, from: Option<&State>, policy: &mut At) -> Fitted {
        let horizon = Fit::horizon(&self.settings, self.data.train.len());
        let model = (self.model)(self.data);
        let parts = Fit {
            optimizer: lrlab_optim::build(&self.optimizer, model.params()).unwrap(),
            model,
            schedule: ScheduleSpec::parse(self.schedule).unwrap().build(&horizon).unwrap(),
            driver: self.optimizer.driver(&horizon).unwrap(),
            callbacks: (self.callbacks)(),
            data: self.data,
            settings: &self.settings,
            device: &Device::Cpu,
        };
        fit_from(parts, from, policy, &mut |_| {}).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Runs without interruption and compares with one interruption at each place and with interruptions everywhere.
    fn holds(&self) -> Fitted {
        let mut never = At::new(usize::MAX);
        let whole = self.run(None, &mut never);
        for at in 0..never.asked {
            let mut policy = At::new(at);
            let begun = self.run(None, &mut policy);
            assert_eq!(begun.stop, Stop::Interrupted, "{}", self.name);
            let (metadata, tensors) = policy.kept.unwrap();
            let state = State::read(&metadata, &tensors).unwrap();
            let resumed = self.run(Some(&state), &mut At::new(usize::MAX));
            self.same(&whole, &resumed, &format!("interrupted at place {at}"));
        }
        self.same(&whole, &self.everywhere(), "interrupted everywhere");
        whole
    }

    fn everywhere(&self) -> Fitted {
        let mut state: Option<State> = None;
        loop {
            // A continued run calls the policy once before its first update.
            let mut policy = At::new(usize::from(state.is_some()));
            let fitted = self.run(state.as_ref(), &mut policy);
            let Some((metadata, tensors)) = policy.kept else { return fitted };
            state = Some(State::read(&metadata, &tensors).unwrap());
        }
    }

    fn same(&self, a: &Fitted, b: &Fitted, what: &str) {
        let what = format!("{}, {what}", self.name);
        assert_eq!(a.stop, b.stop, "{what}");
        assert_eq!(a.history, b.history, "{what}");
        assert_eq!(a.decisions, b.decisions, "{what}");
        assert_eq!(a.last, b.last, "{what}");
        assert_eq!(a.best, b.best, "{what}");
        assert_eq!(bits(&a.weights), bits(&b.weights), "{what}");
        assert_eq!(bits(&a.last_weights), bits(&b.last_weights), "{what}");
        assert!(a.kept.keys().eq(b.kept.keys()), "{what}");
        for (tag, weights) in &a.kept {
            assert_eq!(bits(weights), bits(&b.kept[tag]), "{what}: {tag}");
        }
        assert_eq!(a.timing.updates_executed, b.timing.updates_executed, "{what}");
    }
}

fn bits(weights: &BTreeMap<String, Tensor>) -> Vec<(&str, Vec<u32>)> {
    let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    weights
        .iter()
        .map(|(name, tensor)| (name.as_str(), flat(tensor).iter().map(|x| x.to_bits()).collect()))
        .collect()
}

fn cache() -> std::path::PathBuf {
    std::env::temp_dir().join("lrlab-train-tests")
}

fn pictures() -> Dataset {
    let pictures = SyntheticPictures { train: 100, test: 20, size: 8, ..SyntheticPictures::default() };
    lrlab_data::load(&DataConfig::new(Source::SyntheticPictures(pictures), cache())).unwrap()
}

fn linear(data: &Dataset) -> Box<dyn Model> {
    let config = LinearConfig { inputs: 3 * 8 * 8, classes: data.classes };
    Box::new(Linear::new(&config, 0, Params::new(Device::Cpu, DType::F32)).unwrap())
}
