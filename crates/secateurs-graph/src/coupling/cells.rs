//! Cells: single indices of spaces, made equal where sums and picks say so, and the products that tie rows and columns.

use super::Split;
use super::disjoint::DisjointSets;
use super::reason::Reason;
use super::spaces::{Composite, Part, Spaces};

/// A cell number that no cell has.
const NONE: u32 = u32::MAX;

/// The cells of all spaces that are not barred.
#[derive(Clone)]
pub(crate) struct Cells {
    /// The first cell of each space; `NONE` where it is barred.
    base: Vec<u32>,
    pub space_of: Vec<u32>,
    /// The representative of each cell's class.
    pub root: Vec<u32>,
    /// The cells of each class: `members[starts[root]..starts[root + 1]]`.
    members: Vec<u32>,
    starts: Vec<u32>,
    pub products: Vec<Product>,
    /// For each space the products it takes part in.
    pub places: Vec<Vec<Place>>,
    /// Why a class cannot go, by root.
    pub barred: Vec<Option<u32>>,
    /// Why a class cannot go exactly, by root.
    pub inexact: Vec<Option<u32>>,
    pub reasons: Vec<Reason>,
    /// How many counters the products need for their rows.
    pub counters: usize,
}

/// A merged axis: a cell of `total..` goes if and only if the cell of one of its factors goes.
#[derive(Clone)]
pub(crate) struct Product {
    pub total: u32,
    pub len: u32,
    pub factors: Vec<Factor>,
}

#[derive(Clone)]
pub(crate) struct Factor {
    pub cells: u32,
    pub size: u32,
    pub stride: u32,
    /// The first of this factor's counters: of removed cells in each row.
    pub counter: u32,
}

#[derive(Clone, Copy)]
pub(crate) enum Place {
    Total(u32),
    Factor(u32, u32),
}

impl Product {
    pub fn factor_index(&self, factor: &Factor, flat: u32) -> u32 {
        flat / factor.stride % factor.size
    }

    /// The flat positions whose index of `factor` is `index`.
    pub fn row(&self, factor: &Factor, index: u32) -> impl Iterator<Item = u32> + use<> {
        let (stride, block, len) = (factor.stride, factor.stride * factor.size, self.len);
        (0..len / block).flat_map(move |outer| {
            let start = outer * block + index * stride;
            start..start + stride
        })
    }

    pub fn row_len(&self, factor: &Factor) -> u32 {
        self.len / factor.size
    }
}

impl Cells {
    pub fn new(spaces: &Spaces) -> Cells {
        let mut base = Vec::with_capacity(spaces.spaces.len());
        let mut space_of = Vec::new();
        for (i, space) in spaces.spaces.iter().enumerate() {
            match space.barred {
                Some(_) => base.push(NONE),
                None => {
                    base.push(space_of.len() as u32);
                    space_of.extend(std::iter::repeat_n(i as u32, space.cells));
                }
            }
        }
        let count = space_of.len();
        let mut builder = Builder {
            spaces,
            sets: DisjointSets::new(count),
            base,
            barred: Vec::new(),
            products: Vec::new(),
            counters: 0,
            reasons: Vec::new(),
        };
        for composite in &spaces.composites {
            builder.composite(composite);
        }
        builder.finish(space_of)
    }

    /// The cell of an index of a space.
    pub fn cell(&self, space: u32, index: usize) -> Option<u32> {
        let base = self.base[space as usize];
        (base != NONE).then(|| base + index as u32)
    }

    /// The index of a cell in its space.
    pub fn index(&self, cell: u32) -> usize {
        (cell - self.base[self.space_of[cell as usize] as usize]) as usize
    }

    pub fn members(&self, root: u32) -> &[u32] {
        &self.members[self.starts[root as usize] as usize..self.starts[root as usize + 1] as usize]
    }

    /// Bars what cannot go exactly.
    pub fn bar_inexact(&mut self) {
        let roots = 0..self.inexact.len() as u32;
        let inexact = roots.filter_map(|root| Some((root, self.inexact[root as usize]?))).collect();
        self.bar(inexact);
    }

