//! Labels below the number of classes, and ids below the number of rows.

use candle_core::{DType, Result, Tensor};
use lrlab_kernels::{
    LstmLayer, Precision, Sequence, backward, cross_entropy, cross_entropy_each, embedding,
    embedding_at_positions,
};

use super::{CPU, FLOATS, accepted, assert_error, drop_at, ones, var};

#[test]
fn labels_must_be_below_the_number_of_classes() {
    for dtype in FLOATS {
        let logits = ones(&[2, 5], dtype);
        let check = |labels: Tensor, expected: &str| {
            assert_error(cross_entropy(&logits, &labels, 0.1), &format!("cross_entropy: {expected}"));
            assert_error(cross_entropy_each(&logits, &labels), &format!("cross_entropy_each: {expected}"));
        };
        let new = |labels: [u32; 2]| Tensor::new(&labels, &CPU).unwrap();
        let signed = |labels: [i64; 2]| Tensor::new(&labels, &CPU).unwrap();
        check(new([0, 5]), "5 in labels at [1], expected 0 to 4");
        check(new([u32::MAX, 4]), "4294967295 in labels at [0], expected 0 to 4");
        check(signed([4, -1]), "-1 in labels at [1], expected 0 to 4");
        check(signed([(1 << 32) + 2, 0]), "4294967298 in labels at [0], expected 0 to 4");
        check(signed([i64::MIN, 0]), "-9223372036854775808 in labels at [0], expected 0 to 4");
        check(Tensor::new(&[255_u8, 0], &CPU).unwrap(), "255 in labels at [0], expected 0 to 4");
        for wrong in FLOATS {
            let expected = format!("labels of type {}, expected u8, u32 or i64", wrong.as_str());
            check(ones(&[2], wrong), &expected);
        }
        check(
            ones(&[2], DType::U32).to_dtype(DType::I32).unwrap(),
            "labels of type i32, expected u8, u32 or i64",
        );
        check(new([0, 1]).reshape((2, 1)).unwrap(), "labels of shape [2, 1], expected [2]");
        // Loss and gradient depend neither on the labels' type nor on their layout.
        let losses = [
            new([4, 1]),
            signed([4, 1]),
            Tensor::new(&[4_u8, 1], &CPU).unwrap(),
            Tensor::new(&[[9_u32, 4], [9, 1]], &CPU).unwrap().narrow(1, 1, 1).unwrap().squeeze(1).unwrap(),
        ]
        .map(|labels| {
            let logits = var(&[2, 5], dtype);
            let loss = cross_entropy(&logits, &labels, 0.1).unwrap();
            let grads = backward(&loss).unwrap();
            let all = [loss.flatten_all().unwrap(), grads.get(&logits).unwrap().flatten_all().unwrap()];
            Tensor::cat(&all, 0).unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap()
        });
        assert!(losses.iter().all(|loss| *loss == losses[0]), "{losses:?}");
    }
    for smoothing in [-0.25, 1.5, f64::NAN, f64::INFINITY] {
        let expected = format!("cross_entropy: smoothing is {smoothing:?}, expected 0 to 1");
        assert_error(
            cross_entropy(&ones(&[1, 2], DType::F32), &ones(&[1], DType::U32), smoothing),
            &expected,
        );
    }
    let labels = ones(&[2], DType::U32);
    assert_error(cross_entropy(&labels, &labels, 0.0), "cross_entropy: logits of shape [2], expected (n, c)");
    let logits = ones(&[2, 3], DType::U32);
    assert_error(
        cross_entropy(&logits, &labels, 0.0),
        "cross_entropy: logits of type u32, expected f32, f64, bf16 or f16",
    );
    let nothing = ones(&[0], DType::U32);
    assert_error(
        cross_entropy(&ones(&[0, 3], DType::F64), &nothing, 0.0),
        "cross_entropy: empty logits [0, 3]",
    );
    assert_error(
        cross_entropy_each(&ones(&[2, 0], DType::F64), &labels),
        "cross_entropy_each: empty logits [2, 0]",
    );
}

