//! Bag of embeddings: the linear baseline for text (Joulin et al., EACL 2017, without n-grams).

use candle_core::{Result, Tensor, Var, bail};
use lrlab_config::{BagOfEmbeddingsConfig, Pooling};
use lrlab_kernels::{Params, Role, embedding};

use crate::{
    Input, Mode, Model, TextSizes,
    init::{Builder, Init},
    layers::{Affine, Dropout, positive},
    pooling::pool,
};

/// logits = W · mean of the tokens' embeddings + b, which does not depend on their order.
#[derive(Debug)]
pub struct BagOfEmbeddings {
    embedding: Var,
    dropout: Dropout,
    fc: Affine,
    params: Params,
}

impl BagOfEmbeddings {
    /// Parameters `embedding.weight`, `fc.weight`, `fc.bias`. The embedding starts uniform on ±1/width, as in
    /// fastText (`FastText::createRandomMatrix`): a word that never occurs in training then adds almost nothing
    /// to the mean, while torch's N(0, 1) would add noise. `fc` is initialised as `torch.nn.Linear`.
    ///
    /// # Errors
    /// Returns an error if a size is zero, the dropout is outside [0, 1), or `params` holds these names already.
    pub fn new(config: &BagOfEmbeddingsConfig, sizes: TextSizes, seed: u64, params: Params) -> Result<Self> {
        let BagOfEmbeddingsConfig { embedding: width, dropout } = *config;
        let TextSizes { vocabulary, classes, .. } = sizes;
        positive(&[("vocabulary", vocabulary), ("embedding", width), ("classes", classes)])?;
        let mut b = Builder::new(seed, params);
        let init = Init::Uniform { bound: 1.0 / width as f64 };
        Ok(Self {
            embedding: b.create("embedding.weight", &[vocabulary, width], init, Role::Weight)?,
            dropout: Dropout::new("dropout", dropout)?,
            fc: Affine::new(&mut b, "fc", width, classes)?,
            params: b.finish(),
        })
    }
}

impl Model for BagOfEmbeddings {
    fn forward(&self, input: &Input, mode: Mode) -> Result<Tensor> {
        let Input::Tokens { ids, mask } = input else { bail!("a bag of embeddings reads tokens") };
        let x = embedding(ids, &self.embedding)?;
        let mean = pool(Pooling::Mean, &x, &mask.to_dtype(x.dtype())?)?;
        self.fc.forward(&self.dropout.forward(&mean, mode)?)
    }

    fn params(&self) -> &Params {
        &self.params
    }
}
