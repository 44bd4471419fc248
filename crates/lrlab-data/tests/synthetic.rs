//! The difficulty of the synthetic sets: with a static rate, the validation loss of a small network has its minimum in the first
//! half of the run and ends at least 10 % higher, and a linear model is at least ten points less accurate.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "panics fail the test")]

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, loss::cross_entropy};
use lrlab_data::{
    BatchPlan, DataConfig, Dataset, Features, Kind, Order, Source, Split, SyntheticPictures,
    SyntheticReviews, load,
};
use lrlab_random::{Purpose, Stream};

/// A linear layer: weights `(inputs, outputs)`, initialised uniformly within ±√(3 / inputs), and biases, initialised with 0.
struct Layer {
    weight: Var,
    bias: Var,
}

impl Layer {
    fn new(name: &str, inputs: usize, outputs: usize) -> Result<Self> {
        let stream = Stream::new(0, Purpose::Init, name);
        let bound = (3.0 / inputs as f64).sqrt();
        let weights: Vec<f32> =
            (0..inputs * outputs).map(|i| ((2.0 * stream.uniform(i as u64) - 1.0) * bound) as f32).collect();
        Ok(Self {
            weight: Var::from_vec(weights, (inputs, outputs), &Device::Cpu)?,
            bias: Var::zeros(outputs, DType::F32, &Device::Cpu)?,
        })
    }

    /// `(…, inputs)` → `(…, outputs)`
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.broadcast_matmul(self.weight.as_tensor())?.broadcast_add(&self.bias)
    }

    fn vars(&self) -> [Var; 2] {
        [self.weight.clone(), self.bias.clone()]
    }
}

/// A network.
struct Net {
    layers: Vec<Layer>,
    forward: fn(&[Layer], &Features) -> Result<Tensor>,
}

/// Logistic regression on pixels.
fn linear_pictures(layers: &[Layer], features: &Features) -> Result<Tensor> {
    let Features::Pictures(x) = features else { unreachable!() };
    layers[0].forward(&x.flatten_from(1)?)
}

/// 5 × 5 filters with `ReLU`, average pooling to 3 × 3, then two linear layers.
fn filters(layers: &[Layer], features: &Features) -> Result<Tensor> {
    const SIDE: usize = 5;
    let Features::Pictures(x) = features else { unreachable!() };
    let (batch, _, height, width) = x.dims4()?;
    let (rows, columns) = (height - SIDE + 1, width - SIDE + 1);
    let mut patches = Vec::new();
    for y in 0..SIDE {
        for z in 0..SIDE {
            patches.push(x.narrow(2, y, rows)?.narrow(3, z, columns)?.flatten_from(2)?);
        }
    }
    let patches = Tensor::cat(&patches, 1)?.transpose(1, 2)?.contiguous()?; // (batch, positions, 3 × 25)
    assert_eq!(patches.dims(), [batch, rows * columns, 3 * SIDE * SIDE]);
    let activations = layers[0].forward(&patches)?.relu()?;
    let pooled = activations
        .reshape(vec![batch, 3, rows / 3, 3, columns / 3, activations.dim(2)?])?
        .mean(4)?
        .mean(2)?;
    layers[2].forward(&layers[1].forward(&pooled.flatten_from(1)?)?.relu()?)
}

/// The mean of the embeddings, then a linear layer.
fn bag(layers: &[Layer], features: &Features) -> Result<Tensor> {
    let Features::Tokens { ids, mask } = features else { unreachable!() };
    let mask = mask.unsqueeze(2)?;
    let sum = embed(&layers[0], ids)?.broadcast_mul(&mask)?.sum(1)?;
    layers[1].forward(&sum.broadcast_div(&mask.sum(1)?)?)
}

/// A linear layer with `ReLU` on each pair of neighbouring embeddings, max pooling, then a linear layer.
fn pairs(layers: &[Layer], features: &Features) -> Result<Tensor> {
    let Features::Tokens { ids, mask } = features else { unreachable!() };
    let x = embed(&layers[0], ids)?;
    let length = x.dim(1)? - 1;
    let pairs = Tensor::cat(&[x.narrow(1, 0, length)?, x.narrow(1, 1, length)?], 2)?;
    let mask = mask.narrow(1, 1, length)?.unsqueeze(2)?;
    let activations = layers[1].forward(&pairs)?.relu()?.broadcast_mul(&mask)?;
    layers[2].forward(&activations.max(1)?)
}

