//! The parameter store: named, sorted, with their role.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, Var, bail};
use candle_nn::VarMap;

use crate::Precision;

/// The end of the names of PyTorch's counters of batches, which only an average without a momentum needs.
const BATCHES: &str = "num_batches_tracked";

/// The role of a parameter, which decides whether it is trained and whether weight decay applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Weight matrices, kernels and embeddings: trained, decayed.
    Weight,
    /// Biases, scales and shifts of norms: trained; optimizers apply no weight decay to them by default.
    NoDecay,
    /// Running statistics: not trained, part of checkpoints.
    Buffer,
}

/// One named tensor of a model.
#[derive(Debug, Clone)]
pub struct Param {
    /// The tensor.
    pub var: Var,
    /// Its role.
    pub role: Role,
}

/// A model's parameters and buffers by torch's names, sorted. Cloning shares the tensors.
#[derive(Debug, Clone)]
pub struct Params {
    device: Device,
    dtype: DType,
    precision: Precision,
    entries: BTreeMap<String, Param>,
}

impl Params {
    /// An empty store whose tensors will live on `device` as `dtype`.
    #[must_use]
    pub fn new(device: Device, dtype: DType) -> Self {
        Self { device, dtype, precision: Precision::F32, entries: BTreeMap::new() }
    }

    /// The variables of a `VarMap`, which share their tensors with it: running statistics (`….running_mean`,
    /// `….running_var`) are buffers, other vectors have [`Role::NoDecay`], and the rest are weights.
    ///
    /// Add all variables to the map first: the store does not see later ones.
    ///
    /// # Errors
    /// Returns an error if the map is empty, its variables differ in device or type, or a thread panicked while it held
    /// the map.
    pub fn of_var_map(map: &VarMap) -> Result<Self> {
        let Ok(vars) = map.data().lock() else { bail!("a thread panicked while it held the VarMap") };
        let vars: BTreeMap<_, _> = vars.iter().collect();
        let Some(first) = vars.values().next() else {
            bail!("the VarMap has no variables; build the network before the optimizer")
        };
        let mut params = Self::new(first.device().clone(), first.dtype());
        for (name, var) in vars {
            let role = match name.rsplit('.').next() {
                Some("running_mean" | "running_var") => Role::Buffer,
                _ if var.rank() < 2 => Role::NoDecay,
                _ => Role::Weight,
            };
            params.adopt(name, var.clone(), role)?;
        }
        Ok(params)
    }

    /// The parameters whose names `wanted` accepts; they share their tensors with these.
    #[must_use]
    pub fn subset(&self, wanted: impl Fn(&str) -> bool) -> Self {
        let entries = self.entries.iter().filter(|(name, _)| wanted(name));
        let entries = entries.map(|(name, param)| (name.clone(), param.clone())).collect();
        Self { device: self.device.clone(), entries, ..*self }
    }

    /// Sets the precision of the network's matrix products.
    #[must_use]
    pub fn in_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The precision of the network's matrix products; the tensors themselves have the type [`Params::dtype`].
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Where the tensors live.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Adds a tensor and returns its variable.
    ///
    /// # Errors
    /// Returns an error if the name is taken, or the copy to the device fails.
    pub fn create(&mut self, name: &str, init: &Tensor, role: Role) -> Result<Var> {
        let var = Var::from_tensor(&init.to_device(&self.device)?.to_dtype(self.dtype)?)?;
        self.adopt(name, var.clone(), role)?;
        Ok(var)
    }

    /// Adds a variable that exists already; its tensor is shared.
    ///
    /// # Errors
    /// Returns an error if the name is taken, or the variable has another type or lives on another device than the
    /// store.
    pub fn adopt(&mut self, name: &str, var: Var, role: Role) -> Result<()> {
        if self.entries.contains_key(name) {
            bail!("parameter {name:?} exists already");
        }
        if !var.device().same_device(&self.device) || var.dtype() != self.dtype {
            let (kind, here) = (var.dtype().as_str(), self.dtype.as_str());
            let (at, there) = (var.device().location(), self.device.location());
            bail!("{name:?} is {kind} on {at:?}, the other parameters are {here} on {there:?}");
        }
        self.entries.insert(name.to_owned(), Param { var, role });
        Ok(())
    }

