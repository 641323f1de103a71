//! Units: the smallest sets of cells that can go together.
//!
//! From one cell, what must go with it is followed through the products: a row takes its cells along, cells that fill a row
//! take the row along, and a cell that goes alone needs its row or its column to go. Where both could, the one that is
//! tried first decides what kind of unit comes out; the other is tried where the first cannot go.

use super::Split;
use super::cells::{Cells, Factor, Place};
use super::reason::Reason;
use super::spaces::Spaces;

/// How often a choice between rows and columns may turn out wrong before a cell is given up.
const MAX_TRIES: usize = 64;

/// Why a set of cells cannot go.
#[derive(Clone, Copy)]
enum Failure {
    /// One of them is barred, for the reason with this number.
    Barred(u32),
    /// All indices of this space would go.
    Emptied(u32),
    /// A cell of this space is part of another unit.
    Owned(u32),
}

/// The search for units.
pub(crate) struct Search<'c> {
    cells: &'c mut Cells,
    spaces: &'c Spaces,
    split: Split,
    /// Spaces that units are made of where they are factors: heads, and groups of convolutions.
    preferred: &'c [bool],
    /// Classes of units found so far.
    owned: Vec<bool>,
    removed: Vec<bool>,
    /// Removed classes in order, to be undone.
    trail: Vec<u32>,
    /// Removed cells of products whose row or column must go too.
    pending: Vec<(u32, u32)>,
    in_space: Vec<u32>,
    in_row: Vec<u32>,
    tries: usize,
}

