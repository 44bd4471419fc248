use std::sync::Arc;

use candle_core::Tensor;
use proptest::prelude::*;

use super::*;
use crate::collector::Collector;
use crate::dataset::{Split, Store};
use crate::pictures::{Normalisation, PictureSplit, Pictures};
use crate::pixels::Pixels;
use crate::tokens::{Sequences, TokenSplit, WIDTH, bytes};
use crate::{AugmentConfig, Error};

/// Returns a split with a sequence of each length, with tokens 10, 11, ….
fn tokens(lengths: &[usize]) -> Split {
    let mut collector = Collector::new(std::path::Path::new(""), u64::MAX);
    for &length in lengths {
        collector.add(&bytes(&(10..10 + length as u32).collect::<Vec<_>>()), length * WIDTH).unwrap();
    }
    let sequences = Sequences::new(collector.finish().unwrap()).unwrap();
    let rows: Arc<[u32]> = (0..lengths.len() as u32).collect();
    Split {
        labels: (0..lengths.len() as u32).map(|i| i % 2).collect(),
        store: Store::Tokens(TokenSplit { rows, sequences: Arc::new(sequences) }),
    }
}

fn pictures(n: usize) -> Split {
    let pictures = Pictures {
        channels: 1,
        height: 1,
        width: 2,
        pixels: Pixels::Memory((0..2 * n).map(|i| i as u8).collect()),
    };
    let rows: Arc<[u32]> = (0..n as u32).collect();
    let normalisation = Arc::new(Normalisation::of(&pictures, &rows).unwrap());
    let split = PictureSplit { places: Arc::clone(&rows), rows, pictures: Arc::new(pictures), normalisation };
    Split { labels: (0..n as u32).map(|i| i % 3).collect(), store: Store::Pictures(split) }
}

fn indices(split: &Split, plan: BatchPlan) -> Vec<Vec<u32>> {
    split.batches(plan).map(|batch| batch.unwrap().indices).collect()
}

#[test]
fn sequences_are_padded_at_the_end() {
    let batch = tokens(&[3, 1, 2]).batches(BatchPlan::new(3, Order::Sequential)).next().unwrap().unwrap();
    assert_eq!(batch.indices, [1, 2, 0], "by length");
    assert_eq!(batch.labels.to_vec1::<u32>().unwrap(), [1, 0, 0]);
    let Features::Tokens { ids, mask } = batch.features else { unreachable!() };
    assert_eq!(ids.to_vec2::<u32>().unwrap(), [[10, 0, 0], [10, 11, 0], [10, 11, 12]]);
    assert_eq!(mask.to_vec2::<f32>().unwrap(), [[1., 0., 0.], [1., 1., 0.], [1., 1., 1.]]);
}

#[test]
fn a_pass_can_start_at_any_batch() {
    let order = Order::Shuffled { seed: 1, epoch: 2 };
    for split in [tokens(&[5, 1, 4, 2, 3, 3, 9]), pictures(7)] {
        let all = indices(&split, BatchPlan::new(2, order));
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2, 1]);
        for first_batch in 0..6 {
            let batches = split.batches(BatchPlan { first_batch, ..BatchPlan::new(2, order) });
            assert_eq!(batches.total(), 4);
            assert_eq!(batches.size_hint().0, 4_usize.saturating_sub(first_batch));
            let rest: Vec<_> = batches.map(|batch| batch.unwrap().indices).collect();
            assert_eq!(rest, all[first_batch.min(4)..]);
        }
    }
}

/// For every kind of data, order and first batch, prefetched batches are bit-identical to batches made on demand.
#[test]
fn prefetched_batches_are_identical() {
    let bits = |tensor: &Tensor| -> Vec<u32> {
        let flat = tensor.flatten_all().unwrap().to_dtype(candle_core::DType::F32).unwrap();
        flat.to_vec1::<f32>().unwrap().iter().map(|x| x.to_bits()).collect()
    };
    let contents = |batch: Result<Batch, Error>| {
        let Batch { features, labels, indices } = batch.unwrap();
        let features = match features {
            Features::Pictures(pictures) => vec![bits(&pictures)],
            Features::Tokens { ids, mask } => vec![bits(&ids), bits(&mask)],
        };
        (features, bits(&labels), indices)
    };
    let augment = AugmentConfig { crop_padding: 1, flip: true, cutout: 1 };
    for split in [tokens(&[5, 1, 4, 2, 3, 3, 9]), pictures(7)] {
        for order in [Order::Sequential, Order::Shuffled { seed: 1, epoch: 2 }] {
            for (depth, first_batch) in [(0, 0), (1, 0), (2, 1), (3, 3), (9, 0), (2, 5), (usize::MAX, 0)] {
                let plan = BatchPlan { augment, first_batch, ..BatchPlan::new(2, order) };
                let here: Vec<_> = split.batches(plan.clone()).map(contents).collect();
                let ahead: Vec<_> = split.batches(plan).prefetch(depth).map(contents).collect();
                assert_eq!(here, ahead, "{order:?}, {depth} ahead, from batch {first_batch}");
            }
        }
    }
    let mut none = pictures(5).batches(BatchPlan::new(0, Order::Sequential)).prefetch(2);
    assert!(matches!(none.next(), Some(Err(Error::Setting { setting: "batch_size", .. }))));
    assert!(none.next().is_none());
}

