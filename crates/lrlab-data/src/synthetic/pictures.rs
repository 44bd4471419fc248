//! Pictures whose class is the direction of a grating.
//!
//! Phase, wavelength, colour and contrast are random, so the mean picture of every class is the same grey and no linear
//! function of the pixels separates the classes. A network learns oriented edges within a few epochs.

use std::f64::consts::{PI, TAU};

use lrlab_random::{Purpose, Stream};

use crate::SyntheticPictures;

/// The probability that a training label is the next class instead of the true one. Pair flipping is a hard kind of label
/// noise, because it shifts the decision boundary between neighbouring classes (Patrini et al., CVPR 2017).
pub(crate) const LABEL_NOISE: f64 = 0.3;
/// The standard deviation of the noise of a pixel, in bytes.
const PIXEL_NOISE: f64 = 24.0;

pub(crate) struct Part {
    /// `(picture, channel, row, column)`.
    pub(crate) pixels: Vec<u8>,
    /// The true classes.
    pub(crate) labels: Vec<u32>,
    /// The labels with noise, for training.
    pub(crate) noisy: Vec<u32>,
}

/// Returns the pictures for training and validation, and the test pictures.
pub(crate) fn generate(settings: &SyntheticPictures) -> (Part, Part) {
    (part(settings, "train", settings.train), part(settings, "test", settings.test))
}

fn part(settings: &SyntheticPictures, name: &str, n: usize) -> Part {
    let stream = Stream::new(settings.seed, Purpose::Synthetic, name);
    let classes = settings.classes.max(1) as u64;
    let mut pixels = Vec::with_capacity(n * 3 * settings.size * settings.size);
    let (mut labels, mut noisy) = (Vec::with_capacity(n), Vec::with_capacity(n));
    for index in 0..n as u64 {
        let draw = stream.child(index);
        let class = index % classes;
        labels.push(class as u32);
        let wrong = draw.uniform(0) < LABEL_NOISE;
        noisy.push((if wrong { (class + 1) % classes } else { class }) as u32);
        paint(draw, class as f64 / classes as f64 * PI, settings.size, &mut pixels);
    }
    Part { pixels, labels, noisy }
}

fn paint(draw: Stream, angle: f64, size: usize, pixels: &mut Vec<u8>) {
    let angle = angle + (draw.uniform(2) - 0.5) * 0.3;
    let frequency = TAU / (4.0 + 3.0 * draw.uniform(3));
    let phase = TAU * draw.uniform(4);
    let contrast = 35.0 + 30.0 * draw.uniform(5);
    let noise = draw.child(0);
    for channel in 0..3 {
        let weight = contrast
            * (0.4 + 0.6 * draw.uniform(6 + channel))
            * draw.uniform(9 + channel).mul_add(2.0, -1.0).signum();
        let background = 96.0 + 64.0 * draw.uniform(12 + channel);
        for y in 0..size {
            for x in 0..size {
                let position = (channel as usize * size + y) * size + x;
                let wave = libm::sin(
                    frequency * (x as f64 * libm::cos(angle) + y as f64 * libm::sin(angle)) + phase,
                );
                let value = background + weight * wave + PIXEL_NOISE * noise.normal(position as u64);
                pixels.push(value.round().clamp(0.0, 255.0) as u8);
            }
        }
    }
}
