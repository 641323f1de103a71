//! Symbolic sizes with known factors: of `12·batch` the factor 12 can be pruned, if all who read the axis as a product agree
//! where it lies. `(batch 12)` and `(12 batch)` differ.

use std::collections::HashMap;

use super::spaces::{Composite, Part};
use crate::dim::Dim;

/// For each space of symbolic size how its factors lie, if that is known.
pub(super) struct Frames(Vec<Option<Frame>>);

/// Factors, outermost first; neighbours that are both numbers, or both not, are one.
type Frame = Vec<Dim>;

impl Frames {
    pub fn new(sizes: &[Dim], composites: &[Composite]) -> Frames {
        let mut readings: HashMap<u32, Vec<&Composite>> = HashMap::new();
        for composite in composites.iter().filter(|c| sizes[c.total as usize].known().is_none()) {
            readings.entry(composite.total).or_default().push(composite);
        }
        let mut finder = Finder { sizes, readings, found: HashMap::new() };
        let frames = (0..sizes.len() as u32).map(|space| match sizes[space as usize].known() {
            Some(_) => None,
            None => finder.frame(space),
        });
        Frames(frames.collect())
    }

    /// How many indices of a space of symbolic size can be told apart; the largest number where there are more.
    pub fn of(&self, space: u32) -> Option<usize> {
        let frame = self.0[space as usize].as_ref()?;
        let count = frame.iter().filter_map(Dim::known).try_fold(1i64, i64::checked_mul);
        Some(count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX))
    }
}

struct Finder<'c> {
    sizes: &'c [Dim],
    readings: HashMap<u32, Vec<&'c Composite>>,
    /// `None` while a frame is being found, and where readings disagree.
    found: HashMap<u32, Option<Frame>>,
}

impl Finder<'_> {
    fn frame(&mut self, space: u32) -> Option<Frame> {
        if let Some(known) = self.found.get(&space) {
            return known.clone();
        }
        self.found.insert(space, None);
        let readings = self.readings.get(&space).cloned().unwrap_or_default();
        let mut frames: Vec<Option<Frame>> = Vec::with_capacity(readings.len());
        for composite in readings {
            let frame = self.reading(composite);
            frames.push(frame);
        }
        let agreed = match &frames[..] {
            [Some(first), rest @ ..] if rest.iter().all(|f| f.as_ref() == Some(first)) => Some(first.clone()),
            _ => None,
        };
        self.found.insert(space, agreed.clone());
        agreed
    }

    fn reading(&mut self, composite: &Composite) -> Option<Frame> {
        let [Part::Product(factors)] = &composite.parts[..] else { return None };
        let mut runs: Frame = Vec::new();
        for &space in factors {
            let size = self.sizes[space as usize].clone();
            // A factor that is itself read as a product is known as finely.
            let parts = match size.known() {
                Some(_) => vec![size],
                None => self.frame(space).unwrap_or_else(|| vec![size]),
            };
            for part in parts {
                match runs.last_mut() {
                    Some(last) if last.known().is_some() == part.known().is_some() => {
                        *last = last.clone() * part
                    }
                    _ => runs.push(part),
                }
            }
        }
        Some(runs)
    }
}