    /// Bars the factors that `split` would rather keep, where a product has one of each sort; `preferred` marks the spaces of outer ones, such
    /// as heads. Returns whether there are such products. What is barred so has no reason that could be told.
    pub fn bar_other_split(&mut self, preferred: &[bool], split: Split) -> bool {
        let mut others = Vec::new();
        for product in &self.products {
            let (outer, inner): (Vec<&Factor>, Vec<&Factor>) =
                product.factors.iter().partition(|f| preferred[self.space_of[f.cells as usize] as usize]);
            if !outer.is_empty() && !inner.is_empty() {
                let factors = match split {
                    Split::Outer => inner,
                    Split::Inner => outer,
                };
                others.extend(factors.into_iter().flat_map(|f| f.cells..f.cells + f.size));
            }
        }
        let roots: Vec<(u32, u32)> = others.iter().map(|&cell| (self.root[cell as usize], NONE)).collect();
        self.bar(roots);
        !others.is_empty()
    }

    /// Bars classes, and what follows from that through products.
    pub fn bar(&mut self, roots: Vec<(u32, u32)>) {
        let mut open = Vec::new();
        for (root, reason) in roots {
            if self.barred[root as usize].is_none() {
                self.barred[root as usize] = Some(reason);
                open.push(root);
            }
        }
        while let Some(root) = open.pop() {
            let reason = self.barred[root as usize];
            for at in self.starts[root as usize]..self.starts[root as usize + 1] {
                let cell = self.members[at as usize];
                let space = self.space_of[cell as usize] as usize;
                for place in 0..self.places[space].len() {
                    for next in self.follows(cell, self.places[space][place]) {
                        if self.barred[next as usize].is_none() {
                            self.barred[next as usize] = reason;
                            open.push(next);
                        }
                    }
                }
            }
        }
    }

    /// The classes that cannot go because this cell cannot.
    fn follows(&self, cell: u32, place: Place) -> Vec<u32> {
        match place {
            // A cell that stays keeps its row and its column.
            Place::Total(p) => {
                let product = &self.products[p as usize];
                let Some(flat) = cell.checked_sub(product.total).filter(|f| *f < product.len) else {
                    return Vec::new();
                };
                let factor = |f: &Factor| self.root[(f.cells + product.factor_index(f, flat)) as usize];
                product.factors.iter().map(factor).collect()
            }
            // A cell whose row and column both stay has no reason to go.
            Place::Factor(p, own) => {
                let product = &self.products[p as usize];
                let factor = &product.factors[own as usize];
                let stays = |flat: &u32| {
                    product.factors.iter().all(|f| {
                        let cell = f.cells + product.factor_index(f, *flat);
                        self.barred[self.root[cell as usize] as usize].is_some()
                    })
                };
                let row = product.row(factor, cell - factor.cells);
                row.filter(stays).map(|flat| self.root[(product.total + flat) as usize]).collect()
            }
        }
    }
}

struct Builder<'s> {
    spaces: &'s Spaces,
    sets: DisjointSets,
    base: Vec<u32>,
    barred: Vec<(u32, u32)>,
    products: Vec<Product>,
    counters: u32,
    reasons: Vec<Reason>,
}

