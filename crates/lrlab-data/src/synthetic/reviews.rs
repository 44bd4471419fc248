//! Reviews whose class depends on the order of their words.
//!
//! Every review contains two consistent judgements. A judgement is an adjective, plain ("good") or negated ("not bad"). The
//! adjectives alone are nearly independent of the class; the position of "not" determines it.

use lrlab_random::{Purpose, Stream};

use crate::{Part, SyntheticReviews};

/// The probability that a training label is the other class instead of the true one.
pub(crate) const LABEL_NOISE: f64 = 0.125;
/// The probability that a judgement is negated.
const NEGATED: f64 = 0.3;
pub(crate) const POSITIVE: [&str; 6] = ["good", "great", "moving", "clever", "fresh", "funny"];
pub(crate) const NEGATIVE: [&str; 6] = ["bad", "dull", "flat", "weak", "tired", "stale"];
pub(crate) const NEGATIONS: [&str; 2] = ["not", "never"];
const THINGS: [&str; 8] = ["plot", "cast", "score", "script", "ending", "pace", "camera", "story"];
const SYLLABLES: [&str; 20] = [
    "ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "va", "we",
    "xi", "yo", "zu",
];
const FILLERS: [&str; 12] = [
    "my friends came along",
    "it runs for hours",
    "the room was full",
    "it is set in spain",
    "there is a dog in it",
    "tickets were cheap",
    "it was shot in winter",
    "we sat up front",
    "it opens with a train",
    "a sequel is planned",
    "the credits are long",
    "it rained outside",
];

/// A review.
pub(crate) struct Review {
    pub(crate) text: String,
    /// The true class.
    pub(crate) label: u32,
    /// The label with noise, for training.
    pub(crate) noisy: u32,
}

/// Generates the reviews for training and validation, or the test reviews.
pub(crate) fn generate(settings: &SyntheticReviews, part: Part) -> impl Iterator<Item = Review> {
    let (name, count) = match part {
        Part::Train => ("train reviews", settings.train),
        Part::Test => ("test reviews", settings.test),
    };
    let stream = Stream::new(settings.seed, Purpose::Synthetic, name);
    (0..count as u64).map(move |index| {
        let draw = stream.child(index);
        let class = index % 2;
        let wrong = draw.uniform(0) < LABEL_NOISE;
        Review {
            text: write(draw, class == 1),
            label: class as u32,
            noisy: (if wrong { 1 - class } else { class }) as u32,
        }
    })
}

fn write(draw: Stream, positive: bool) -> String {
    let pick = |at: u64, words: &[&'static str]| words[draw.below(at, words.len() as u64) as usize];
    let judgement = |at: u64| {
        let negated = draw.uniform(at) < NEGATED;
        let adjective = pick(at + 1, if positive == negated { &NEGATIVE } else { &POSITIVE });
        let negation = if negated { format!("{} ", pick(at + 2, &NEGATIONS)) } else { String::new() };
        format!("the {} was {negation}{adjective}", pick(at + 3, &THINGS))
    };
    let mut sentences = vec![judgement(10), judgement(20)];
    for at in 0..=draw.below(30, 2) {
        let position = draw.below(40 + at, sentences.len() as u64 + 1) as usize;
        let aside = if at == 0 {
            format!("{} plays {}", name(draw, 60), name(draw, 70))
        } else {
            pick(50 + at, &FILLERS).to_owned()
        };
        sentences.insert(position, aside);
    }
    sentences.join(" . ") + " ."
}

/// Returns one of several hundred names, which a network can memorize.
fn name(draw: Stream, at: u64) -> String {
    let syllable = |at| SYLLABLES[draw.below(at, SYLLABLES.len() as u64) as usize];
    format!("{}{}", syllable(at), syllable(at + 1))
}
