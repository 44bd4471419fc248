//! The layouts and counts of the device code, read from its source.

use std::mem::offset_of;

use super::*;
use crate::tiles::Way;

const KERNELS: [&str; 2] =
    [include_str!("../cuda/kernels/kernels.cu"), include_str!("../cuda/kernels/conv.cu")];

/// The fields of a struct of the device code, in bytes from its start, and its size.
fn declared(name: &str) -> (Vec<(String, usize)>, usize) {
    let head = format!("struct {name} {{");
    let source = KERNELS.iter().find(|source| source.contains(&head)).expect(name);
    let body = source.split_once(&head).and_then(|(_, rest)| rest.split_once('}')).expect(name).0;
    let code: Vec<&str> = body.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let (mut fields, mut end) = (Vec::new(), 0_usize);
    for declaration in code.join(" ").split(';').map(str::trim).filter(|text| !text.is_empty()) {
        let (kind, names) = declaration.split_once(' ').expect(declaration);
        let size = match kind {
            "u64" => 8,
            "int" | "float" | "unsigned" => 4,
            other => panic!("{other} in {name}"),
        };
        for field in names.split(',').map(str::trim) {
            let (field, count) = match field.split_once('[') {
                Some((field, rest)) => (field, rest.trim_end_matches(']').parse().expect(field)),
                None => (field, 1),
            };
            end = end.next_multiple_of(size);
            fields.push((field.to_owned(), end));
            end += size * count;
        }
    }
    (fields, end)
}

macro_rules! check {
    ($kind:ident, $name:literal, $($field:ident $(. $index:literal)?),*) => {
        let (fields, size) = declared($name);
        assert_eq!(size, size_of::<$kind>(), $name);
        let ours = [$((
            concat!(stringify!($field), $(stringify!($index))?).to_owned(),
            offset_of!($kind, $field) $(+ 4 * ($index - 1))?,
        )),*];
        assert_eq!(fields, ours, $name);
    };
}

#[test]
fn structs_are_laid_out_as_the_device_code_declares_them() {
    check!(Weights, "Weights", planes, rows, c, k, size);
    check!(Statistics, "Statistics", running_mean, running_var, batch, c, count);
    check!(Parameters, "Parameters", var, grad, first, second, decay, size);
    check!(SgdRule, "SgdRule", lr, momentum, keep, nesterov);
    check!(AdamRule, "AdamRule", keep.1, keep.2, take.1, take.2, rate, root, eps, lr, decoupled);
    check!(Window, "Window", h, w, oh, ow, kernel, stride, padding);
    check!(Conv, "Conv", n, c, h, w, o, kh, kw, stride, padding, oh, ow, rows, columns, depth, part, join);
    let (fields, size) = declared("Augmented");
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["picture", "down", "right", "flip", "top", "bottom", "left", "end"]);
    assert_eq!(size, size_of::<[i32; 8]>());
    assert_eq!(declared("Span").1, size_of::<[u32; 2]>());
    // Entries that a launch does not fill have no values.
    assert_eq!((Weights::empty().size, Parameters::empty().size), ([0; WEIGHTS], [0; PARAMETERS]));
    assert_eq!(Statistics::empty().count, [0; NORMS]);
}

#[test]
fn words_are_the_arguments_bits() -> candle_core::Result<()> {
    let words = crate::arguments::words![7_usize, -1_i32, u32::MAX, true, 1.0_f32, u64::MAX];
    assert_eq!(words.map(|word| word.bits), [7, 0xffff_ffff, 0xffff_ffff, 1, 0x3f80_0000, u64::MAX]);
    Word::check("gather_rows", words)?;
    Word::check("gather_rows", crate::arguments::words![MOST])
}

#[test]
fn sizes_beyond_32_bits_are_rejected() {
    let message = |result: Result<()>| result.expect_err("too large").to_string();
    for size in [MOST + 1, u32::MAX as usize + 3, usize::MAX] {
        let words = crate::arguments::words![1_u64, 3_usize, size];
        let expected = format!("kernel sort_places: a size of {size}, a GPU takes at most 2147483647");
        assert!(message(Word::check("sort_places", words)).starts_with(&expected), "{size}");
        let expected = format!("lstm: {size} places, a GPU takes at most 2147483647");
        assert!(message(int("lstm", "places", size).map(|_| ())).starts_with(&expected), "{size}");
        let expected = format!("product: {size} rows or columns of a matrix, a GPU takes at most 2147483647");
        for (a, b) in [((size, 1), (1, 1)), ((1, 1), (1, size)), ((0, size), (size, 0))] {
            let [a, b] = [a, b].map(|(rows, columns)| Operand::new(0, rows, columns));
            assert!(message(Gemm::new(a, b).map(|_| ())).starts_with(&expected), "{a:?} {b:?}");
        }
    }
}

