//! Batches in order, read ahead of time on other threads.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::dataset::{Batch, Dataset};
use super::error::Result;
use crate::rng::Rng;

/// Batches that are ready or being read, per thread.
const AHEAD_PER_THREAD: usize = 2;

/// All samples in a random order that depends on the seed and the epoch alone.
pub fn shuffled(len: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    Rng::new(seed, "shuffle", epoch, 0).shuffle(&mut order);
    order
}

/// At most so many of some samples, at random by the seed: the first ones may all be of one class, as they are in the order of folders.
pub(crate) fn drawn(samples: &[usize], count: usize, seed: u64) -> Vec<usize> {
    shuffled(samples.len(), seed, 0).into_iter().take(count).map(|i| samples[i]).collect()
}

/// An iterator over batches that are read ahead; see [`Dataset::loader`] and [`Dataset::stream`].
#[derive(Debug)]
pub struct Loader {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Signalled whenever the state changes.
    changed: Condvar,
    batches: usize,
    ahead: usize,
}

#[derive(Debug, Default)]
struct State {
    /// The next batch that a worker takes.
    next_to_read: usize,
    /// The next batch that the iterator gives.
    next_to_give: usize,
    ready: HashMap<usize, std::thread::Result<Result<Batch>>>,
    /// The iterator was dropped or has failed: workers end.
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic happens under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch to read, once it is near enough to the one that is given next.
    fn take(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if state.closed || state.next_to_read == self.batches {
                return None;
            }
            if state.next_to_read < state.next_to_give + self.ahead {
                state.next_to_read += 1;
                return Some(state.next_to_read - 1);
            }
            state = self.wait(state);
        }
    }
}

impl Dataset {
    /// The samples of `order` in batches of `batch_size` (the last one may be smaller, and all of texts whose padding the model
    /// takes for text), read ahead by `threads` threads and given in order. Ends after the first error. Both numbers are at least 1.
    pub fn loader(self: &Arc<Self>, order: Vec<usize>, batch_size: usize, threads: usize) -> Loader {
        let batch_size = batch_size.max(1);
        let batches = self.batches(&order, batch_size);
        let (count, plan) = (batches.len(), Arc::new((order, batches)));
        Loader::start(count, threads, || {
            let (dataset, plan) = (Arc::clone(self), Arc::clone(&plan));
            move |number| {
                let (order, batches) = &*plan;
                dataset.batch(&order[batches[number].clone()])
            }
        })
    }

    /// The batches of samples as [`Dataset::loader`] gives them, filled where the model fixes their size, with how many samples of each
    /// count: those that are there to fill it do not.
    pub(crate) fn counted(
        self: &Arc<Self>,
        samples: Vec<usize>,
        batch_size: usize,
    ) -> impl Iterator<Item = Result<(Batch, usize)>> + use<> {
        let batch_size = self.fixed_batch_size().unwrap_or(batch_size);
        let mut left = samples.len();
        self.loader(self.filled(samples), batch_size, self.reading_threads()).map(move |batch| {
            let batch = batch?;
            let counted = batch.indices.len().min(left);
            left -= counted;
            Ok((batch, counted))
        })
    }
}

impl Loader {
    /// Reads batches `0..batches` on `threads` threads (at least 1), each with a reader of its own.
    pub(super) fn start<R>(batches: usize, threads: usize, reader: impl Fn() -> R) -> Loader
    where
        R: FnMut(usize) -> Result<Batch> + Send + 'static,
    {
        let threads = threads.max(1);
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            batches,
            ahead: threads * AHEAD_PER_THREAD,
        });
        let workers = (0..threads.min(batches))
            .map(|_| {
                let (shared, mut reader) = (Arc::clone(&shared), reader());
                std::thread::spawn(move || {
                    while let Some(number) = shared.take() {
                        let read = || reader(number);
                        let batch = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
                        shared.lock().ready.insert(number, batch);
                        shared.changed.notify_all();
                    }
                })
            })
            .collect();
        Loader { shared, workers }
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        let mut state = self.shared.lock();
        let number = state.next_to_give;
        if state.closed || number == self.shared.batches {
            return None;
        }
        let batch = loop {
            match state.ready.remove(&number) {
                Some(batch) => break batch,
                None => state = self.shared.wait(state),
            }
        };
        state.next_to_give += 1;
        state.closed = !matches!(batch, Ok(Ok(_)));
        drop(state);
        self.shared.changed.notify_all();
        // A panic in a worker goes on here.
        Some(batch.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let state = self.shared.lock();
        if state.closed {
            return (0, Some(0));
        }
        let left = self.shared.batches - state.next_to_give;
        (left.min(1), Some(left))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            // Workers catch panics themselves.
            let _ = worker.join();
        }
    }
}