impl Builder<'_> {
    fn reason(&mut self, reason: Reason) -> u32 {
        self.reasons.push(reason);
        self.reasons.len() as u32 - 1
    }

    fn space_reason(&mut self, space: u32) -> u32 {
        let reason = self.spaces.spaces[space as usize].barred.clone();
        self.reason(reason.unwrap_or_else(|| Reason::Size(1.into())))
    }

    fn composite(&mut self, composite: &Composite) {
        let total = self.base[composite.total as usize];
        if total == NONE {
            for part in &composite.parts {
                if let Part::Pick(space, indices) = part
                    && self.base[*space as usize] != NONE
                {
                    let (base, reason) = (self.base[*space as usize], self.space_reason(composite.total));
                    self.barred.extend(indices.iter().map(|&i| (base + i as u32, reason)));
                }
            }
            return;
        }
        let mut offset = total;
        for part in &composite.parts {
            match part {
                Part::Pick(space, indices) => {
                    match self.base[*space as usize] {
                        NONE => {
                            let reason = self.space_reason(*space);
                            self.barred.extend((0..indices.len() as u32).map(|i| (offset + i, reason)));
                        }
                        base => {
                            for (i, &index) in indices.iter().enumerate() {
                                self.sets.union(offset + i as u32, base + index as u32);
                            }
                        }
                    }
                    offset += indices.len() as u32;
                }
                Part::Product(factors) => offset += self.product(composite, offset, factors),
            }
        }
    }

    /// Ties `total..` to its factors; returns how many cells there are. A factor of symbolic size counts with the indices
    /// that can be told apart.
    fn product(&mut self, composite: &Composite, total: u32, factors: &[u32]) -> u32 {
        let size = |space: u32| self.spaces.spaces[space as usize].cells.max(1) as u32;
        let len: u32 = factors.iter().map(|&space| size(space)).product();
        let mut stride = len;
        let mut live = Vec::new();
        for &space in factors {
            let (base, size) = (self.base[space as usize], size(space));
            stride /= size;
            if base != NONE && (size > 1 || factors.len() == 1) {
                live.push(Factor { cells: base, size, stride, counter: 0 });
            }
        }
        match &mut live[..] {
            [] => {
                let reason = match factors {
                    [] => self.reason(Reason::Single(composite.node)),
                    [space, ..] => self.space_reason(*space),
                };
                self.barred.extend((total..total + len).map(|cell| (cell, reason)));
            }
            [one] => {
                let (cells, stride, size) = (one.cells, one.stride, one.size);
                for flat in 0..len {
                    self.sets.union(total + flat, cells + flat / stride % size);
                }
            }
            many => {
                for factor in many {
                    factor.counter = self.counters;
                    self.counters += factor.size;
                }
                self.products.push(Product { total, len, factors: live });
            }
        }
        len
    }

    fn finish(mut self, space_of: Vec<u32>) -> Cells {
        let count = self.sets.len();
        let root: Vec<u32> = (0..count as u32).map(|cell| self.sets.find(cell)).collect();
        let mut starts = vec![0u32; count + 1];
        for &r in &root {
            starts[r as usize + 1] += 1;
        }
        for i in 0..count {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let mut members = vec![0u32; count];
        for (cell, &r) in root.iter().enumerate() {
            members[next[r as usize] as usize] = cell as u32;
            next[r as usize] += 1;
        }
        let mut places: Vec<Vec<Place>> = vec![Vec::new(); self.spaces.spaces.len()];
        for (p, product) in self.products.iter().enumerate() {
            let space = |cell: u32| space_of[cell as usize] as usize;
            places[space(product.total)].push(Place::Total(p as u32));
            for (f, factor) in product.factors.iter().enumerate() {
                places[space(factor.cells)].push(Place::Factor(p as u32, f as u32));
            }
        }
        let mut inexact = vec![None; count];
        for (i, space) in self.spaces.spaces.iter().enumerate() {
            let (base, Some(reason)) = (self.base[i], &space.inexact) else { continue };
            if base != NONE {
                let number = self.reasons.len() as u32;
                self.reasons.push(reason.clone());
                for cell in base..base + space.cells as u32 {
                    inexact[root[cell as usize] as usize].get_or_insert(number);
                }
            }
        }
        let mut cells = Cells {
            base: self.base,
            space_of,
            members,
            starts,
            products: self.products,
            places,
            barred: vec![None; count],
            inexact,
            reasons: self.reasons,
            counters: self.counters as usize,
            root,
        };
        let barred = self.barred.iter().map(|&(cell, reason)| (cells.root[cell as usize], reason)).collect();
        cells.bar(barred);
        cells
    }
}
