//! The order of the examples.

use lrlab_random::{Purpose, Stream};

use super::plan::{BatchPlan, Order};
use crate::dataset::{Split, Store};

/// The number of batches within which training sequences are grouped by length: enough to save most of the padding, and few
/// enough to keep batches mixed.
const WINDOW: usize = 50;

/// Returns the examples in the order of the batches.
pub(super) fn order(split: &Split, plan: &BatchPlan) -> Vec<u32> {
    let lengths = match &split.store {
        Store::Pictures(_) => None,
        Store::Tokens(tokens) => Some(|i: u32| tokens.length(i)),
    };
    match plan.order {
        Order::Sequential => {
            let mut order: Vec<u32> = (0..split.len() as u32).collect();
            if let Some(length) = lengths {
                order.sort_by_key(|&i| length(i)); // stable: equal lengths keep their order
            }
            order
        }
        Order::Shuffled { seed, epoch } => {
            let stream = Stream::new(seed, Purpose::Order, "examples").child(epoch);
            let order = stream.permutation(split.len());
            match lengths {
                Some(length) if plan.batch_size > 0 => {
                    group_by_length(order, plan.batch_size, length, stream)
                }
                _ => order,
            }
        }
    }
}

/// Sorts each window by length, splits it into batches and shuffles the batches. The examples of an incomplete batch are the
/// last of the permutation, regardless of their length.
fn group_by_length(
    mut order: Vec<u32>,
    batch: usize,
    length: impl Fn(u32) -> usize,
    stream: Stream,
) -> Vec<u32> {
    let whole = order.len() / batch * batch;
    let mut gathered = Vec::with_capacity(order.len());
    for (number, window) in order[..whole].chunks_mut(batch * WINDOW).enumerate() {
        window.sort_by_key(|&i| (length(i), i));
        for index in stream.child(number as u64).permutation(window.len() / batch) {
            gathered.extend_from_slice(&window[index as usize * batch..][..batch]);
        }
    }
    gathered.extend_from_slice(&order[whole..]);
    gathered
}
