//! The LSTM layer.

use candle_core::{Result, Tensor};
use candle_nn::rnn::LSTMState;
use lrlab_kernels::{LstmLayer, Precision, Sequence};

use crate::kit::compare::Case;
use crate::kit::side::{Outputs, Side, Wanted};

/// Batch, length, inputs, hidden.
const SIZES: [[usize; 4]; 7] = [
    [1, 1, 1, 1],
    [3, 5, 3, 5],
    [9, 8, 17, 33],
    [16, 12, 64, 64],
    [8, 20, 128, 128],
    [5, 6, 20, 160],
    [33, 3, 8, 64],
];
/// Sizes with one sequence or one token.
const SINGLE: [[usize; 4]; 2] = [[1, 12, 17, 64], [7, 1, 20, 33]];

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for sizes in SIZES {
        for reverse in [false, true] {
            for tokens in [false, true] {
                all.extend([false, true].map(|last| layer(sizes, reverse, tokens, last, Wanted::All)));
            }
        }
    }
    for tokens in [false, true] {
        for last in [false, true] {
            all.extend(SINGLE.map(|sizes| layer(sizes, last, tokens, last, Wanted::All)));
            let wanted = [Wanted::Parameters, Wanted::Input];
            all.extend(wanted.map(|wanted| layer([9, 8, 17, 33], last, tokens, last, wanted)));
        }
    }
    for sizes in [[3, 5, 3, 5], [4, 9, 20, 16], [5, 12, 17, 128], [4, 7, 8, 200]] {
        for reverse in [false, true] {
            for last in [false, true] {
                all.extend([false, true].map(|tokens| with_gaps(sizes, reverse, tokens, last)));
            }
        }
    }
    all.push(padded([16, 20, 8, 10]));
    all.extend([[3, 5, 3, 5], [5, 6, 20, 160]].map(unmasked));
    for sizes in [[1, 1, 1, 1], [3, 5, 3, 5], [9, 8, 17, 33]] {
        all.extend([false, true].map(|reverse| continued(sizes, reverse)));
    }
    all.push(
        Case::new("LstmLayer", "no precision", |side| {
            let x = side.var("x", &[3, 4, 5], 1.0)?;
            let (w_ih, w_hh) = (side.var("w_ih", &[24, 5], 0.4)?, side.var("w_hh", &[24, 6], 0.4)?);
            let (b_ih, b_hh) = (side.var("b_ih", &[24], 0.3)?, side.var("b_hh", &[24], 0.3)?);
            let mask = side.mask(&[4, 2, 3], 4)?;
            let layer = LstmLayer {
                w_ih: &w_ih,
                w_hh: &w_hh,
                b_ih: &b_ih,
                b_hh: &b_hh,
                mask: Some(&mask),
                reverse: true,
                precision: Precision::F32,
            };
            Ok(vec![("states", layer.states(Sequence::Vectors(&x))?)])
        })
        .products(),
    );
    all
}

pub(super) fn for_nan() -> Vec<Case> {
    let mut all: Vec<Case> = [(false, false), (true, false), (false, true)]
        .map(|(tokens, last)| layer([3, 5, 3, 5], false, tokens, last, Wanted::All))
        .into();
    all.push(continued([3, 5, 3, 5], false));
    all
}

fn layer([b, l, inputs, h]: [usize; 4], reverse: bool, tokens: bool, last: bool, wanted: Wanted) -> Case {
    let what = format!(
        "{} {b}×{l}×{inputs}, {h} hidden{}{}{}",
        if tokens { "tokens" } else { "vectors" },
        if reverse { ", reverse" } else { "" },
        if last { ", last state" } else { "" },
        wanted.words(),
    );
    Case::new("LstmLayer", what, move |side| {
        // The table has fewer rows than there are tokens, so that rows are read repeatedly.
        let rows = (b * l / 2).max(1);
        let source = if tokens {
            side.input(wanted, "table", &[rows, inputs], 1.0)?
        } else {
            side.input(wanted, "x", &[b, l, inputs], 1.0)?
        };
        let parameters = parameters(side, inputs, h, wanted)?;
        // Every length from `l` down to 0.
        let lengths: Vec<usize> = (0..b).map(|i| l - i % (l + 1)).collect();
        let (mask, ids) = (side.mask(&lengths, l)?, side.ids("ids", &[b, l], rows)?);
        let of =
            if tokens { Sequence::Tokens { ids: &ids, table: &source } } else { Sequence::Vectors(&source) };
        output(side, &parameters, &mask, reverse, last, of)
    })
    .mixed()
}