    /// Everything, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Param)> {
        self.entries.iter().map(|(name, param)| (name.as_str(), param))
    }

    /// What is trained, sorted by name.
    pub fn trainable(&self) -> impl Iterator<Item = (&str, &Param)> {
        self.iter().filter(|(_, param)| param.role != Role::Buffer)
    }

    /// The parameter called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.entries.get(name)
    }

    /// Number of trained elements.
    #[must_use]
    pub fn count(&self) -> usize {
        self.trainable().map(|(_, param)| param.var.elem_count()).sum()
    }

    /// A copy of every tensor, for a snapshot.
    ///
    /// # Errors
    /// Returns an error if the copy fails.
    pub fn snapshot(&self) -> Result<BTreeMap<String, Tensor>> {
        self.iter().map(|(name, param)| Ok((name.to_owned(), param.var.as_tensor().copy()?))).collect()
    }

    /// Restores the values of a snapshot, or of the state of the same network in PyTorch, whose counters of batches
    /// (`num_batches_tracked`) are ignored.
    ///
    /// # Errors
    /// Returns an error if a name is missing, unknown, or of another shape; in this case nothing changes.
    pub fn restore(&self, snapshot: &BTreeMap<String, Tensor>) -> Result<()> {
        for (name, param) in self.iter() {
            match snapshot.get(name) {
                None => bail!("the snapshot has no {name:?}"),
                Some(t) if t.shape() != param.var.shape() => {
                    bail!(
                        "{name:?} has the shape {:?} in the snapshot, expected {:?}",
                        t.shape(),
                        param.var.shape()
                    )
                }
                Some(_) => {}
            }
        }
        let unknown = |name: &&String| !self.entries.contains_key(*name) && !name.ends_with(BATCHES);
        if let Some(name) = snapshot.keys().find(unknown) {
            bail!("the snapshot has {name:?}, which is not a parameter of this store");
        }
        for (name, param) in self.iter() {
            param.var.set(&snapshot[name].to_device(&self.device)?.to_dtype(self.dtype)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshot_round_trip() -> Result<()> {
        let mut params = Params::new(Device::Cpu, DType::F32);
        let b = params.create("b", &Tensor::zeros(3, DType::F32, &Device::Cpu)?, Role::NoDecay)?;
        params.create("a", &Tensor::ones((2, 2), DType::F32, &Device::Cpu)?, Role::Weight)?;
        params.create("running_mean", &Tensor::ones(3, DType::F32, &Device::Cpu)?, Role::Buffer)?;
        let again = params.create("a", &Tensor::ones(1, DType::F32, &Device::Cpu)?, Role::Weight);
        crate::testing::assert_error("parameter \"a\" exists already", again);
        assert_eq!(params.iter().map(|(n, _)| n).collect::<Vec<_>>(), ["a", "b", "running_mean"]);
        assert_eq!(params.count(), 7);
        let snapshot = params.snapshot()?;
        b.set(&Tensor::ones(3, DType::F32, &Device::Cpu)?)?;
        params.restore(&snapshot)?;
        assert_eq!(b.to_vec1::<f32>()?, [0.0; 3]);

        // The state of `torch.nn.BatchNorm2d`.
        let mut torch = snapshot;
        torch.insert("bn1.num_batches_tracked".to_owned(), Tensor::new(7_i64, &Device::Cpu)?);
        params.restore(&torch)?;
        torch.insert("bn1.weight".to_owned(), Tensor::new(7_f32, &Device::Cpu)?);
        crate::testing::assert_error("the snapshot has \"bn1.weight\"", params.restore(&torch));
        Ok(())
    }
}
