//! The operators by their definitions, element by element, in f64.

use lrlab_kernels::Dropout;

use crate::harness::Array;

/// y[n, o, i, j] = Σ x[n, c, i s + k − p, j s + l − p] w[o, c, k, l]
pub(crate) fn conv2d(x: &Array, w: &Array, stride: usize, padding: usize) -> Array {
    let ([n, c, height, width], [o, _, kh, kw]) = (x.dims::<4>(), w.dims::<4>());
    let (oh, ow) = ((height + 2 * padding - kh) / stride + 1, (width + 2 * padding - kw) / stride + 1);
    let mut y = Array::zeros(&[n, o, oh, ow]);
    for at in 0..y.data.len() {
        let (column, row) = (at % ow, at / ow % oh);
        let (out, picture) = (at / (ow * oh) % o, at / (ow * oh * o));
        let mut sum = 0.0;
        for k in 0..kh {
            for l in 0..kw {
                let (i, j) = (row * stride + k, column * stride + l);
                if i < padding || j < padding || i - padding >= height || j - padding >= width {
                    continue;
                }
                for channel in 0..c {
                    sum += x.at([picture, channel, i - padding, j - padding]) * w.at([out, channel, k, l]);
                }
            }
        }
        y.data[at] = sum;
    }
    y
}

/// Mean and variance of each channel of `x (n, c, h, w)`.
pub(crate) fn channel_statistics(x: &Array) -> (Vec<f64>, Vec<f64>) {
    let [n, c, h, w] = x.dims();
    let count = (n * h * w) as f64;
    let of_channel = |channel: usize| {
        x.data.iter().enumerate().filter(move |(i, _)| i / (h * w) % c == channel).map(|(_, v)| *v)
    };
    let means: Vec<f64> = (0..c).map(|channel| of_channel(channel).sum::<f64>() / count).collect();
    let variance =
        |channel: usize| of_channel(channel).map(|v| (v - means[channel]).powi(2)).sum::<f64>() / count;
    let variances = (0..c).map(variance).collect();
    (means, variances)
}

/// (x − mean) / √(variance + eps) scale + shift, plus `residual`, then max(·, 0) with `relu`.
pub(crate) fn batch_norm(
    x: &Array,
    scale: &Array,
    shift: &Array,
    (means, variances): (&[f64], &[f64]),
    eps: f64,
    residual: Option<&Array>,
    relu: bool,
) -> Array {
    let [_, c, h, w] = x.dims();
    let mut y = x.clone();
    for (i, y) in y.data.iter_mut().enumerate() {
        let channel = i / (h * w) % c;
        let normed = (*y - means[channel]) / (variances[channel] + eps).sqrt();
        *y = normed * scale.data[channel] + shift.data[channel] + residual.map_or(0.0, |r| r.data[i]);
        if relu {
            *y = y.max(0.0);
        }
    }
    y
}

pub(crate) fn layer_norm(x: &Array, scale: &Array, shift: &Array, eps: f64) -> Array {
    let mut y = x.clone();
    let d = scale.data.len();
    for row in y.data.chunks_mut(d) {
        let mean = row.iter().sum::<f64>() / d as f64;
        let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / d as f64;
        for (i, v) in row.iter_mut().enumerate() {
            *v = (*v - mean) / (variance + eps).sqrt() * scale.data[i] + shift.data[i];
        }
    }
    y
}

pub(crate) fn max_pool2d(x: &Array, kernel: usize, stride: usize, padding: usize) -> Array {
    let [n, c, height, width] = x.dims();
    let side = |size: usize| (size + 2 * padding - kernel) / stride + 1;
    let (oh, ow) = (side(height), side(width));
    let mut y = Array::zeros(&[n, c, oh, ow]);
    for at in 0..y.data.len() {
        let (column, row, plane) = (at % ow, at / ow % oh, at / (ow * oh));
        y.data[at] = f64::NEG_INFINITY;
        for k in 0..kernel {
            for l in 0..kernel {
                let (i, j) = (row * stride + k, column * stride + l);
                if i >= padding && j >= padding && i - padding < height && j - padding < width {
                    let value = x.at([plane / c, plane % c, i - padding, j - padding]);
                    y.data[at] = y.data[at].max(value);
                }
            }
        }
    }
    y
}

pub(crate) fn global_avg_pool2d(x: &Array) -> Array {
    let [n, c, h, w] = x.dims();
    let data = x.data.chunks(h * w).map(|plane| plane.iter().sum::<f64>() / (h * w) as f64).collect();
    Array { dims: vec![n, c], data }
}

