//! The threads that the kernels compute on.

use candle_core::Result;

/// Makes the calling thread one of the threads that its kernels compute on.
///
/// The kernels compute on rayon's threads. A thread that is not one of them waits during each kernel, which then runs on
/// another core, where the data is not in the cache. After this call, the thread is the first of a pool of its own, with
/// as many threads as rayon's global pool (`RAYON_NUM_THREADS`). Results do not depend on it. Other threads keep the
/// global pool, so this thread may wait for them.
///
/// Call it once at the start of a thread that trains; the pool lasts until the process ends. In a thread that already
/// belongs to a pool, it does nothing.
///
/// # Errors
/// Returns an error if the pool's threads cannot be started.
pub fn compute_on_this_thread() -> Result<()> {
    if rayon::current_thread_index().is_none() {
        let pool = rayon::ThreadPoolBuilder::new().use_current_thread().build();
        // Dropping it would end its other threads.
        std::mem::forget(pool.map_err(candle_core::Error::wrap)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;
    use crate::testing::draw;

    #[test]
    fn the_other_threads_of_the_pool_help() {
        if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
            eprintln!("skipped: one processor");
            return;
        }
        let thread = std::thread::spawn(|| {
            compute_on_this_thread().unwrap();
            let (sender, receiver) = std::sync::mpsc::channel();
            let wait = std::time::Duration::from_mins(1);
            // The second closure runs during the first only on another thread.
            rayon::join(move || receiver.recv_timeout(wait), move || sender.send(())).0.unwrap();
        });
        thread.join().unwrap();
    }

    #[test]
    fn kernels_run_on_the_thread_and_other_threads_are_not_blocked() {
        let thread = std::thread::spawn(|| {
            compute_on_this_thread().unwrap();
            compute_on_this_thread().unwrap();
            assert_eq!(rayon::current_thread_index(), Some(0));
            let relu = || crate::relu(&draw((40, 300), "x")).unwrap().sum_all().unwrap().to_scalar::<f32>();
            // Both wait for one another: this thread, and one that computes on the global pool.
            let elsewhere =
                std::thread::spawn(move || (relu().unwrap(), (0..1000_u64).into_par_iter().sum()));
            let (other, sum): (f32, u64) = elsewhere.join().unwrap();
            assert_eq!((relu().unwrap(), sum), (other, 499_500));
        });
        thread.join().unwrap();
    }
}