#[test]
fn rules_have_the_constants_of_the_step() {
    let sgd = |momentum, first| {
        let step = SgdStep { lr: 0.1, momentum, nesterov: true, weight_decay: 7.0, first };
        SgdRule::new(step)
    };
    assert_eq!(sgd(0.9, true), SgdRule { lr: 0.1, momentum: 0.9, keep: 0.0, nesterov: 1 });
    assert_eq!(sgd(0.9, false), SgdRule { lr: 0.1, momentum: 0.9, keep: 0.9, nesterov: 1 });
    assert_eq!(sgd(0.0, false).keep, 0.0);
    let (lr, eps, weight_decay, step) = (0.1, 1e-8, 7.0, 2);
    let adam = AdamStep { lr, beta1: 0.9, beta2: 0.99, eps, weight_decay, decoupled: true, step };
    let rule = AdamRule::new(adam);
    assert_eq!((rule.keep, rule.lr, rule.decoupled), ([0.9, 0.99], 0.1, 1));
    // Bias corrections 1 − 0.9² and 1 − 0.99².
    assert!((rule.rate - 0.1 / 0.19).abs() < 1e-6 && (rule.root - 0.0199_f32.sqrt().recip()).abs() < 1e-4);
}

#[test]
fn windows_and_convolutions() -> candle_core::Result<()> {
    let from = Sizes { n: 2, c: 3, h: 16, w: 14 };
    let w = Window::new(from, Sizes { h: 8, w: 7, ..from }, 3, 2, 1);
    assert_eq!([w.h, w.w, w.oh, w.ow, w.kernel, w.stride, w.padding], [16, 14, 8, 7, 3, 2, 1]);
    // As an `int`, this step would be 1.
    let far = (1 << 32) + 1;
    assert_eq!(Window::new(from, Sizes { h: 1, w: 1, ..from }, 3, far, 1).stride, i32::MAX / 2);
    let g = Geometry::new((2, 3, 16, 14), (10, 3, 5, 3), far, 1)?;
    assert_eq!(Conv::new(&g, &Product::new(Way::Input, &g), false).stride, i32::MAX / 2);
    let g = Geometry::new((2, 3, 16, 14), (10, 3, 5, 3), 2, 1)?;
    for way in [Way::Forward, Way::Input, Way::Weight] {
        let product = Product::new(way, &g);
        let conv = Conv::new(&g, &product, true);
        assert_eq!([conv.n, conv.c, conv.h, conv.w], [2, 3, 16, 14]);
        assert_eq!([conv.o, conv.kh, conv.kw, conv.stride, conv.padding], [10, 5, 3, 2, 1]);
        assert_eq!([conv.oh, conv.ow], [7, 7]);
        let sizes = [product.rows, product.columns, product.depth, product.part].map(|size| size as i32);
        assert_eq!([conv.rows, conv.columns, conv.depth, conv.part], sizes);
        assert_eq!(conv.join == 1, product.parts == 1, "{way:?}");
        assert_eq!(Conv::new(&g, &product, false).join, 0);
    }
    Ok(())
}

#[test]
fn views_stay_within_the_picture() {
    let view = PictureView { picture: 7, shift: (-2, 3), flip: true, blank: (1..4, 2..9) };
    assert_eq!(augmented(&view, 12, 10), [7, -2, 3, 1, 1, 4, 2, 9]);
    let far = PictureView {
        shift: (isize::MIN, isize::MAX),
        flip: false,
        blank: (0..usize::MAX, std::ops::Range { start: 99, end: 5 }),
        ..view
    };
    assert_eq!(augmented(&far, 12, 10), [7, -12, 10, 0, 0, 12, 10, 5]);
}

/// What cuBLAS computes with these sizes, over operands one after the other.
fn multiplied(gemm: &Gemm, b: &[f64], a: &[f64], count: usize) -> Vec<f64> {
    let [rows, columns, depth] = [gemm.rows, gemm.columns, gemm.depth].map(|size| size as usize);
    let at = |of: usize, index: usize, row: usize, column: usize| {
        let (row, column) = if gemm.transposed[of] { (column, row) } else { (row, column) };
        index * gemm.stride[of] as usize + column * gemm.leading[of] as usize + row
    };
    let mut out = vec![0.0; count * gemm.output_stride() as usize];
    for index in 0..count {
        for column in 0..columns {
            for row in 0..rows {
                let terms = (0..depth).map(|k| b[at(0, index, row, k)] * a[at(1, index, k, column)]);
                out[index * rows * columns + column * rows + row] = terms.sum();
            }
        }
    }
    out
}

