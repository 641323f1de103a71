//! Disjoint sets of numbers (union–find); a set is named by its smallest number.

/// Numbers `0..len`, put together two by two.
pub(super) struct DisjointSets {
    parent: Vec<u32>,
}

impl DisjointSets {
    /// Each number alone.
    pub fn new(len: usize) -> DisjointSets {
        DisjointSets { parent: (0..len as u32).collect() }
    }

    pub fn len(&self) -> usize {
        self.parent.len()
    }

    /// One more number, alone.
    pub fn push(&mut self) -> u32 {
        let number = self.parent.len() as u32;
        self.parent.push(number);
        number
    }

    /// The smallest number of the set.
    pub fn find(&mut self, mut number: u32) -> u32 {
        while self.parent[number as usize] != number {
            let up = self.parent[number as usize];
            self.parent[number as usize] = self.parent[up as usize];
            number = up;
        }
        number
    }

    /// Makes two sets one.
    pub fn union(&mut self, a: u32, b: u32) {
        let (a, b) = (self.find(a), self.find(b));
        self.parent[a.max(b) as usize] = a.min(b);
    }
}
