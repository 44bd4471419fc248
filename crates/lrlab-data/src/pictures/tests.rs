use lrlab_random::Purpose;

use super::*;

const AUGMENT: AugmentConfig = AugmentConfig { crop_padding: 4, flip: true, cutout: 8 };

fn stream(seed: u64, epoch: u64) -> Stream {
    Stream::new(seed, Purpose::Augment, "pictures").child(epoch)
}

fn random_pictures(n: usize) -> PictureSplit {
    let stream = Stream::new(0, Purpose::Synthetic, "pictures");
    let pixels = (0..n * 3 * 12 * 10).map(|i| 1 + stream.below(i as u64, 255) as u8).collect();
    let pictures = Pictures { channels: 3, height: 12, width: 10, pixels: Pixels::Memory(pixels) };
    let rows: Arc<[u32]> = (0..n as u32).collect();
    let normalisation = Arc::new(Normalisation::of(&pictures, &rows).unwrap());
    PictureSplit { places: Arc::clone(&rows), rows, pictures: Arc::new(pictures), normalisation }
}

fn values(split: &PictureSplit, indices: &[u32], augment: Option<(AugmentConfig, Stream)>) -> Vec<f32> {
    let Features::Pictures(tensor) = features(split, &split.views(indices, augment)).unwrap() else {
        unreachable!()
    };
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn training_pictures_have_mean_0_and_deviation_1() {
    let split = random_pictures(40);
    let all: Vec<u32> = (0..40).collect();
    let values = values(&split, &all, None);
    for channel in 0..3 {
        let of_channel: Vec<f64> = values
            .chunks_exact(120)
            .skip(channel)
            .step_by(3)
            .flatten()
            .map(|&value| f64::from(value))
            .collect();
        let n = of_channel.len() as f64;
        let mean = of_channel.iter().sum::<f64>() / n;
        let square = of_channel.iter().map(|x| x * x).sum::<f64>() / n;
        assert!(mean.abs() < 1e-5 && (square - 1.0).abs() < 1e-5, "{mean} {square}");
    }
}

#[test]
fn a_constant_channel_becomes_0() {
    let pictures = Pictures { channels: 1, height: 1, width: 2, pixels: Pixels::Memory(vec![9; 2]) };
    assert_eq!(Normalisation::of(&pictures, &[0]).unwrap().tables[0][9], 0.0);
}

/// The reference, pixel by pixel from the definition: crop of the padded picture, flip, then blank square.
fn reference(split: &PictureSplit, view: &View) -> Vec<f32> {
    let pictures = &split.pictures;
    let (height, width) = (pictures.height as isize, pictures.width as isize);
    let mut buffer = Vec::new();
    let source = pictures.picture(view.picture as usize, &mut buffer).unwrap();
    let mut out = Vec::new();
    for channel in 0..3 {
        for y in 0..height {
            for x in 0..width {
                let across = if view.flip { width - 1 - x } else { x };
                let (row, column) = (y + view.shift.0, across + view.shift.1);
                let inside = (0..height).contains(&row) && (0..width).contains(&column);
                let byte =
                    if inside { source[((channel * height + row) * width + column) as usize] } else { 0 };
                let blank = view.blank.0.contains(&(y as usize)) && view.blank.1.contains(&(x as usize));
                let value = split.normalisation.tables[channel as usize][usize::from(byte)];
                out.push(if blank { 0.0 } else { value });
            }
        }
    }
    out
}

#[test]
fn augmentation_equals_its_definition() {
    let split = random_pictures(60);
    for augment in [
        AugmentConfig { flip: false, cutout: 0, ..AUGMENT },
        AugmentConfig { crop_padding: 0, cutout: 0, ..AUGMENT },
        AugmentConfig { crop_padding: 0, flip: false, ..AUGMENT },
        AUGMENT,
        AugmentConfig { crop_padding: 20, cutout: 30, ..AUGMENT },
    ] {
        for index in 0..60 {
            let view = View::draw(augment, stream(0, 0), index, index, &split.pictures);
            assert_eq!(
                values(&split, &[index], Some((augment, stream(0, 0)))),
                reference(&split, &view),
                "{augment:?} {index}"
            );
        }
    }
    let off = AugmentConfig::default();
    assert_eq!(values(&split, &[1, 2], Some((off, stream(0, 0)))), values(&split, &[1, 2], None));
}

#[test]
fn draws_are_uniform_over_their_ranges() {
    let split = random_pictures(1);
    let views: Vec<View> =
        (0..4000).map(|row| View::draw(AUGMENT, stream(0, 0), row, 0, &split.pictures)).collect();
    for shift in -4..=4 {
        let rows = views.iter().filter(|view| view.shift.0 == shift).count();
        let columns = views.iter().filter(|view| view.shift.1 == shift).count();
        assert!(
            rows.abs_diff(4000 / 9) < 90 && columns.abs_diff(4000 / 9) < 90,
            "{shift}: {rows}, {columns}"
        );
    }
    assert!(views.iter().all(|view| view.shift.0.abs() <= 4 && view.shift.1.abs() <= 4));
    assert!(views.iter().filter(|view| view.flip).count().abs_diff(2000) < 150);
    assert!(views.iter().all(|view| view.blank.0.end <= 12 && view.blank.1.end <= 10));
    assert!(views.iter().any(|view| view.blank == (0..4, 0..4)), "centres reach the corner");
}

#[test]
fn a_draw_depends_only_on_seed_epoch_and_row() {
    let split = random_pictures(20);
    let augmented =
        |indices: &[u32], seed, epoch| values(&split, indices, Some((AUGMENT, stream(seed, epoch))));
    let alone = augmented(&[7], 0, 0);
    let among = augmented(&[3, 7, 1], 0, 0);
    assert_eq!(alone, among[360..720]);
    for (seed, epoch) in [(1, 0), (0, 1)] {
        assert_ne!(augmented(&[7, 8], seed, epoch), augmented(&[7, 8], 0, 0));
    }
}
