//! Widths that are as fast as narrower ones.

use std::ops::RangeInclusive;

use super::fit::{Search, State};

/// Kernels work on blocks of so many channels at most.
pub(super) const BLOCK: usize = 16;

impl<'s> Search<'s> {
    /// Takes back the steps of groups, several at once, while the budget holds: a latency is not monotonous, and the next multiple of
    /// a kernel's block may take less than the width below it.
    pub fn widened(&self, mut state: State<'s>, bounds: &[RangeInclusive<usize>]) -> State<'s> {
        loop {
            let mut grown = false;
            for (group, bounds) in bounds.iter().enumerate() {
                let mut wider = state.clone();
                let mut best = None;
                for _ in 0..BLOCK {
                    if wider.gone[group] <= *bounds.start() {
                        break;
                    }
                    self.give_back(&mut wider, group);
                    if self.fits(&wider) {
                        best = Some(wider.clone());
                    }
                }
                grown |= best.is_some();
                state = best.unwrap_or(state);
            }
            if !grown {
                return state;
            }
        }
    }
}
