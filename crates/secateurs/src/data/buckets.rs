//! Orders in which samples of like length are beside each other, so that little of a batch is padding.

use std::ops::Range;

use super::dataset::Dataset;
use super::loader::shuffled;
use crate::rng::Rng;

/// Batches of a training epoch among which samples are sorted by length: few enough that batches stay random.
const BATCHES_SORTED: usize = 50;

impl Dataset {
    /// The samples of an order, sorted by length within windows of so many samples, where batches are padded to their longest sample;
    /// elsewhere the order as it is. A window ends where it does whatever comes behind it.
    pub fn grouped(&self, mut order: Vec<usize>, window: usize) -> Vec<usize> {
        if let Some(lengths) = self.lengths() {
            sort_windows(&mut order, window, |&sample| lengths[sample]);
        }
        order
    }

    /// The order of an epoch's samples: random, with samples of like length in the same batches where that saves padding. A function of
    /// the seed and the epoch.
    pub(super) fn epoch_order(
        &self,
        samples: &[usize],
        batch_size: usize,
        seed: u64,
        epoch: u64,
    ) -> Vec<usize> {
        let mut order: Vec<usize> =
            shuffled(samples.len(), seed, epoch).into_iter().map(|i| samples[i]).collect();
        let batches = order.len() / batch_size.max(1);
        if let Some(lengths) = self.lengths().filter(|_| batches > 1) {
            // What fills no batch is another sample in every epoch.
            order.truncate(batches * batch_size);
            sort_windows(&mut order, BATCHES_SORTED * batch_size, |&sample| lengths[sample]);
            let mut numbers: Vec<usize> = (0..batches).collect();
            Rng::new(seed, "batches", epoch, 0).shuffle(&mut numbers);
            let batch = |&number: &usize| &order[number * batch_size..(number + 1) * batch_size];
            order = numbers.iter().flat_map(batch).copied().collect();
        }
        order
    }

    /// The batches of an order: `batch_size` samples, fewer at the end, and where padding would change what the model makes of samples
    /// fewer wherever the length changes.
    pub(super) fn batches(&self, order: &[usize], batch_size: usize) -> Vec<Range<usize>> {
        let lengths = self.lengths().filter(|_| self.cuts_by_length());
        let mut batches: Vec<Range<usize>> = Vec::new();
        for (place, sample) in order.iter().enumerate() {
            let goes_on = |batch: &Range<usize>| {
                batch.len() < batch_size && lengths.is_none_or(|of| of[order[batch.start]] == of[*sample])
            };
            match batches.last_mut().filter(|batch| goes_on(batch)) {
                Some(batch) => batch.end += 1,
                None => batches.push(place..place + 1),
            }
        }
        batches
    }
}

/// Sorts every window of an order; equal ones keep theirs.
fn sort_windows(order: &mut [usize], window: usize, length: impl Fn(&usize) -> u32) {
    for window in order.chunks_mut(window.max(1)) {
        window.sort_by_key(&length);
    }
}