/// The look-ups by their names, of ids `(2, 3)` in a table of 4 rows.
fn look_ups(ids: &Tensor, table: &Tensor) -> Vec<(&'static str, Result<Tensor>)> {
    let (dtype, d) = (table.dtype(), table.dims().last().copied().unwrap());
    let (positions, mask) = (ones(&[3, d], dtype), ones(&[2, 3], dtype));
    let (w_ih, w_hh, bias) = (ones(&[8, d], dtype), ones(&[8, 2], dtype), ones(&[8], dtype));
    let layer = LstmLayer {
        w_ih: &w_ih,
        w_hh: &w_hh,
        b_ih: &bias,
        b_hh: &bias,
        mask: Some(&mask),
        reverse: false,
        precision: Precision::F32,
    };
    vec![
        ("embedding", embedding(ids, table)),
        ("embedding_at_positions", embedding_at_positions(ids, table, 1.0, &positions, None)),
        ("lstm", layer.last(Sequence::Tokens { ids, table })),
    ]
}

#[test]
fn ids_must_be_below_the_number_of_rows() {
    for dtype in FLOATS {
        let table = ones(&[4, 3], dtype);
        let check = |ids: &Tensor, table: &Tensor, expected: &str| {
            for (name, result) in look_ups(ids, table) {
                assert_error(result, &format!("{name}: {expected}"));
            }
        };
        let ids = |at: usize, id: i64| {
            let mut ids = [0_i64; 6];
            ids[at] = id;
            Tensor::from_slice(&ids, (2, 3), &CPU).unwrap()
        };
        let good = ids(0, 3);
        for as_type in [DType::U8, DType::U32, DType::I64] {
            for (_, result) in look_ups(&good.to_dtype(as_type).unwrap(), &table) {
                accepted(result);
            }
        }
        check(&ids(5, 4), &table, "4 in ids at [1, 2], expected 0 to 3");
        check(&ids(1, -7), &table, "-7 in ids at [0, 1], expected 0 to 3");
        check(&ids(3, (1 << 40) + 1), &table, "1099511627777 in ids at [1, 0], expected 0 to 3");
        let byte = ids(4, 200).to_dtype(DType::U8).unwrap();
        check(&byte, &table, "200 in ids at [1, 1], expected 0 to 3");
        let word = ids(2, i64::from(u32::MAX)).to_dtype(DType::U32).unwrap();
        check(&word, &table, "4294967295 in ids at [0, 2], expected 0 to 3");
        for wrong in FLOATS {
            let expected = format!("ids of type {}, expected u8, u32 or i64", wrong.as_str());
            check(&ones(&[2, 3], wrong), &table, &expected);
        }
        let flat = ids(0, 0).flatten_all().unwrap();
        for (result, name) in [
            (embedding(&flat, &table), "embedding"),
            (embedding_at_positions(&flat, &table, 1.0, &table, None), "embedding_at_positions"),
        ] {
            assert_error(result, &format!("{name}: ids of shape [6], expected (b, l)"));
        }
        assert_error(embedding(&good, &flat), "embedding: table of shape [6], expected (v, d)");
        for empty in [[0, 3], [4, 0], [0, 0]] {
            let expected = format!("empty ids [2, 3] or table {empty:?}");
            check(&good, &ones(&empty, dtype), &expected);
        }
        for empty in [[0, 3], [2, 0]] {
            let result = embedding(&ones(&empty, DType::U32), &table);
            assert_error(result, &format!("embedding: empty ids {empty:?} or table [4, 3]"));
        }
        check(&good, &ones(&[4, 3], DType::U32), "table of type u32, expected f32, f64, bf16 or f16");
        let run =
            |gain, positions: &Tensor, drop| embedding_at_positions(&good, &table, gain, positions, drop);
        let positions = ones(&[3, 3], dtype);
        for gain in [f64::NAN, f64::NEG_INFINITY] {
            let expected = format!("embedding_at_positions: gain is {gain:?}, expected a finite number");
            assert_error(run(gain, &positions, None), &expected);
        }
        let expected = "embedding_at_positions: positions of shape [4, 3], expected [3, 3]";
        assert_error(run(1.0, &table, None), expected);
        let expected = "embedding_at_positions: p is 1.0, expected 0 or more and below 1";
        assert_error(run(1.0, &positions, Some(drop_at(1.0))), expected);
    }
}
