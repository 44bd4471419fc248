//! Embedding, attention, weighted sums.

use candle_core::{Result, Tensor, bail};
use lrlab_kernels::{Dropout, Precision, attention, embedding, embedding_at_positions, weighted_sum};
use lrlab_random::{Purpose, Stream};

use super::dims::joined;
use crate::kit::compare::Case;
use crate::kit::side::Side;

pub(super) fn cases() -> Vec<Case> {
    // batch, length, rows of the table, width
    let tables =
        [[1, 1, 1, 1], [1, 200, 50, 20], [64, 1, 50, 20], [3, 7, 11, 5], [4, 33, 50, 20], [8, 40, 2000, 64]];
    let mut all: Vec<Case> = tables.into_iter().map(embeddings).collect();
    for table in tables {
        all.extend(
            [(1.0, None), (8.0, None), (1.0, Some(0.3))].map(|(gain, p)| at_positions(table, gain, p)),
        );
    }
    all.extend([padded(), padded_at_positions()]);
    all.extend([true, false].map(embedding_gradient_of));
    all.push(Case::new("embedding", "ids beyond u32", |side| {
        for id in [-1_i64, 1 << 32, (1 << 32) + 3, -(1 << 32)] {
            let ids = Tensor::new(&[[2_i64, id]], &side.device)?;
            let Ok(y) = embedding(&ids, &side.data("table", &[5, 3], 1.0)?) else { continue };
            let rows = y.squeeze(0)?.to_vec2::<f32>()?;
            if rows[0].iter().any(|value| value.is_nan()) || rows[1].iter().any(|value| !value.is_nan()) {
                bail!("id {id} of 5 rows reads {:?}", rows[1]);
            }
        }
        side.note("ids refused", vec![4.0]);
        Ok(Vec::new())
    }));
    // batch, heads, length, width of a head
    let heads = [
        [1, 1, 1, 1],
        [1, 2, 33, 8],
        [5, 2, 1, 8],
        [3, 2, 7, 3],
        [4, 4, 33, 8],
        [2, 4, 64, 32],
        [2, 3, 19, 17],
        [3, 1, 200, 16],
    ];
    for dims in heads {
        all.extend([None, Some(0.2)].map(|p| attentions(dims, p)));
    }
    all.extend(["q", "k", "v"].map(attention_gradient_of));
    all.push(Case::new("attention", "NaN in q, keys dropped", |side| {
        let dims = [16, 2, 1, 4];
        let [q, k, v] = ["q", "k", "v"].map(|name| side.data(name, &dims, 1.0));
        let mask = side.mask(&[1; 16], 1)?;
        side.note_nan(
            "where y is NaN",
            &attention(&(q? * f64::NAN)?, &k?, &v?, &mask, drop(Some(0.8)), side.precision)?,
        )?;
        Ok(Vec::new())
    }));
    all.push(
        Case::new("attention", "results beyond bf16", |side| {
            let dims = [3, 2, 7, 8];
            let [q, k, v] = ["q", "k", "v"].map(|name| side.var(name, &dims, 1.0));
            let mask = side.mask(&[7; 3], 7)?;
            let y = attention(&q?, &k?, &v?, &mask, None, side.precision)?;
            side.note_rounded("whether the results are rounded", &y)?;
            Ok(vec![("y", y)])
        })
        .mixed(),
    );
    all.push(
        Case::new("attention", "no precision, a mask with gaps", |side| {
            let dims = [2, 2, 5, 8];
            let [q, k, v] = ["q", "k", "v"].map(|name| side.var(name, &dims, 1.0));
            let holes: [[f32; 5]; 2] = [[1.0, 0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 1.0, 0.0]];
            let mask = Tensor::new(&holes, &side.device)?;
            Ok(vec![("y", attention(&q?, &k?, &v?, &mask, None, Precision::F32)?)])
        })
        .products(),
    );
    all.extend([[1, 1, 1], [1, 33, 20], [5, 1, 20], [3, 7, 5], [4, 33, 128], [2, 200, 17]].map(sums));
    all
}

pub(super) fn for_nan() -> Vec<Case> {
    vec![
        embeddings([3, 7, 11, 5]),
        at_positions([3, 7, 11, 5], 2.0, None),
        at_positions([3, 7, 11, 5], 1.0, Some(0.3)),
        attentions([3, 2, 7, 8], None),
        sums([3, 7, 5]),
    ]
}

fn embeddings([b, l, v, d]: [usize; 4]) -> Case {
    Case::new("embedding", format!("ids {b}×{l}, table {v}×{d}"), move |side| {
        let table = side.var("table", &[v, d], 1.0)?;
        Ok(vec![("y", embedding(&side.ids("ids", &[b, l], v)?, &table)?)])
    })
}