#[test]
fn products_are_those_of_the_operands() {
    let values =
        |count: usize, factor: usize| (0..count).map(|i| (i * factor % 17) as f64 - 8.0).collect::<Vec<_>>();
    for (m, k, n) in [(1, 1, 1), (3, 4, 5), (7, 2, 3), (1, 9, 4), (6, 5, 1)] {
        for (ta, tb, count) in [(false, false, 1), (true, false, 3), (false, true, 2), (true, true, 1)] {
            let operand = |rows, columns, transposed| {
                if transposed { Operand::new(0, columns, rows).t() } else { Operand::new(0, rows, columns) }
            };
            let (a, b) = (operand(m, k, ta), operand(k, n, tb));
            let gemm = Gemm::new(a, b).expect("they fit");
            let (xs, ys) = (values(count * m * k, 7), values(count * k * n, 5));
            let place = |of: Operand, index: usize, row: usize, column: usize| {
                let (row, column) = if of.transposed { (column, row) } else { (row, column) };
                index * of.len() + row * of.columns + column
            };
            let found = multiplied(&gemm, &ys, &xs, count);
            for index in 0..count {
                for row in 0..m {
                    for column in 0..n {
                        let terms =
                            (0..k).map(|i| xs[place(a, index, row, i)] * ys[place(b, index, i, column)]);
                        let expected: f64 = terms.sum();
                        assert_eq!(found[(index * m + row) * n + column], expected, "{a:?} {b:?}");
                    }
                }
            }
        }
    }
    let error = Gemm::new(Operand::new(0, 2, 3), Operand::new(0, 2, 3)).expect_err("3 and 2 differ");
    assert!(error.to_string().contains("do not fit"), "{error}");
    assert_eq!(Operand::new(8, 2, 3).t().at, 8, "the transpose lies where the operand does");
}

/// The arguments of a call from its opening parenthesis on, split at commas outside of brackets.
fn arguments(text: &str) -> Vec<String> {
    let (mut all, mut depth) = (vec![String::new()], 0);
    for c in text.chars() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            _ => {}
        }
        match (c, depth) {
            (_, 0) => break,
            (',', 1) => all.push(String::new()),
            ('(' | '[', 1) => {}
            _ => all.last_mut().expect("not empty").push(c),
        }
    }
    all.retain(|argument| !argument.trim().is_empty());
    all.into_iter().map(|argument| argument.trim().to_owned()).collect()
}

/// The parameters of a kernel of the device code; `None` if there is no such kernel.
fn parameters(kernel: &str) -> Option<usize> {
    let head = format!(" void {kernel}(");
    let source = KERNELS.iter().find(|source| source.contains(&head))?;
    let at = source.find(&head)? + head.len() - 1;
    Some(arguments(&source[at..]).len())
}

#[test]
fn launched_kernels_are_declared_with_as_many_parameters() {
    let sources = [
        include_str!("../cuda/activation.rs"),
        include_str!("../cuda/conv.rs"),
        include_str!("../cuda/dropout.rs"),
        include_str!("../cuda/embedding.rs"),
        include_str!("../cuda/encoder.rs"),
        include_str!("../cuda/examples.rs"),
        include_str!("../cuda/linear.rs"),
        include_str!("../cuda/loss.rs"),
        include_str!("../cuda/lstm.rs"),
        include_str!("../cuda/net.rs"),
        include_str!("../cuda/norm.rs"),
        include_str!("../cuda/product.rs"),
        include_str!("../cuda/rows.rs"),
        include_str!("../cuda/update.rs"),
    ];
    let (mut named, mut counted) = (0, 0);
    for source in sources {
        let source = source.split_whitespace().collect::<Vec<_>>().join(" ");
        for method in [".launch(", ".launch_raw(", ".each(", ".rows("] {
            for (at, _) in source.match_indices(method) {
                let call = arguments(&source[at + method.len() - 1..]);
                let literal = call.first().and_then(|name| name.strip_prefix('"')?.strip_suffix('"'));
                let Some(kernel) = literal else { continue };
                let declared = parameters(kernel);
                assert!(declared.is_some(), "there is no kernel {kernel}");
                named += 1;
                // The words are written there, or bound to a name before.
                let last = call.last().map_or("", String::as_str);
                let bound = format!("let {last} = words!");
                let words = last
                    .strip_prefix("words!")
                    .or_else(|| source[..at].rfind(&bound).map(|start| &source[start + bound.len()..]));
                if let Some(words) = words {
                    assert_eq!(Some(arguments(words).len()), declared, "{kernel}");
                    counted += 1;
                }
            }
        }
    }
    assert!(named >= 47 && counted >= 40, "{named} named, {counted} counted");
}

/// The kernels that hold the recurrent weights.
#[test]
fn every_resident_kernel_is_declared() {
    for h in [1, 33, 65, 97] {
        let kernel = crate::tiles::Resident::of(h).expect("there is one");
        let declared = format!("\nLSTM({}, {})", kernel.units, kernel.registers);
        assert!(KERNELS[0].contains(&declared), "{declared}");
    }
}
