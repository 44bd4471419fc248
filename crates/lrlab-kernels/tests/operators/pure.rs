//! Operators keep no state: a backward pass may run again, and several threads may run theirs at once.

use candle_core::{DType, Device, Result, Tensor, Var};
use lrlab_kernels::{
    ConvNet, ConvNorm, LstmLayer, NormMode, Precision, Sequence, backward, cross_entropy, linear,
};

use crate::harness::Draw;

fn var(draw: &mut Draw, dims: &[usize]) -> Result<Var> {
    let values = draw.values(dims.iter().product());
    Var::from_tensor(&(Tensor::from_vec(values, dims, &Device::Cpu)? * 0.5)?)
}

/// Features of one forward pass, and the variables they depend on.
fn features(draw: &mut Draw) -> Result<[(Tensor, Vec<Var>); 2]> {
    let mut net = ConvNet::new();
    let mut vars = Vec::new();
    let mut value = net.input();
    for (inputs, outputs) in [(3, 8), (8, 8)] {
        let unit = ConvNorm {
            weight: var(draw, &[outputs, inputs, 3, 3])?,
            stride: 1,
            padding: 1,
            scale: var(draw, &[outputs])?,
            shift: var(draw, &[outputs])?,
            running_mean: Var::zeros(outputs, DType::F32, &Device::Cpu)?,
            running_var: Var::ones(outputs, DType::F32, &Device::Cpu)?,
            eps: 1e-5,
        };
        vars.extend([unit.weight.clone(), unit.scale.clone(), unit.shift.clone()]);
        value = net.unit(value, unit, None, true);
    }
    let pictures = var(draw, &[5, 3, 8, 8])?;
    let of_net = net.forward(&pictures, NormMode::Train { momentum: 0.1 })?;
    vars.push(pictures);

    let [x, w_ih, w_hh, b_ih, b_hh] =
        [&[5, 7, 4][..], &[32, 4], &[32, 8], &[32], &[32]].map(|dims: &[usize]| var(draw, dims));
    let (x, w_ih, w_hh, b_ih, b_hh) = (x?, w_ih?, w_hh?, b_ih?, b_hh?);
    let mask = Tensor::ones((5, 7), DType::F32, &Device::Cpu)?;
    let (reverse, precision) = (false, Precision::F32);
    let layer = LstmLayer {
        w_ih: &w_ih,
        w_hh: &w_hh,
        b_ih: &b_ih,
        b_hh: &b_hh,
        mask: Some(&mask),
        reverse,
        precision,
    };
    let of_lstm = layer.last(Sequence::Vectors(&x))?;
    Ok([(of_net, vars), (of_lstm, vec![x, w_ih, w_hh, b_ih, b_hh])])
}

/// The gradients of a loss of the features, by this crate's `backward` or candle's.
fn gradients(of: &Tensor, vars: &[Var], head: &Tensor, ours: bool) -> Result<Vec<Vec<f32>>> {
    let labels = Tensor::new(&[0_u32, 1, 2, 1, 0], &Device::Cpu)?;
    let loss = cross_entropy(&linear(of, head, None, Precision::F32)?, &labels, 0.0)?;
    let grads = if ours { backward(&loss)? } else { loss.backward()? };
    vars.iter().map(|var| grads.get(var).expect("a gradient").flatten_all()?.to_vec1()).collect()
}

#[test]
fn threads_share_one_forward_pass() -> Result<()> {
    let mut draw = Draw::new("threads");
    let heads: Vec<Tensor> =
        (0..4).map(|_| Tensor::from_vec(draw.values(3 * 8), (3, 8), &Device::Cpu)).collect::<Result<_>>()?;
    for (of, vars) in features(&mut draw)? {
        let alone = heads.iter().map(|head| gradients(&of, &vars, head, true)).collect::<Result<Vec<_>>>()?;
        for _ in 0..20 {
            let together: Vec<_> = std::thread::scope(|scope| {
                let started: Vec<_> = heads
                    .iter()
                    .enumerate()
                    .map(|(i, head)| {
                        let (of, vars) = (&of, &vars);
                        scope.spawn(move || gradients(of, vars, head, i % 2 == 0))
                    })
                    .collect();
                started.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            });
            for (i, (together, alone)) in together.into_iter().zip(&alone).enumerate() {
                assert_eq!(&together?, alone, "thread {i}");
            }
        }
    }
    Ok(())
}