pub(crate) fn linear(x: &Array, w: &Array, bias: Option<&Array>) -> Array {
    let [out, inputs] = w.dims();
    let mut dims = x.dims.clone();
    *dims.last_mut().unwrap() = out;
    let mut y = Array::zeros(&dims);
    for (i, y) in y.data.iter_mut().enumerate() {
        let (row, o) = (i / out, i % out);
        let products = (0..inputs).map(|k| x.data[row * inputs + k] * w.at([o, k]));
        *y = products.sum::<f64>() + bias.map_or(0.0, |b| b.data[o]);
    }
    y
}

pub(crate) fn embedding(ids: &[u32], (batch, length): (usize, usize), table: &Array) -> Array {
    let [_, d] = table.dims();
    let data = ids.iter().flat_map(|id| table.data[*id as usize * d..][..d].to_vec()).collect();
    Array { dims: vec![batch, length, d], data }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Operands x, `w_ih`, `w_hh`, `b_ih`, `b_hh`; gates in the order i, f, g, o.
pub(crate) fn lstm(operands: &[Array], mask: &Array, reverse: bool) -> Array {
    let [x, w_ih, w_hh, b_ih, b_hh] = operands else { panic!("five operands") };
    let ([batch, length, inputs], [_, hidden]) = (x.dims::<3>(), w_hh.dims::<2>());
    let mut y = Array::zeros(&[batch, length, hidden]);
    for b in 0..batch {
        let (mut h, mut c) = (vec![0.0; hidden], vec![0.0; hidden]);
        for step in 0..length {
            let t = if reverse { length - 1 - step } else { step };
            let gate = |row: usize| {
                let from_input: f64 = (0..inputs).map(|k| w_ih.at([row, k]) * x.at([b, t, k])).sum();
                let from_state: f64 = (0..hidden).map(|k| w_hh.at([row, k]) * h[k]).sum();
                from_input + from_state + b_ih.data[row] + b_hh.data[row]
            };
            if mask.at([b, t]) != 0.0 {
                let gates: Vec<f64> = (0..4 * hidden).map(gate).collect();
                for k in 0..hidden {
                    let [i, f, g, o] = [0, 1, 2, 3].map(|part| gates[part * hidden + k]);
                    c[k] = sigmoid(f) * c[k] + sigmoid(i) * g.tanh();
                    h[k] = sigmoid(o) * c[k].tanh();
                }
            }
            for (k, value) in h.iter().enumerate() {
                let at = y.place([b, t, k]);
                y.data[at] = *value;
            }
        }
    }
    y
}

/// What element `i` of a tensor is multiplied by.
pub(crate) fn dropped(drop: Dropout, i: usize) -> f64 {
    let word = drop.stream.words((i / 64 * 16 + i % 16) as u64)[i / 16 % 4];
    if f64::from(word) < (drop.p * 2_f64.powi(32)).floor() { 0.0 } else { 1.0 / (1.0 - drop.p) }
}

/// softmax over the keys that count of q kᵀ / √d, dropout, times v.
pub(crate) fn attention(q: &Array, k: &Array, v: &Array, mask: &Array, drop: Option<Dropout>) -> Array {
    let [batch, heads, length, d] = q.dims();
    let mut y = Array::zeros(&q.dims);
    for b in 0..batch {
        for h in 0..heads {
            for i in 0..length {
                let score = |j: usize| {
                    let dot: f64 = (0..d).map(|e| q.at([b, h, i, e]) * k.at([b, h, j, e])).sum();
                    if mask.at([b, j]) == 0.0 { 0.0 } else { (dot / (d as f64).sqrt()).exp() }
                };
                let weights: Vec<f64> = (0..length).map(score).collect();
                let total: f64 = weights.iter().sum();
                for (j, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
                    let element = ((b * heads + h) * length + i) * length + j;
                    let weight = weight / total * drop.map_or(1.0, |drop| dropped(drop, element));
                    for e in 0..d {
                        let at = y.place([b, h, i, e]);
                        y.data[at] += weight * v.at([b, h, j, e]);
                    }
                }
            }
        }
    }
    y
}

/// Per row of `logits (n, c)`: −Σ q log softmax, q = (1 − smoothing) one-hot + smoothing / c.
pub(crate) fn cross_entropies(logits: &Array, labels: &[u32], smoothing: f64) -> Vec<f64> {
    let [_, c] = logits.dims();
    let row = |(row, label): (&[f64], &u32)| {
        let total = row.iter().map(|z| z.exp()).sum::<f64>().ln();
        let share =
            |i: usize| smoothing / c as f64 + if i == *label as usize { 1.0 - smoothing } else { 0.0 };
        row.iter().enumerate().map(|(i, z)| share(i) * (total - z)).sum()
    };
    logits.data.chunks(c).zip(labels).map(row).collect()
}

/// The error function by its Taylor series, exact to rounding for the values tests use.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / n as f64;
        sum += term / (2 * n + 1) as f64;
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

pub(crate) fn gelu(x: f64) -> f64 {
    x * 0.5 * (1.0 + erf(x / 2_f64.sqrt()))
}
