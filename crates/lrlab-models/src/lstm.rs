//! Long short-term memory as a text classifier (Hochreiter and Schmidhuber, 1997).

use candle_core::{D, Result, Tensor, Var, bail};
use lrlab_config::{LstmConfig, Pooling};
use lrlab_kernels::{LstmLayer, Params, Precision, Role, Sequence, embedding};

use crate::{
    Input, Mode, Model, TextSizes,
    init::{Builder, Init},
    layers::{Affine, Dropout, positive},
    pooling::pool,
};

/// Embedding, `torch.nn.LSTM` over the tokens without padding, pooling, linear head.
#[derive(Debug)]
pub struct Lstm {
    embedding: Var,
    embedding_dropout: Dropout,
    layers: Vec<Layer>,
    pooling: Pooling,
    head_dropout: Dropout,
    fc: Affine,
    params: Params,
}

impl Lstm {
    /// Parameters `embedding.weight`, `lstm.weight_ih_l0`, `lstm.weight_hh_l0_reverse`, …, `fc.weight`, `fc.bias`.
    ///
    /// Gates start uniform on ±1/√hidden as in `torch.nn.LSTM`, except the forget gate's bias: of torch's two biases,
    /// `bias_ih` holds `forget_bias` there and `bias_hh` 0. The embedding starts uniform on ±0.1 (Zaremba et al., 2014;
    /// `initrange` of Merity et al., ICLR 2018): with torch's N(0, 1), words too rare to be learned would have the
    /// largest embeddings. `fc` is initialised as `torch.nn.Linear`.
    ///
    /// # Errors
    /// Returns an error if a size is zero, the dropout is outside [0, 1), or `params` holds these names already.
    pub fn new(config: &LstmConfig, sizes: TextSizes, seed: u64, params: Params) -> Result<Self> {
        let &LstmConfig { embedding: width, hidden, layers, dropout, .. } = config;
        let TextSizes { vocabulary, classes, .. } = sizes;
        positive(&[
            ("vocabulary", vocabulary),
            ("embedding", width),
            ("hidden", hidden),
            ("layers", layers),
            ("classes", classes),
        ])?;
        let mut b = Builder::new(seed, params);
        let directions = if config.bidirectional { 2 } else { 1 };
        let init = Init::Uniform { bound: 0.1 };
        Ok(Self {
            embedding: b.create("embedding.weight", &[vocabulary, width], init, Role::Weight)?,
            embedding_dropout: Dropout::new("embedding.dropout", dropout)?,
            layers: (0..layers)
                .map(|index| {
                    let inputs = if index == 0 { width } else { hidden * directions };
                    Layer::new(&mut b, index, inputs, config)
                })
                .collect::<Result<_>>()?,
            pooling: config.pooling,
            head_dropout: Dropout::new("fc.dropout", dropout)?,
            fc: Affine::new(&mut b, "fc", hidden * directions, classes)?,
            params: b.finish(),
        })
    }
}

impl Model for Lstm {
    fn forward(&self, input: &Input, mode: Mode) -> Result<Tensor> {
        let Input::Tokens { ids, mask } = input else { bail!("an LSTM reads tokens") };
        let mask = mask.to_dtype(self.embedding.dtype())?;
        // The input of a layer: without dropout the embeddings need not be materialised.
        let mut x = match self.embedding_dropout.draws(mode) {
            None => None,
            Some(_) => Some(self.embedding_dropout.forward(&embedding(ids, &self.embedding)?, mode)?),
        };
        let read = |x: &Option<Tensor>, layer: &Layer, states| match x {
            Some(x) => layer.forward(Sequence::Vectors(x), &mask, states),
            None => layer.forward(Sequence::Tokens { ids, table: &self.embedding }, &mask, states),
        };
        let Some((top, below)) = self.layers.split_last() else { bail!("layers is 0, expected at least 1") };
        for (layer, above) in below.iter().zip(&self.layers[1..]) {
            x = Some(above.dropout.forward(&read(&x, layer, States::All)?, mode)?);
        }
        let pooled = match self.pooling {
            Pooling::Last => read(&x, top, States::Last)?,
            Pooling::Mean | Pooling::Max => pool(self.pooling, &read(&x, top, States::All)?, &mask)?,
        };
        self.fc.forward(&self.head_dropout.forward(&pooled, mode)?)
    }

    fn params(&self) -> &Params {
        &self.params
    }
}

/// One layer, in one direction or two. Dropout applies to its input.
#[derive(Debug)]
struct Layer {
    dropout: Dropout,
    precision: Precision,
    directions: Vec<Direction>,
}

impl Layer {
    fn new(b: &mut Builder, index: usize, inputs: usize, config: &LstmConfig) -> Result<Self> {
        let suffixes: &[&str] = if config.bidirectional { &["", "_reverse"] } else { &[""] };
        let directions =
            suffixes.iter().map(|suffix| Direction::new(b, &format!("l{index}{suffix}"), inputs, config));
        Ok(Self {
            directions: directions.collect::<Result<_>>()?,
            precision: b.precision(),
            dropout: Dropout::new(format!("lstm.dropout_l{index}"), config.dropout)?,
        })
    }

    /// The directions side by side, forward first: `(batch, length, directions · hidden)`, or without the length. A
    /// direction's last state is that after the last token it reads.
    fn forward(&self, of: Sequence, mask: &Tensor, states: States) -> Result<Tensor> {
        let each = self.directions.iter().enumerate().map(|(i, d)| {
            let layer = LstmLayer {
                w_ih: &d.weight_ih,
                w_hh: &d.weight_hh,
                b_ih: &d.bias_ih,
                b_hh: &d.bias_hh,
                mask: Some(mask),
                reverse: i == 1,
                precision: self.precision,
            };
            match states {
                States::All => layer.states(of),
                States::Last => layer.last(of),
            }
        });
        let each = each.collect::<Result<Vec<_>>>()?;
        if let [one] = each.as_slice() { Ok(one.clone()) } else { Tensor::cat(&each, D::Minus1) }
    }
}

/// Which of a layer's states are returned.
#[derive(Debug, Clone, Copy)]
enum States {
    All,
    Last,
}

#[derive(Debug)]
struct Direction {
    weight_ih: Var,
    weight_hh: Var,
    bias_ih: Var,
    bias_hh: Var,
}

impl Direction {
    fn new(b: &mut Builder, suffix: &str, inputs: usize, config: &LstmConfig) -> Result<Self> {
        let (hidden, gates) = (config.hidden, 4 * config.hidden);
        let bound = 1.0 / (hidden as f64).sqrt();
        let mut create = |name: &str, shape: &[usize], init, role| {
            b.create(&format!("lstm.{name}_{suffix}"), shape, init, role)
        };
        let uniform = Init::Uniform { bound };
        let bias = |forget| Init::Gates { bound, forget };
        Ok(Self {
            weight_ih: create("weight_ih", &[gates, inputs], uniform, Role::Weight)?,
            weight_hh: create("weight_hh", &[gates, hidden], uniform, Role::Weight)?,
            bias_ih: create("bias_ih", &[gates], bias(config.forget_bias), Role::NoDecay)?,
            bias_hh: create("bias_hh", &[gates], bias(0.0), Role::NoDecay)?,
        })
    }
}
