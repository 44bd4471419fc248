//! Batches of examples that a device holds.

use candle_core::{Device, Tensor};
use lrlab_kernels::{DevicePictures, DeviceTokens, PictureView};

fn plain(picture: u32) -> PictureView {
    PictureView { picture, shift: (0, 0), flip: false, blank: (0..0, 0..0) }
}

fn values(batch: &Tensor) -> Vec<f32> {
    batch.flatten_all().unwrap().to_vec1().unwrap()
}

/// Two pictures of two channels, 2×3; a byte becomes itself in the first channel and itself and a half in the second.
fn pictures() -> DevicePictures {
    let pixels: Vec<u8> = (1..=24).collect();
    let table = |more: f32| std::array::from_fn(|byte| byte as f32 + more);
    DevicePictures::upload(&Device::Cpu, &pixels, [2, 2, 3], &[table(0.0), table(0.5)]).unwrap()
}

#[test]
fn pictures_are_moved_then_mirrored_then_blanked() {
    let check = |view: PictureView, first: [f32; 6], second: [f32; 6]| {
        let batch = pictures().batch(std::slice::from_ref(&view)).unwrap();
        assert_eq!(batch.dims(), [1, 2, 2, 3]);
        assert_eq!(values(&batch), [first, second].concat(), "{view:?}");
    };
    check(plain(0), [1., 2., 3., 4., 5., 6.], [7.5, 8.5, 9.5, 10.5, 11.5, 12.5]);
    let moved = PictureView { shift: (1, -1), ..plain(1) };
    check(moved.clone(), [0., 16., 17., 0., 0., 0.], [0.5, 22.5, 23.5, 0.5, 0.5, 0.5]);
    let mirrored = PictureView { flip: true, ..moved };
    check(mirrored.clone(), [17., 16., 0., 0., 0., 0.], [23.5, 22.5, 0.5, 0.5, 0.5, 0.5]);
    let blanked = PictureView { blank: (0..1, 1..9), ..mirrored };
    check(blanked, [17., 0., 0., 0., 0., 0.], [23.5, 0., 0., 0.5, 0.5, 0.5]);
    for shift in [(isize::MIN, 0), (0, isize::MAX), (2, 0), (0, -3)] {
        check(PictureView { shift, ..plain(0) }, [0.; 6], [0.5; 6]);
    }
}

#[test]
fn batches_keep_the_order_of_pictures() {
    let (pictures, views) = (pictures(), [plain(1), plain(0), plain(1)]);
    let one = |view: &PictureView| values(&pictures.batch(std::slice::from_ref(view)).unwrap());
    assert_eq!(values(&pictures.batch(&views).unwrap()), views.iter().flat_map(one).collect::<Vec<_>>());
    assert_eq!(pictures.batch(&[]).unwrap().dims(), [0, 2, 2, 3]);
    let error = pictures.batch(&[plain(0), plain(2)]).unwrap_err().to_string();
    assert!(error.contains("pictures: picture 2 of 2, counted from 0"), "{error}");
}

#[test]
fn pictures_of_other_sizes_are_rejected() {
    let upload = |bytes: usize, shape, tables: usize| {
        DevicePictures::upload(&Device::Cpu, &vec![0; bytes], shape, &vec![[0.0; 256]; tables])
    };
    assert!(upload(24, [2, 2, 3], 2).is_ok() && upload(0, [2, 2, 3], 2).is_ok());
    for (bytes, shape, tables) in [
        (23, [2, 2, 3], 2),
        (24, [2, 2, 3], 3),
        (24, [2, 0, 3], 2),
        (0, [0, 2, 3], 0),
        (0, [1, usize::MAX, 2], 1),
        (0, [1, 1 << 16, 1 << 16], 1),
    ] {
        let error = upload(bytes, shape, tables).err().unwrap().to_string();
        let expected = match bytes {
            0 => format!("pictures: a picture of {shape:?}, expected 1 to 2147483647 values"),
            _ if shape.contains(&0) => format!("pictures: a picture of {shape:?}, expected 1 to"),
            _ => format!("pictures: {bytes} bytes and {tables} tables for {shape:?}"),
        };
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
#[expect(clippy::reversed_empty_ranges, reason = "such a span is invalid")]
fn sequences_stand_before_their_padding() {
    let tokens = DeviceTokens::upload(&Device::Cpu, &[5, 6, 7, 8, 9]).unwrap();
    let (ids, mask) = tokens.batch(&[3..5, 0..3, 5..5]).unwrap();
    assert_eq!(ids.to_vec2::<u32>().unwrap(), [[8, 9, 0], [5, 6, 7], [0, 0, 0]]);
    assert_eq!(mask.to_vec2::<f32>().unwrap(), [[1., 1., 0.], [1., 1., 1.], [0., 0., 0.]]);
    assert_eq!(tokens.batch(&[]).unwrap().0.dims(), [0, 0]);
    assert_eq!(tokens.batch(&[1..1, 2..2]).unwrap().1.dims(), [2, 0]);
    for bad in [4..6, 3..2, 6..6] {
        let error = tokens.batch(&[0..1, bad.clone()]).unwrap_err().to_string();
        let expected = format!("tokens: a sequence from {} to {} of 5 ids", bad.start, bad.end);
        assert!(error.starts_with(&expected), "{error}");
    }
}
