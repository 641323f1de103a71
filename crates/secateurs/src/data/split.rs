//! A part of the training data to choose by, so that the test data are looked at once, at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dataset::Dataset;
use crate::rng::Rng;

/// Some samples of data.
#[derive(Clone)]
pub struct Samples {
    /// The data.
    pub data: Arc<Dataset>,
    /// Which of their samples.
    pub indices: Vec<usize>,
}

/// The samples to train on, and those to validate with: those of `own` data, or where there are none a share of the training data.
pub fn held_out(
    data: &Arc<Dataset>,
    own: Option<&Arc<Dataset>>,
    share: f64,
    seed: u64,
) -> (Vec<usize>, Samples) {
    match own {
        Some(own) => {
            ((0..data.len()).collect(), Samples { data: own.clone(), indices: (0..own.len()).collect() })
        }
        None => {
            let (training, indices) = split(data, share, seed);
            (training, Samples { data: data.clone(), indices })
        }
    }
}

/// The samples to train on and `share` of them, in [0, 1), to validate with; both sorted.
///
/// Where every sample has a class, every class gives its share, rounded so that the parts add up (largest remainders, Hamilton 1792);
/// otherwise the choice is random. At least one sample is left to train on, and a share of 0 takes none away.
fn split(dataset: &Dataset, share: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    split_labels(dataset.len(), dataset.classes(), share, seed)
}

fn split_labels(len: usize, labels: Option<&[i64]>, share: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut classes: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for index in 0..len {
        classes.entry(labels.map_or(0, |labels| labels[index])).or_default().push(index);
    }
    // `as usize` takes what is below 0 to 0.
    let wanted = ((share * len as f64).round() as usize).min(len.saturating_sub(1));
    let mut counts: Vec<usize> = Vec::new();
    let mut remainders: Vec<u128> = Vec::new();
    for members in classes.values() {
        let product = wanted as u128 * members.len() as u128;
        counts.push((product / len as u128) as usize);
        remainders.push(product % len as u128);
    }
    let mut by_remainder: Vec<usize> = (0..counts.len()).collect();
    by_remainder.sort_by_key(|class| std::cmp::Reverse(remainders[*class]));
    let missing = wanted - counts.iter().sum::<usize>();
    by_remainder.iter().take(missing).for_each(|class| counts[*class] += 1);

    let (mut training, mut validation) = (Vec::new(), Vec::new());
    for ((class, mut members), count) in classes.into_iter().zip(counts) {
        Rng::new(seed, "validation split", class as u64, 0).shuffle(&mut members);
        validation.extend_from_slice(&members[..count]);
        training.extend_from_slice(&members[count..]);
    }
    training.sort_unstable();
    validation.sort_unstable();
    (training, validation)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_parts_are_what_was_asked_for(
            labels in proptest::collection::vec(0_i64..7, 1..300),
            labelled: bool,
            share in 0.0..1.0,
            seed: u64,
        ) {
            let len = labels.len();
            let known = labelled.then_some(&labels[..]);
            let (training, validation) = split_labels(len, known, share, seed);
            // Sorted, disjoint, complete.
            prop_assert!(training.is_sorted() && validation.is_sorted());
            let mut all = [&training[..], &validation[..]].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..len).collect::<Vec<_>>());
            prop_assert_eq!(validation.len(), ((share * len as f64).round() as usize).min(len - 1));
            if labelled {
                for class in 0..7 {
                    let count = |of: &[usize]| of.iter().filter(|i| labels[**i] == class).count() as f64;
                    let exact = count(&validation) - validation.len() as f64 / len as f64
                        * (count(&validation) + count(&training));
                    prop_assert!(exact.abs() < 1.0, "class {} is off by {}", class, exact);
                }
            }
            prop_assert_eq!(split_labels(len, known, share, seed), (training, validation));
        }
    }

    #[test]
    fn remainders_decide_who_gives_one_more() {
        // Hamilton's method for 10, 6 and 4 of 20, 7 seats: quotas 3.5, 2.1, 1.4, so 4, 2, 1.
        let labels: Vec<i64> = [vec![0; 10], vec![1; 6], vec![2; 4]].concat();
        let (_, validation) = split_labels(20, Some(&labels), 0.35, 3);
        let count = |class| validation.iter().filter(|i| labels[**i] == class).count();
        assert_eq!([count(0), count(1), count(2)], [4, 2, 1]);
    }

    #[test]
    fn the_ends_of_the_range_leave_something_to_train_on() {
        assert_eq!(split_labels(5, None, 0.0, 1), ((0..5).collect(), vec![]));
        assert_eq!(split_labels(1, Some(&[3]), 0.99, 1), (vec![0], vec![]));
        for share in [0.999_999, 1.0, 7.0, f64::INFINITY] {
            assert_eq!(split_labels(5, Some(&[0, 0, 1, 1, 1]), share, 1).0.len(), 1);
        }
        for share in [-1.0, f64::NAN] {
            assert!(split_labels(5, None, share, 1).1.is_empty());
        }
    }

    #[test]
    fn another_seed_gives_another_choice() {
        assert_ne!(split_labels(100, None, 0.5, 1), split_labels(100, None, 0.5, 2));
    }
}
