//! Reviews whose class hangs on the order of their words.
//!
//! Every review holds two judgements of one mind. A judgement is an adjective, plain ("good") or negated ("not
//! bad"); which adjectives a review holds says little about its class, what "not" stands before decides it.

use lrlab_random::{Purpose, Stream};

use crate::SyntheticReviews;

/// Probability that a training label is replaced by a random class.
pub(crate) const LABEL_NOISE: f64 = 0.25;
const POSITIVE: [&str; 6] = ["good", "great", "moving", "clever", "fresh", "funny"];
const NEGATIVE: [&str; 6] = ["bad", "dull", "flat", "weak", "tired", "stale"];
const NEGATIONS: [&str; 2] = ["not", "never"];
const THINGS: [&str; 8] = ["plot", "cast", "score", "script", "ending", "pace", "camera", "story"];
const FILLERS: [&str; 12] = [
    "i saw it on a monday",
    "my friends came along",
    "it runs for two hours",
    "the room was full",
    "it is set in a town",
    "there is a dog in it",
    "the tickets were cheap",
    "it was shot in winter",
    "we sat in the third row",
    "it opens with a train",
    "a sequel is planned",
    "the credits are long",
];

pub(crate) struct Part {
    pub(crate) texts: Vec<String>,
    /// The true classes.
    pub(crate) labels: Vec<u32>,
    /// What training sees.
    pub(crate) noisy: Vec<u32>,
}

/// The reviews for training and validation, and those for the test.
pub(crate) fn generate(settings: &SyntheticReviews) -> (Part, Part) {
    (part(settings, "train reviews", settings.train), part(settings, "test reviews", settings.test))
}

fn part(settings: &SyntheticReviews, name: &str, n: usize) -> Part {
    let stream = Stream::new(settings.seed, Purpose::Synthetic, name);
    let mut part = Part { texts: Vec::new(), labels: Vec::new(), noisy: Vec::new() };
    for index in 0..n as u64 {
        let draw = stream.child(index);
        let class = index % 2;
        part.labels.push(class as u32);
        let wrong = draw.uniform(0) < LABEL_NOISE;
        part.noisy.push(if wrong { draw.below(1, 2) } else { class } as u32);
        part.texts.push(write(&draw, class == 1));
    }
    part
}

fn write(draw: &Stream, positive: bool) -> String {
    let pick = |at: u64, words: &[&'static str]| words[draw.below(at, words.len() as u64) as usize];
    let judgement = |at: u64| {
        let negated = draw.uniform(at) < 0.4;
        let adjective = pick(at + 1, if positive == negated { &NEGATIVE } else { &POSITIVE });
        let negation = if negated { format!("{} ", pick(at + 2, &NEGATIONS)) } else { String::new() };
        format!("the {} was {negation}{adjective}", pick(at + 3, &THINGS))
    };
    let filler = |at: u64| pick(at, &FILLERS).to_owned();
    let mut sentences = vec![judgement(10), judgement(20)];
    for at in 0..1 + draw.below(30, 4) {
        let place = draw.below(40 + at, sentences.len() as u64 + 1) as usize;
        sentences.insert(place, filler(50 + at));
    }
    sentences.join(" . ") + " ."
}