/// Recipes and raw data give the same examples as the batches.
#[test]
fn recipes_match_the_batches() {
    let order = Order::Shuffled { seed: 1, epoch: 2 };
    let plan = BatchPlan { first_batch: 1, ..BatchPlan::new(2, order) };
    for split in [tokens(&[5, 1, 4, 2, 3, 3, 9]), pictures(7)] {
        let (recipes, batches) = (split.recipes(plan.clone()), split.batches(plan.clone()));
        assert_eq!((recipes.total(), recipes.size_hint()), (batches.total(), batches.size_hint()));
        let mut seen = 0;
        for (recipe, batch) in recipes.zip(batches) {
            let (recipe, batch) = (recipe.unwrap(), batch.unwrap());
            assert_eq!(recipe.indices, batch.indices);
            assert_eq!(recipe.labels, batch.labels.to_vec1::<u32>().unwrap());
            match (recipe.examples, split.raw().unwrap(), batch.features) {
                (Examples::Tokens(spans), Raw::Tokens { ids }, Features::Tokens { ids: made, .. }) => {
                    for (span, row) in spans.iter().zip(made.to_vec2::<u32>().unwrap()) {
                        let sequence = &ids[span.start as usize..span.end as usize];
                        assert_eq!(row[..span.len()], *sequence);
                        assert!(row[span.len()..].iter().all(|&id| id == 0));
                    }
                }
                (
                    Examples::Pictures(views),
                    Raw::Pictures { pixels, shape, tables },
                    Features::Pictures(made),
                ) => {
                    assert_eq!(shape, [1, 1, 2]);
                    let made = made.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                    for (view, row) in views.iter().zip(made.chunks_exact(2)) {
                        assert_eq!(*view, View { shift: (0, 0), flip: false, blank: (0..0, 0..0), ..*view });
                        let bytes = &pixels[2 * view.picture as usize..][..2];
                        assert_eq!(
                            row,
                            bytes.iter().map(|&byte| tables[0][usize::from(byte)]).collect::<Vec<_>>()
                        );
                    }
                }
                _ => unreachable!(),
            }
            seen += 1;
        }
        assert_eq!(seen, 3);
    }
    assert!(matches!(
        pictures(5).recipes(BatchPlan::new(0, order)).next(),
        Some(Err(Error::Setting { setting: "batch_size", .. }))
    ));
}

#[test]
fn the_order_depends_on_seed_and_epoch() {
    let split = pictures(50);
    let order = |seed, epoch| indices(&split, BatchPlan::new(50, Order::Shuffled { seed, epoch })).concat();
    assert_eq!(order(0, 0), order(0, 0));
    assert_ne!(order(0, 0), order(0, 1));
    assert_ne!(order(0, 0), order(1, 0));
    assert_eq!(indices(&split, BatchPlan::new(50, Order::Sequential)).concat(), (0..50).collect::<Vec<_>>());
}

#[test]
fn batch_size_0_is_a_single_error() {
    let mut batches = pictures(5).batches(BatchPlan::new(0, Order::Sequential));
    assert_eq!(batches.total(), 0);
    assert!(matches!(batches.next(), Some(Err(Error::Setting { setting: "batch_size", .. }))));
    assert!(batches.next().is_none());
    assert!(pictures(0).batches(BatchPlan::new(4, Order::Sequential)).next().is_none());
}

#[test]
fn grouping_by_length_reduces_padding() {
    let lengths: Vec<usize> = (0..2000).map(|i| 1 + (i * 7919) % 200).collect();
    let split = tokens(&lengths);
    let order = Order::Shuffled { seed: 0, epoch: 0 };
    let padded: usize = indices(&split, BatchPlan::new(16, order))
        .iter()
        .map(|batch| batch.len() * batch.iter().map(|&i| lengths[i as usize]).max().unwrap())
        .sum();
    let tokens: usize = lengths.iter().sum();
    assert!(padded < tokens * 11 / 10, "{padded} places for {tokens} tokens");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_example_occurs_once(
        lengths in prop::collection::vec(1_usize..30, 1..400),
        batch_size in 1_usize..40,
        seed in 0_u64..5,
        epoch in 0_u64..3,
        shuffled: bool,
    ) {
        let order = if shuffled { Order::Shuffled { seed, epoch } } else { Order::Sequential };
        for split in [tokens(&lengths), pictures(lengths.len())] {
            let batches = indices(&split, BatchPlan::new(batch_size, order));
            prop_assert!(batches[..batches.len() - 1].iter().all(|batch| batch.len() == batch_size));
            prop_assert_eq!(batches.len(), lengths.len().div_ceil(batch_size));
            let mut seen = batches.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len() as u32).collect::<Vec<_>>());
        }
    }
}