fn embed(table: &Layer, ids: &Tensor) -> Result<Tensor> {
    let (batch, length) = ids.dims2()?;
    let vectors = table.weight.as_tensor().index_select(&ids.flatten_all()?, 0)?;
    vectors.reshape((batch, length, vectors.dim(1)?))
}

struct Epoch {
    loss: f64,
    accuracy: f64,
}

/// Returns the validation loss and accuracy after every epoch with a static rate.
fn train(net: &Net, data: &Dataset, epochs: u64, lr: f64) -> Vec<Epoch> {
    let vars = net.layers.iter().flat_map(Layer::vars).collect();
    let params = ParamsAdamW { lr, weight_decay: 0.0, ..ParamsAdamW::default() };
    let mut optimizer = AdamW::new(vars, params).unwrap();
    let epoch = |epoch| {
        for batch in data.train.batches(BatchPlan::new(32, Order::Shuffled { seed: 0, epoch })) {
            let batch = batch.unwrap();
            let logits = (net.forward)(&net.layers, &batch.features).unwrap();
            optimizer.backward_step(&cross_entropy(&logits, &batch.labels).unwrap()).unwrap();
        }
        evaluate(net, &data.validation)
    };
    (0..epochs).map(epoch).collect()
}

fn evaluate(net: &Net, split: &Split) -> Epoch {
    let (mut loss, mut right) = (0.0, 0.0);
    for batch in split.batches(BatchPlan::new(64, Order::Sequential)) {
        let batch = batch.unwrap();
        let logits = (net.forward)(&net.layers, &batch.features).unwrap();
        let mean = cross_entropy(&logits, &batch.labels).unwrap().to_scalar::<f32>().unwrap();
        loss += f64::from(mean) * batch.indices.len() as f64;
        let found = logits.argmax(D::Minus1).unwrap().eq(&batch.labels).unwrap();
        right +=
            f64::from(found.to_dtype(DType::F32).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap());
    }
    let n = split.len() as f64;
    Epoch { loss: loss / n, accuracy: right / n }
}

fn check(network: &[Epoch], linear: &[Epoch]) {
    let print = |name: &str, epochs: &[Epoch]| {
        let line: Vec<String> = epochs.iter().map(|e| format!("{:.3}/{:.2}", e.loss, e.accuracy)).collect();
        println!("{name}: {}", line.join(" "));
    };
    print("network", network);
    print("linear", linear);
    let best = (0..network.len()).min_by(|&a, &b| network[a].loss.total_cmp(&network[b].loss)).unwrap();
    assert!(best + 1 < network.len() / 2, "the lowest loss is at epoch {} of {}", best + 1, network.len());
    let rise = network[network.len() - 1].loss / network[best].loss;
    assert!(rise >= 1.1, "the loss ends {rise:.3} times its minimum");
    let top = |epochs: &[Epoch]| epochs.iter().map(|e| e.accuracy).fold(0.0, f64::max);
    let (network, linear) = (top(network), top(linear));
    assert!(network - linear >= 0.1, "network {network:.3}, linear {linear:.3}");
}

fn layers(sizes: &[(usize, usize)]) -> Vec<Layer> {
    let names = ["a", "b", "c"];
    sizes.iter().zip(names).map(|(&(i, o), name)| Layer::new(name, i, o).unwrap()).collect()
}

#[test]
fn pictures_are_hard_enough() {
    let cache = tempfile::tempdir().unwrap();
    let data = load(&DataConfig::new(Source::SyntheticPictures(SyntheticPictures::default()), cache.path()))
        .unwrap();
    let Kind::Pictures { channels, height, width } = data.kind else { unreachable!() };
    let network =
        Net { layers: layers(&[(channels * 25, 16), (9 * 16, 256), (256, data.classes)]), forward: filters };
    let linear =
        Net { layers: layers(&[(channels * height * width, data.classes)]), forward: linear_pictures };
    check(&train(&network, &data, 24, 0.003), &train(&linear, &data, 10, 0.001));
}

#[test]
fn reviews_are_hard_enough() {
    let cache = tempfile::tempdir().unwrap();
    let data =
        load(&DataConfig::new(Source::SyntheticReviews(SyntheticReviews::default()), cache.path())).unwrap();
    let Kind::Tokens { vocabulary, .. } = data.kind else { unreachable!() };
    let network = Net { layers: layers(&[(vocabulary, 16), (32, 32), (32, data.classes)]), forward: pairs };
    let linear = Net { layers: layers(&[(vocabulary, 16), (16, data.classes)]), forward: bag };
    check(&train(&network, &data, 16, 0.005), &train(&linear, &data, 16, 0.01));
}
