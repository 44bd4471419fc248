//! Loads a data set and prints the duration: `cargo run --release --example load -- cifar10`.
#![expect(clippy::print_stdout, reason = "an example for the terminal")]

use std::time::Instant;

use lrlab_data::{BatchPlan, DataConfig, Files, Order, Source, SyntheticPictures, SyntheticReviews, load};

fn main() -> Result<(), lrlab_data::Error> {
    let source = match std::env::args().nth(1).as_deref() {
        Some("cifar10") => Source::Cifar10(Files::default()),
        Some("imdb") => Source::Imdb(Files::default()),
        Some("synthetic-reviews") => Source::SyntheticReviews(SyntheticReviews::default()),
        _ => Source::SyntheticPictures(SyntheticPictures::default()),
    };
    let cache = std::env::temp_dir().join("lrlab-data-example");
    let start = Instant::now();
    let data = load(&DataConfig::new(source, cache))?;
    println!("{} in {:.2?}: {:?}, {:?}", data.name, start.elapsed(), data.kind, data.duplicates);
    println!(
        "{} + {} + {} examples, digest {}",
        data.train.len(),
        data.validation.len(),
        data.test.len(),
        data.digest
    );
    for note in &data.notes {
        println!("note: {note}");
    }
    let start = Instant::now();
    let batches = data.train.batches(BatchPlan::new(128, Order::Shuffled { seed: 0, epoch: 0 }));
    let total = batches.total();
    for batch in batches {
        batch?;
    }
    println!("{total} batches of 128 in {:.2?}", start.elapsed());
    Ok(())
}
