//! Windows that do not fit, and empty inputs.

use lrlab_kernels::{
    Precision, attention, conv2d, dropout, gelu, global_avg_pool2d, layer_norm, linear, max_pool2d, relu,
    weighted_sum,
};

use super::{FLOATS, assert_error, drop_at, encoder, encoder_on, ones};
use crate::harness::lstm;

#[test]
fn windows_that_do_not_fit_are_rejected() {
    for dtype in FLOATS {
        let pool =
            |x: &[usize], kernel, stride, padding| max_pool2d(&ones(x, dtype), kernel, stride, padding);
        assert_error(pool(&[1, 1, 4, 4], 0, 1, 0), "max_pool2d: kernel 0, expected at least 1");
        assert_error(pool(&[1, 1, 4, 4], 2, 0, 0), "max_pool2d: stride 0, expected at least 1");
        let expected = "max_pool2d: padding 2, expected at most half the kernel of 3";
        assert_error(pool(&[1, 1, 4, 4], 3, 1, 2), expected);
        let expected = "max_pool2d: kernel 7 is larger than the input [1, 1, 9, 4] with padding 1";
        assert_error(pool(&[1, 1, 9, 4], 7, 1, 1), expected);
        assert_error(pool(&[1, 0, 4, 4], 2, 2, 0), "max_pool2d: empty input [1, 0, 4, 4]");
        assert_error(pool(&[4, 4], 2, 2, 0), "max_pool2d: x of shape [4, 4], expected (n, c, h, w)");
        let conv = |x: &[usize], weight: &[usize], stride, padding| {
            conv2d(&ones(x, dtype), &ones(weight, dtype), stride, padding, Precision::F32)
        };
        let picture = [2, 3, 4, 5];
        assert_error(conv(&picture, &[2, 3, 3, 3], 0, 1), "conv2d: stride 0, expected at least 1");
        let expected = "conv2d: kernel (7, 3) is larger than the padded input (6, 7)";
        assert_error(conv(&picture, &[2, 3, 7, 3], 1, 1), expected);
        assert_error(conv(&picture, &[2, 2, 3, 3], 1, 1), "conv2d: input has 3 channels, weight 2");
        assert_error(
            conv(&picture, &[3, 3, 3], 1, 1),
            "conv2d: weight of shape [3, 3, 3], expected (o, c, kh, kw)",
        );
        assert_error(
            conv(&[3, 4, 5], &[2, 3, 3, 3], 1, 1),
            "conv2d: x of shape [3, 4, 5], expected (n, c, h, w)",
        );
        for at in 0..4 {
            let mut dims = picture;
            dims[at] = 0;
            let mut weight = [2, 3, 1, 1];
            weight[1] = dims[1];
            assert!(conv(&dims, &weight, 1, 0).is_err_and(|error| error.to_string().contains("empty input")));
            assert_error(
                global_avg_pool2d(&ones(&dims, dtype)),
                &format!("global_avg_pool2d: empty input {dims:?}"),
            );
        }
    }
}

#[test]
fn empty_inputs_are_rejected() {
    for dtype in FLOATS {
        let x = |dims: &[usize]| ones(dims, dtype);
        for dims in [[0, 2, 3], [2, 0, 3], [2, 2, 0]] {
            let (b, l, d) = (dims[0], dims[1], dims[2]);
            let result = layer_norm(&x(&dims), &x(&[d]), &x(&[d]), 1e-5);
            assert_error(result, &format!("layer_norm: empty input {dims:?}"));
            let result = linear(&x(&dims), &x(&[4, d]), None, Precision::F32);
            assert_error(result, &format!("linear: empty input {dims:?}"));
            assert_error(
                weighted_sum(&x(&dims), &x(&[b, l])),
                &format!("weighted_sum: empty input {dims:?}"),
            );
            let bias = x(&[8]);
            let result = lstm(&x(&dims), [&x(&[8, d]), &x(&[8, 2]), &bias, &bias], &x(&[b, l]), false);
            assert_error(result, &format!("lstm: empty input {:?}", (b, l, d)));
            let q = x(&[b, 1, l, d]);
            let result = attention(&q, &q, &q, &x(&[b, l]), None, Precision::F32);
            assert_error(result, &format!("attention: empty input {:?}", q.dims()));
            let result = encoder_on(&x(&dims), &x(&[b, l]), dtype, |_| ());
            assert_error(result, &format!("encoder: empty input {dims:?}"));
            // Element-wise operators map an empty tensor to an empty tensor.
            for result in [relu(&x(&dims)), gelu(&x(&dims)), dropout(&x(&dims), drop_at(0.5))] {
                assert_eq!(result.unwrap().dims(), dims);
            }
        }
        let expected = "encoder: 3 heads do not divide a width of 4";
        assert_error(encoder(dtype, |layer| layer.heads = 3), expected);
        assert_error(encoder(dtype, |layer| layer.heads = 0), "encoder: empty input [2, 3, 4]");
    }
}