impl<'c> Search<'c> {
    /// `owned` marks classes, by root, that belong to units already.
    pub fn new(
        cells: &'c mut Cells,
        spaces: &'c Spaces,
        preferred: &'c [bool],
        split: Split,
        owned: Vec<bool>,
    ) -> Search<'c> {
        Search {
            spaces,
            split,
            preferred,
            owned,
            removed: vec![false; cells.root.len()],
            trail: Vec::new(),
            pending: Vec::new(),
            in_space: vec![0; spaces.spaces.len()],
            in_row: vec![0; cells.counters],
            tries: 0,
            cells,
        }
    }

    /// The cells of a space.
    pub fn cells_of(&self, space: u32) -> std::ops::Range<u32> {
        let first = self.cells.cell(space, 0).unwrap_or(0);
        match self.spaces.spaces[space as usize].barred {
            Some(_) => first..first,
            None => first..first + self.spaces.spaces[space as usize].cells as u32,
        }
    }

    /// The classes, by root, that belong to units.
    pub fn into_owned(self) -> Vec<bool> {
        self.owned
    }

    /// The unit of this cell, as cells in ascending order; `None` if it cannot go or belongs to a unit already.
    pub fn unit(&mut self, cell: u32) -> Option<Vec<u32>> {
        let root = self.cells.root[cell as usize];
        if self.owned[root as usize] || self.cells.barred[root as usize].is_some() {
            return None;
        }
        self.tries = 0;
        let result = self.close(root);
        let roots = self.trail.clone();
        self.undo(0);
        match result {
            Ok(()) => {
                let mut unit = Vec::new();
                for root in roots {
                    self.owned[root as usize] = true;
                    unit.extend_from_slice(self.cells.members(root));
                }
                unit.sort_unstable();
                Some(unit)
            }
            Err(failure) => {
                let reason = match failure {
                    Failure::Barred(reason) => reason,
                    Failure::Emptied(space) => self.new_reason(space, Reason::WholeAxis),
                    Failure::Owned(space) => self.new_reason(space, Reason::Entangled),
                };
                self.cells.bar(vec![(root, reason)]);
                None
            }
        }
    }

    fn new_reason(&mut self, space: u32, make: fn(crate::graph::ValueId, usize) -> Reason) -> u32 {
        let reason = match self.spaces.spaces[space as usize].example {
            Some((value, axis)) => make(value, axis),
            None => Reason::Size(1.into()),
        };
        self.cells.reasons.push(reason);
        self.cells.reasons.len() as u32 - 1
    }

    /// Removes a class and all that must go with it.
    fn close(&mut self, root: u32) -> Result<(), Failure> {
        let mut next = self.trail.len();
        self.remove(root)?;
        while next < self.trail.len() {
            let root = self.trail[next];
            next += 1;
            self.follow(root)?;
        }
        let Some((product, flat)) = self.unexplained() else { return Ok(()) };
        let candidates = self.candidates(product, flat);
        let mark = (self.trail.len(), self.pending.len());
        let mut failure = None;
        for candidate in candidates {
            let result = self.close(candidate);
            match result {
                Ok(()) => return Ok(()),
                Err(f) => failure = failure.or(Some(f)),
            }
            self.undo(mark.0);
            self.pending.truncate(mark.1);
            self.tries += 1;
            if self.tries > MAX_TRIES {
                break;
            }
        }
        Err(failure.unwrap_or(Failure::Owned(
            self.cells.space_of[self.cells.products[product as usize].total as usize],
        )))
    }

    /// Marks a class as removed, and counts.
    fn remove(&mut self, root: u32) -> Result<(), Failure> {
        let at = root as usize;
        if self.removed[at] {
            return Ok(());
        }
        let space = self.cells.space_of[at];
        if let Some(reason) = self.cells.barred[at] {
            return Err(Failure::Barred(reason));
        }
        if self.owned[at] {
            return Err(Failure::Owned(space));
        }
        self.removed[at] = true;
        self.trail.push(root);
        self.count(root, 1);
        for &cell in self.cells.members(root) {
            let space = self.cells.space_of[cell as usize] as usize;
            let is_axis = self.spaces.spaces[space].example.is_some();
            if is_axis && self.in_space[space] as usize == self.spaces.spaces[space].cells {
                return Err(Failure::Emptied(space as u32));
            }
        }
        Ok(())
    }

    fn count(&mut self, root: u32, by: i32) {
        for &cell in self.cells.members(root) {
            let space = self.cells.space_of[cell as usize] as usize;
            self.in_space[space] = self.in_space[space].wrapping_add_signed(by);
            for place in &self.cells.places[space] {
                let Place::Total(p) = *place else { continue };
                let product = &self.cells.products[p as usize];
                let Some(flat) = cell.checked_sub(product.total).filter(|f| *f < product.len) else {
                    continue;
                };
                for factor in &product.factors {
                    let counter =
                        &mut self.in_row[(factor.counter + product.factor_index(factor, flat)) as usize];
                    *counter = counter.wrapping_add_signed(by);
                }
            }
        }
    }

    fn undo(&mut self, mark: usize) {
        while self.trail.len() > mark {
            if let Some(root) = self.trail.pop() {
                self.removed[root as usize] = false;
                self.count(root, -1);
            }
        }
        if mark == 0 {
            self.pending.clear();
        }
    }

    /// Removes what certainly goes with a class.
    fn follow(&mut self, root: u32) -> Result<(), Failure> {
        for i in 0..self.cells.members(root).len() {
            let cell = self.cells.members(root)[i];
            let space = self.cells.space_of[cell as usize] as usize;
            for j in 0..self.cells.places[space].len() {
                match self.cells.places[space][j] {
                    Place::Total(p) => {
                        let product = &self.cells.products[p as usize];
                        let Some(flat) = cell.checked_sub(product.total).filter(|f| *f < product.len) else {
                            continue;
                        };
                        self.pending.push((p, flat));
                        for f in 0..product.factors.len() {
                            let product = &self.cells.products[p as usize];
                            let factor = &product.factors[f];
                            let index = product.factor_index(factor, flat);
                            if self.in_row[(factor.counter + index) as usize] == product.row_len(factor) {
                                self.remove(self.cells.root[(factor.cells + index) as usize])?;
                            }
                        }
                    }
                    Place::Factor(p, f) => {
                        let product = &self.cells.products[p as usize];
                        let (total, factor) = (product.total, &product.factors[f as usize]);
                        for flat in product.row(factor, cell - factor.cells) {
                            self.remove(self.cells.root[(total + flat) as usize])?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// A removed cell neither whose row nor whose column is removed.
    fn unexplained(&self) -> Option<(u32, u32)> {
        let explained = |&(p, flat): &(u32, u32)| {
            let product = &self.cells.products[p as usize];
            product.factors.iter().any(|f| {
                self.removed[self.cells.root[(f.cells + product.factor_index(f, flat)) as usize] as usize]
            })
        };
        self.pending.iter().copied().find(|cell| !explained(cell))
    }

    /// The classes of the factors that could explain why a cell goes, the preferred ones first: heads and groups of
    /// convolutions, the outer factor of an axis that is one; otherwise the larger factor, whose units are smaller.
    fn candidates(&self, product: u32, flat: u32) -> Vec<u32> {
        let product = &self.cells.products[product as usize];
        let space = |cell: u32| self.cells.space_of[cell as usize] as usize;
        let of_heads = self.preferred[space(product.total)];
        let mut factors: Vec<&Factor> = product.factors.iter().collect();
        factors.sort_by_key(|f| match self.preferred[space(f.cells)] {
            true => (0, 0),
            false if of_heads => (1, 0),
            false => (1, u32::MAX - f.size),
        });
        if self.split == Split::Inner {
            factors.reverse();
        }
        let root = |f: &Factor| self.cells.root[(f.cells + product.factor_index(f, flat)) as usize];
        let open = |root: &u32| self.cells.barred[*root as usize].is_none();
        factors.into_iter().map(root).filter(open).collect()
    }
}