/// The states, or the last one.
fn output(
    side: &Side,
    [w_ih, w_hh, b_ih, b_hh]: &[Tensor; 4],
    mask: &Tensor,
    reverse: bool,
    last: bool,
    of: Sequence,
) -> Result<Outputs> {
    let (mask, precision) = (Some(mask), side.precision);
    let layer = LstmLayer { w_ih, w_hh, b_ih, b_hh, mask, reverse, precision };
    Ok(vec![if last { ("last state", layer.last(of)?) } else { ("states", layer.states(of)?) }])
}

fn parameters(side: &Side, inputs: usize, h: usize, wanted: Wanted) -> Result<[Tensor; 4]> {
    let weight = |name: &str, inputs: usize| {
        side.weight(wanted, name, &[4 * h, inputs], 0.0, 1.0 / (inputs as f64).sqrt())
    };
    let bias = |name: &str| side.weight(wanted, name, &[4 * h], 0.0, 0.3);
    Ok([weight("w_ih", inputs)?, weight("w_hh", h)?, bias("b_ih")?, bias("b_hh")?])
}

/// With padding before, between and after tokens, which is NaN in vectors.
fn with_gaps([b, l, inputs, h]: [usize; 4], reverse: bool, tokens: bool, last: bool) -> Case {
    let what = format!(
        "{} {b}×{l}×{inputs}, {h} hidden, padding between tokens{}{}",
        if tokens { "tokens" } else { "vectors" },
        if reverse { ", reverse" } else { "" },
        if last { ", last state" } else { "" },
    );
    Case::new("LstmLayer", what, move |side| {
        let rows = if tokens { vec![b * l, inputs] } else { vec![b, l, inputs] };
        let source = side.var("source", &rows, 1.0)?;
        let parameters = parameters(side, inputs, h, Wanted::All)?;
        let (mask, ids) = (side.mask_with_gaps(b, l)?, side.ids("ids", &[b, l], b * l)?);
        let spoiled;
        let of = if tokens {
            Sequence::Tokens { ids: &ids, table: &source }
        } else {
            spoiled = side.spoiled(&source, &mask)?;
            Sequence::Vectors(&spoiled)
        };
        output(side, &parameters, &mask, reverse, last, of)
    })
    .mixed()
}

/// Nearly every token reads the same row of the table, and many rows are read by none.
fn padded([b, l, inputs, h]: [usize; 4]) -> Case {
    let what = format!("tokens {b}×{l}×{inputs}, {h} hidden, nine of ten ids equal");
    Case::new("LstmLayer", what, move |side| {
        let table = side.var("table", &[2 * b * l, inputs], 1.0)?;
        let parameters = parameters(side, inputs, h, Wanted::All)?;
        let mask = side.mask(&vec![l; b], l)?;
        let ids = side.ids_with_padding("ids", &[b, l], 2 * b * l)?;
        output(side, &parameters, &mask, false, false, Sequence::Tokens { ids: &ids, table: &table })
    })
    .mixed()
}

/// Without a mask.
fn unmasked([b, l, inputs, h]: [usize; 4]) -> Case {
    Case::new("LstmLayer", format!("vectors {b}×{l}×{inputs}, {h} hidden, no mask"), move |side| {
        let x = side.var("x", &[b, l, inputs], 1.0)?;
        let [w_ih, w_hh, b_ih, b_hh] = parameters(side, inputs, h, Wanted::All)?;
        let (mask, reverse, precision) = (None, true, side.precision);
        let layer =
            LstmLayer { w_ih: &w_ih, w_hh: &w_hh, b_ih: &b_ih, b_hh: &b_hh, mask, reverse, precision };
        Ok(vec![("states", layer.states(Sequence::Vectors(&x))?)])
    })
    .mixed()
}

/// From an initial state, with the states, the last state and the last cells as outputs.
fn continued([b, l, inputs, h]: [usize; 4], reverse: bool) -> Case {
    let words = if reverse { ", reverse" } else { "" };
    let what = format!("vectors {b}×{l}×{inputs}, {h} hidden, from a state{words}");
    Case::new("LstmLayer", what, move |side| {
        let x = side.var("x", &[b, l, inputs], 1.0)?;
        let [w_ih, w_hh, b_ih, b_hh] = parameters(side, inputs, h, Wanted::All)?;
        let initial =
            LSTMState { h: side.var("initial h", &[b, h], 0.5)?, c: side.var("initial c", &[b, h], 1.0)? };
        let lengths: Vec<usize> = (0..b).map(|i| l - i % (l + 1)).collect();
        let (mask, precision) = (Some(&side.mask(&lengths, l)?), side.precision);
        let layer =
            LstmLayer { w_ih: &w_ih, w_hh: &w_hh, b_ih: &b_ih, b_hh: &b_hh, mask, reverse, precision };
        let (states, last) = layer.states_from(Sequence::Vectors(&x), &initial)?;
        Ok(vec![("states", states), ("last h", last.h), ("last c", last.c)])
    })
    .mixed()
}
