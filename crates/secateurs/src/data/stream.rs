//! The batches of a training run.

use std::sync::Arc;

use super::augment::{Augment, Augmenting};
use super::dataset::Dataset;
use super::error::DataError;
use super::loader::Loader;

/// Which batches a training run sees: a function of these fields and the step, so that a run that begins at step `k`
/// goes on with the batches that it would have seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// The samples of the dataset that are trained on.
    pub samples: Arc<[usize]>,
    /// Samples per batch, at least 1.
    pub batch_size: usize,
    /// The seed of the orders and of the augmentation.
    pub seed: u64,
    /// What is changed at random, anew in every epoch.
    pub augment: Augment,
    /// The first step that is given; those before it are done.
    pub first_step: usize,
    /// Steps of the whole run: the stream gives `first_step..steps`.
    pub steps: usize,
    /// Threads that read ahead, at least 1; see [`Dataset::reading_threads`].
    pub threads: usize,
}

impl Stream {
    /// Batches in an epoch: full ones only, unless there are fewer samples than one takes.
    pub fn steps_per_epoch(samples: usize, batch_size: usize) -> usize {
        (samples / batch_size.max(1)).max(1)
    }
}

impl Dataset {
    /// The batches of a training run, one per step, read ahead by a few threads and given in order.
    ///
    /// Epoch `e` goes through the samples in an order that depends on the seed and `e` alone, as far as they fill
    /// batches; texts of like length are in the same batches, so that little of them is padding. If there are fewer samples than a batch takes, every batch has all of them, more than once if the model
    /// fixes the size of its batches. Ends after the first error: files that have gone or changed since the dataset
    /// was opened, an augmentation that [`Dataset::check_augment`] refuses, no samples. Arrays and texts are in memory
    /// by then, so that losing their files does no harm.
    ///
    /// # Panics
    /// The iterator panics if a sample is not below [`Dataset::len`].
    pub fn stream(self: &Arc<Self>, plan: Stream) -> Loader {
        let plan = Arc::new(Stream { batch_size: plan.batch_size.max(1), ..plan });
        let per_epoch = Stream::steps_per_epoch(plan.samples.len(), plan.batch_size);
        Loader::start(plan.steps.saturating_sub(plan.first_step), plan.threads, || {
            let (dataset, plan) = (Arc::clone(self), Arc::clone(&plan));
            // The order of the epoch that was read last.
            let mut known: Option<(u64, Vec<usize>)> = None;
            move |number| {
                dataset.check_augment(&plan.augment)?;
                if plan.samples.is_empty() {
                    let what = "none is left for training".to_owned();
                    return Err(DataError::Empty { path: dataset.path().to_owned(), what });
                }
                let step = plan.first_step + number;
                let epoch = (step / per_epoch) as u64;
                let (_, order) = match known.take() {
                    Some(order) if order.0 == epoch => known.insert(order),
                    _ => known.insert((
                        epoch,
                        dataset.epoch_order(&plan.samples, plan.batch_size, plan.seed, epoch),
                    )),
                };
                let size = match dataset.fixed_batch_size() {
                    Some(_) => plan.batch_size,
                    None => plan.batch_size.min(order.len()),
                };
                let start = step % per_epoch * plan.batch_size;
                let indices: Vec<usize> =
                    (start..start + size).map(|place| order[place % order.len()]).collect();
                let augmenting = Augmenting { augment: &plan.augment, seed: plan.seed, epoch };
                dataset.augmented_batch(&indices, (!plan.augment.is_empty()).then_some(augmenting))
            }
        })
    }
}