/// Batch, length and rows of a table. Nine of ten tokens read the same row, and most rows are not read.
const PADDED: [usize; 3] = [64, 200, 20_000];

fn padded() -> Case {
    let [b, l, v] = PADDED;
    Case::new("embedding", format!("ids {b}×{l}, table {v}×20, nine of ten ids equal"), move |side| {
        let ids = side.ids_with_padding("ids", &[b, l], v)?;
        Ok(vec![("y", embedding(&ids, &side.var("table", &[v, 20], 1.0)?)?)])
    })
}

fn padded_at_positions() -> Case {
    let [b, l, v] = PADDED;
    let what = format!("ids {b}×{l}, table {v}×9, nine of ten ids equal");
    Case::new("embedding_at_positions", what, move |side| {
        let (table, positions) = (side.var("table", &[v, 9], 1.0)?, side.var("positions", &[l, 9], 1.0)?);
        let ids = side.ids_with_padding("ids", &[b, l], v)?;
        Ok(vec![("y", embedding_at_positions(&ids, &table, 3.0, &positions, None)?)])
    })
}

/// Either the table or the positions have a gradient.
fn embedding_gradient_of(table_has: bool) -> Case {
    let of = if table_has { "the table" } else { "positions" };
    Case::new("embedding_at_positions", format!("the gradient of {of} alone"), move |side| {
        let table = side.variable_or_data(table_has, "table", &[11, 5], 1.0)?;
        let positions = side.variable_or_data(!table_has, "positions", &[7, 5], 1.0)?;
        let ids = side.ids("ids", &[3, 7], 11)?;
        Ok(vec![("y", embedding_at_positions(&ids, &table, 2.0, &positions, None)?)])
    })
}

fn at_positions([b, l, v, d]: [usize; 4], gain: f64, p: Option<f64>) -> Case {
    let what = format!("ids {b}×{l}, table {v}×{d}, gain {gain}{}", dropout_suffix(p));
    let case = Case::new("embedding_at_positions", what, move |side| {
        let (table, positions) = (side.var("table", &[v, d], 1.0)?, side.var("positions", &[l, d], 1.0)?);
        let ids = side.ids("ids", &[b, l], v)?;
        Ok(vec![("y", embedding_at_positions(&ids, &table, gain, &positions, drop(p))?)])
    });
    if p.is_some() { case.drops() } else { case }
}

fn attentions(dims: [usize; 4], p: Option<f64>) -> Case {
    Case::new("attention", format!("q {}{}", joined(&dims), dropout_suffix(p)), move |side| {
        let [q, k, v] = ["q", "k", "v"].map(|name| side.var(name, &dims, 1.0));
        let mask = side.mask(&lengths(dims[0], dims[2]), dims[2])?;
        let (q, k, v) = (q?, k?, v?);
        Ok(vec![("y", attention(&q, &k, &v, &mask, drop(p), side.precision)?)])
    })
    .mixed()
}

/// Only one of q, k and v has a gradient.
fn attention_gradient_of(tracked: &'static str) -> Case {
    Case::new("attention", format!("the gradient of {tracked} alone"), move |side| {
        let operand = |name: &str| side.variable_or_data(name == tracked, name, &[3, 2, 7, 8], 1.0);
        let (q, k, v) = (operand("q")?, operand("k")?, operand("v")?);
        let mask = side.mask(&lengths(3, 7), 7)?;
        Ok(vec![("y", attention(&q, &k, &v, &mask, None, side.precision)?)])
    })
    .mixed()
}

fn sums([b, l, d]: [usize; 3]) -> Case {
    Case::new("weighted_sum", format!("x {b}×{l}×{d}"), move |side: &Side| -> Result<_> {
        let x = side.var("x", &[b, l, d], 1.0)?;
        let weights = (side.mask(&lengths(b, l), l)? * 0.3)?.to_dtype(x.dtype())?;
        Ok(vec![("y", weighted_sum(&x, &weights)?)])
    })
}

/// The first sequence is full, the second empty, and the others are partially filled.
pub(super) fn lengths(batch: usize, length: usize) -> Vec<usize> {
    let of = |i: usize| match i {
        0 => length,
        1 => 0,
        _ => 1 + (i * 5) % length,
    };
    (0..batch).map(of).collect()
}

fn drop(p: Option<f64>) -> Option<Dropout> {
    p.map(|p| Dropout { p, stream: Stream::new(5, Purpose::Dropout, "kit") })
}

fn dropout_suffix(p: Option<f64>) -> String {
    p.map_or_else(String::new, |p| format!(", dropout {p}"))
}
