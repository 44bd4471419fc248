//! The LSTM layer.

use lrlab_kernels::{LstmLayer, Precision, Sequence, lstm};

use crate::kit::compare::Case;

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

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for sizes in SIZES {
        for reverse in [false, true] {
            for tokens in [false, true] {
                all.extend([false, true].map(|last| layer(sizes, reverse, tokens, last)));
            }
        }
    }
    all.push(
        Case::new("LstmLayer", "without a precision", |side| {
            let x = side.var("x", &[3, 4, 5], 1.0)?;
            let (w_ih, w_hh) = (side.var("w_ih", &[24, 5], 0.4)?, side.var("w_hh", &[24, 6], 0.4)?);
            let (b_ih, b_hh) = (side.var("b_ih", &[24], 0.3)?, side.var("b_hh", &[24], 0.3)?);
            let mask = side.mask(&[4, 2, 3], 4)?;
            Ok(vec![("states", lstm(&x, &w_ih, &w_hh, &b_ih, &b_hh, &mask, true)?)])
        })
        .products(),
    );
    all
}

pub(super) fn for_nan() -> Vec<Case> {
    [(false, false), (true, false), (false, true)]
        .map(|(tokens, last)| layer([3, 5, 3, 5], false, tokens, last))
        .into()
}

fn layer([b, l, inputs, h]: [usize; 4], reverse: bool, tokens: bool, last: bool) -> Case {
    let what = format!(
        "{} {b}×{l}×{inputs}, {h} hidden{}{}",
        if tokens { "tokens" } else { "vectors" },
        if reverse { ", reverse" } else { "" },
        if last { ", last state" } else { "" },
    );
    Case::new("LstmLayer", what, move |side| {
        // Of a table there are fewer rows than tokens, so that rows are read twice.
        let rows = (b * l / 2).max(1);
        let source = if tokens {
            side.var("table", &[rows, inputs], 1.0)?
        } else {
            side.var("x", &[b, l, inputs], 1.0)?
        };
        let deviation = 1.0 / (h as f64).sqrt();
        let w_ih = side.var("w_ih", &[4 * h, inputs], 1.0 / (inputs as f64).sqrt())?;
        let w_hh = side.var("w_hh", &[4 * h, h], deviation)?;
        let (b_ih, b_hh) = (side.var("b_ih", &[4 * h], 0.3)?, side.var("b_hh", &[4 * h], 0.3)?);
        // Every length from none to all, the longest first.
        let lengths: Vec<usize> = (0..b).map(|i| l - i % (l + 1)).collect();
        let (mask, ids) = (side.mask(&lengths, l)?, side.ids("ids", &[b, l], rows)?);
        let precision: Precision = side.precision;
        let layer =
            LstmLayer { w_ih: &w_ih, w_hh: &w_hh, b_ih: &b_ih, b_hh: &b_hh, mask: &mask, reverse, precision };
        let of =
            if tokens { Sequence::Tokens { ids: &ids, table: &source } } else { Sequence::Vectors(&source) };
        Ok(vec![if last { ("last state", layer.last(of)?) } else { ("states", layer.states(of)?) }])
    })
    .mixed()
}
