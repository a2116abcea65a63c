//! Union-find over dense ids.

/// Disjoint sets of the numbers below a count that is fixed at the start.
#[derive(Clone, Debug)]
pub struct UnionFind {
    parents: Vec<u32>,
}

impl UnionFind {
    /// Every number alone.
    pub fn new(count: usize) -> Self {
        Self { parents: (0..count as u32).collect() }
    }

    /// The smallest member of the set of `x`.
    pub fn find(&mut self, x: usize) -> usize {
        let mut root = x as u32;
        while self.parents[root as usize] != root {
            root = self.parents[root as usize];
        }
        let mut at = x as u32;
        while self.parents[at as usize] != root {
            at = std::mem::replace(&mut self.parents[at as usize], root);
        }
        root as usize
    }

    /// Makes the sets of both one. The smaller representative stays, so that the result does not depend on the order.
    pub fn union(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.parents[a.max(b)] = a.min(b) as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_member_stands_for_its_set_whatever_the_order() {
        let mut sets = UnionFind::new(6);
        sets.union(5, 3);
        sets.union(4, 5);
        sets.union(1, 4);
        assert_eq!((0..6).map(|x| sets.find(x)).collect::<Vec<_>>(), [0, 1, 2, 1, 1, 1]);
    }
}
