//! Prefetching: a background thread makes batches ahead of time, in the same order.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::batches::Batches;
use super::tensors::Batch;
use crate::Error;

/// A prepared batch.
type BatchResult = Result<Batch, Error>;

impl Batches {
    /// Makes up to `depth` batches ahead of time in a background thread, the same ones in the same order; 0 makes them on
    /// demand.
    #[must_use]
    pub fn prefetch(self, depth: usize) -> Prefetch {
        Prefetch::new(self, depth)
    }
}

/// The batches of one pass, made in the background while earlier ones are used.
///
/// At most `depth` batches are ready or in progress. An error or a panic ([`Error::PrefetchPanic`]) of the thread takes the place of the
/// affected batch. Dropping this value joins the thread, which takes at most the time of one batch.
#[derive(Debug)]
pub struct Prefetch {
    source: Source,
    waited: Duration,
}

#[derive(Debug)]
enum Source {
    /// Batches are made on demand.
    OnDemand(Box<Batches>),
    /// A thread makes the batches and closes its end of the channel when it ends.
    Background {
        receiver: Receiver<BatchResult>,
        thread: JoinHandle<()>,
    },
    /// The thread failed to start.
    Failed(Option<Error>),
    Finished,
}

impl Prefetch {
    /// Starts the thread, unless `depth` is 0.
    fn new(batches: Batches, depth: usize) -> Self {
        if depth == 0 {
            return Self { source: Source::OnDemand(Box::new(batches)), waited: Duration::ZERO };
        }
        // The channel allocates its capacity.
        let depth = depth.min(batches.total());
        Self::ahead(batches, depth)
    }

    fn ahead(batches: impl Iterator<Item = BatchResult> + Send + 'static, depth: usize) -> Self {
        // While the channel is full, the thread holds one more batch.
        let (sender, receiver) = sync_channel(depth.saturating_sub(1));
        let make = move || {
            for batch in batches {
                if sender.send(batch).is_err() {
                    return;
                }
            }
        };
        let source = match std::thread::Builder::new().name("batches".to_owned()).spawn(make) {
            Ok(thread) => Source::Background { receiver, thread },
            Err(source) => Source::Failed(Some(Error::Thread { source })),
        };
        Self { source, waited: Duration::ZERO }
    }

    /// Returns how long the consumer has waited for batches.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    fn fetch(&mut self) -> Option<BatchResult> {
        match &mut self.source {
            Source::OnDemand(batches) => batches.next(),
            Source::Background { receiver, .. } => match receiver.recv() {
                Ok(batch) => Some(batch),
                Err(_) => self.end().map(Err),
            },
            Source::Failed(error) => error.take().map(Err),
            Source::Finished => None,
        }
    }

    /// Joins the thread and returns its panic as an error.
    fn end(&mut self) -> Option<Error> {
        let Source::Background { receiver, thread } = std::mem::replace(&mut self.source, Source::Finished)
        else {
            return None;
        };
        // Closes the channel, so that the thread ends after its current batch.
        drop(receiver);
        let panic = thread.join().err()?;
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Some(Error::PrefetchPanic { message: text.unwrap_or("no message").to_owned() })
    }
}

impl Iterator for Prefetch {
    type Item = BatchResult;

    fn next(&mut self) -> Option<BatchResult> {
        let clock = Instant::now();
        let batch = self.fetch();
        self.waited += clock.elapsed();
        batch
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        // Ignores a panic of the thread, because no further batch is needed.
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use candle_core::{Device, Tensor};

    use super::*;
    use crate::batch::Features;

    fn batch(index: usize) -> BatchResult {
        let labels = Tensor::new(&[index as u32], &Device::Cpu)?;
        Ok(Batch { features: Features::Pictures(labels.clone()), labels, indices: vec![index as u32] })
    }

    /// Batches 0 … `n` − 1, with a count of the batches produced. `hit` replaces batch 3.
    fn counted(
        n: usize,
        hit: Option<fn() -> BatchResult>,
    ) -> (impl Iterator<Item = BatchResult> + Send + 'static, Arc<AtomicUsize>) {
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let batches = (0..n).map(move |index| {
            count.fetch_add(1, Ordering::SeqCst);
            match hit {
                Some(hit) if index == 3 => hit(),
                _ => batch(index),
            }
        });
        (batches, made)
    }

    fn index(made: Option<BatchResult>) -> Result<u32, String> {
        match made {
            Some(Ok(batch)) => Ok(batch.indices[0]),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("over".to_owned()),
        }
    }

    /// Waits until `what` is true; `false` after a timeout.
    fn becomes_true(what: impl Fn() -> bool) -> bool {
        (0..2000).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            what()
        })
    }

    #[test]
    fn at_most_depth_batches_are_ahead() {
        for depth in [1, 2, 5] {
            let (batches, made) = counted(40, None);
            let mut prefetch = Prefetch::ahead(batches, depth);
            for taken in 0..40 {
                let ahead = (taken + depth).min(40);
                assert!(
                    becomes_true(|| made.load(Ordering::SeqCst) == ahead),
                    "depth {depth}, {taken} taken"
                );
                std::thread::sleep(Duration::from_millis(2));
                assert_eq!(made.load(Ordering::SeqCst), ahead, "depth {depth}, {taken} taken");
                assert_eq!(index(prefetch.next()), Ok(taken as u32));
            }
            assert_eq!(index(prefetch.next()), Err("over".to_owned()));
            assert_eq!(index(prefetch.next()), Err("over".to_owned()));
        }
    }

    #[test]
    fn errors_and_panics_replace_the_affected_batch() {
        let broken: fn() -> BatchResult =
            || Err(Error::Setting { setting: "x", value: "1".to_owned(), expected: "2" });
        let (batches, _) = counted(6, Some(broken));
        let mut prefetch = Prefetch::ahead(batches, 4);
        let seen: Vec<_> = (0..7).map(|_| index(prefetch.next())).collect();
        let error = || Err("x is 1, expected 2".to_owned());
        assert_eq!(seen, [Ok(0), Ok(1), Ok(2), error(), Ok(4), Ok(5), Err("over".to_owned())]);

        let (batches, made) = counted(6, Some(|| panic!("no batch {}", 3)));
        let mut prefetch = Prefetch::ahead(batches, 4);
        let seen: Vec<_> = (0..5).map(|_| index(prefetch.next())).collect();
        let panic = Err("the prefetch thread panicked: no batch 3".to_owned());
        assert_eq!(seen, [Ok(0), Ok(1), Ok(2), panic, Err("over".to_owned())]);
        assert_eq!(made.load(Ordering::SeqCst), 4);
    }

    /// The thread has released its values when `drop` returns, so it has ended.
    #[test]
    fn dropping_ends_the_thread() {
        for (depth, taken) in [(1, 0), (2, 1), (3, 10), (8, 4)] {
            let (batches, made) = counted(10, None);
            let mut prefetch = Prefetch::ahead(batches, depth);
            for _ in 0..taken {
                prefetch.next();
            }
            drop(prefetch);
            assert_eq!(Arc::strong_count(&made), 1, "depth {depth}, {taken} taken");
        }
        // Also while the consumer unwinds, and if the thread panicked unobserved.
        let (batches, made) = counted(10, Some(|| panic!("unseen")));
        let ends = std::thread::spawn(move || {
            let _prefetch = Prefetch::ahead(batches, 2);
            panic!("the user");
        });
        assert!(ends.join().is_err());
        assert_eq!(Arc::strong_count(&made), 1);
    }
}
