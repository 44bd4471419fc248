//! A user-built runner with a further network and data set: an MLP-Mixer (Tolstikhin et al., `NeurIPS` 2021) on striped pictures.
//!
//! ```sh
//! cargo run --release -p lrlab-example-mixer -- run examples/mixer/mixer.toml
//! ```

use std::process::ExitCode;

use candle_core::{Result, Tensor, bail};
use lrlab::{Registration, Registry};
use lrlab_data::{Dataset, InMemory, Kind, Labelled};
use lrlab_kernels::{Params, gelu};
use lrlab_models::{Affine, Builder, Dropout, Input, LayerNorm, Mode, Model};
use lrlab_random::{Purpose, Stream};

fn main() -> ExitCode {
    let mut registry = Registry::default();
    registry.data(Registration::new("stripes").version("1"), |options, config| {
        let size = |name: &str, usual| options[name].as_u64().unwrap_or(usual) as usize;
        let side = size("side", 12);
        let (train, test) = (size("train", 240), size("test", 60));
        let set = InMemory::new(
            "stripes",
            ["horizontal", "vertical", "diagonal"],
            stripes(side, 0..train),
            stripes(side, train..train + test),
        );
        Ok(Dataset::from_pictures([1, side, side], set, config)?)
    });
    registry.model(Registration::new("mixer").version("1").bf16(), |options, context| {
        let Kind::Pictures { channels, height, width } = *context.kind else {
            anyhow::bail!("\"mixer\" reads pictures")
        };
        let size = |name: &str, usual| options[name].as_u64().unwrap_or(usual) as usize;
        let sizes = Sizes { patch: size("patch", 4), width: size("width", 24), layers: size("layers", 2) };
        let dropout = options["dropout"].as_f64().unwrap_or(0.0);
        let b = Builder::new(context.seed, context.params);
        Ok(Box::new(Mixer::new(b, [channels, height, width], &sizes, dropout, context.classes)?))
    });
    lrlab::cli(&registry)
}

/// Grey pictures with stripes in one of three directions, of random phase, and noise. Each is a function of its row.
fn stripes(side: usize, rows: std::ops::Range<usize>) -> Labelled<Vec<u8>> {
    let mut set = Labelled::<Vec<u8>>::default();
    for row in rows {
        let (stream, class) = (Stream::new(0, Purpose::Synthetic, "stripes").child(row as u64), row % 3);
        let phase = (4.0 * stream.uniform(0)) as usize;
        for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
            let along = [y, x, x + y][class];
            let bright = if (along + phase) % 4 < 2 { 160.0 } else { 95.0 };
            let noise = 20.0 * stream.normal((y * side + x + 1) as u64);
            set.examples.push((bright + noise).clamp(0.0, 255.0) as u8);
        }
        set.labels.push(class as u32);
    }
    set
}

struct Sizes {
    patch: usize,
    width: usize,
    layers: usize,
}

/// Two affine maps with a GELU between them.
struct Mlp {
    first: Affine,
    second: Affine,
}

impl Mlp {
    fn new(b: &mut Builder, name: &str, width: usize) -> Result<Self> {
        Ok(Self {
            first: Affine::new(b, &format!("{name}.fc1"), width, 2 * width)?,
            second: Affine::new(b, &format!("{name}.fc2"), 2 * width, width)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.second.forward(&gelu(&self.first.forward(x)?)?)
    }
}

struct Block {
    norms: [LayerNorm; 2],
    tokens: Mlp,
    channels: Mlp,
    dropout: Dropout,
}

struct Mixer {
    params: Params,
    patch: usize,
    embed: Affine,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Affine,
}

impl Mixer {
    fn new(
        mut b: Builder,
        [channels, height, width]: [usize; 3],
        sizes: &Sizes,
        dropout: f64,
        classes: usize,
    ) -> Result<Self> {
        let Sizes { patch, width: features, layers } = *sizes;
        if patch == 0 || height % patch != 0 || width % patch != 0 {
            bail!("patches of {patch} pixels do not tile pictures of {height} × {width}");
        }
        let tokens = (height / patch) * (width / patch);
        let embed = Affine::new(&mut b, "embed", channels * patch * patch, features)?;
        let mut block = |i: usize| -> Result<Block> {
            let name = |part: &str| format!("blocks.{i}.{part}");
            Ok(Block {
                norms: [
                    LayerNorm::new(&mut b, &name("norm1"), features)?,
                    LayerNorm::new(&mut b, &name("norm2"), features)?,
                ],
                tokens: Mlp::new(&mut b, &name("mlp_tokens"), tokens)?,
                channels: Mlp::new(&mut b, &name("mlp_channels"), features)?,
                dropout: Dropout::new(name("drop"), dropout)?,
            })
        };
        let blocks = (0..layers).map(&mut block).collect::<Result<_>>()?;
        let norm = LayerNorm::new(&mut b, "norm", features)?;
        let head = Affine::new(&mut b, "head", features, classes)?;
        Ok(Self { params: b.finish(), patch, embed, blocks, norm, head })
    }

    /// `(batch, channels, height, width)` to `(batch, patches, values of a patch)`.
    fn patches(&self, x: &Tensor) -> Result<Tensor> {
        let ((batch, channels, height, width), patch) = (x.dims4()?, self.patch);
        let (rows, columns) = (height / patch, width / patch);
        x.reshape(vec![batch, channels, rows, patch, columns, patch])?
            .permute(vec![0, 2, 4, 1, 3, 5])?
            .contiguous()?
            .reshape((batch, rows * columns, channels * patch * patch))
    }
}

impl Model for Mixer {
    fn forward(&self, input: &Input, mode: Mode) -> Result<Tensor> {
        let Input::Pictures(x) = input else { bail!("\"mixer\" reads pictures") };
        let mut x = self.embed.forward(&self.patches(x)?)?;
        for Block { norms: [first, second], tokens, channels, dropout } in &self.blocks {
            let turned = first.forward(&x)?.transpose(1, 2)?.contiguous()?;
            let mixed = tokens.forward(&turned)?.transpose(1, 2)?.contiguous()?;
            x = (x + mixed)?;
            let mixed = channels.forward(&second.forward(&x)?)?;
            x = (x + dropout.forward(&mixed, mode)?)?;
        }
        self.head.forward(&self.norm.forward(&x)?.mean(1)?)
    }

    fn params(&self) -> &Params {
        &self.params
    }
}
