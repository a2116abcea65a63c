//! Factors: the parts that the axes of values are products of.
//!
//! An axis starts as one factor. Relations between axes align two sequences of factors, outermost first: equal sizes
//! become the same factor, a size that divides another splits it. A split is final and seen by everybody who holds the
//! factor, so that the order of the relations does not matter: what is left at the end is the coarsest factoring that
//! serves all users. Knows nothing of operators.

use std::collections::VecDeque;

use crate::onnx::shape::Dim;

/// A factor, or an axis as the one factor that it started as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FactorId(u32);

#[derive(Clone, Copy, Debug)]
enum State {
    /// A factor of its own.
    Leaf,
    /// Another name of a factor.
    Alias(FactorId),
    /// The product of two, outer first.
    Split(FactorId, FactorId),
}

/// Two runs of factors of equal total size (or two ends) that do not refine each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    pub left: Vec<FactorId>,
    pub right: Vec<FactorId>,
}

/// All factors of a graph.
#[derive(Clone, Debug, Default)]
pub struct Factors {
    sizes: Vec<Dim>,
    states: Vec<State>,
    changes: usize,
}

impl Factors {
    /// A new factor.
    pub fn add(&mut self, size: Dim) -> FactorId {
        self.sizes.push(size);
        self.states.push(State::Leaf);
        FactorId(self.states.len() as u32 - 1)
    }

    /// How often factors were split or found to be the same: stands still when nothing is left to refine.
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// The size of a factor.
    pub fn size(&self, factor: FactorId) -> &Dim {
        &self.sizes[factor.0 as usize]
    }

    /// The leaves of a sequence of factors, outermost first. Leaves of size 1 say nothing and are left out.
    pub fn leaves(&self, sequence: &[FactorId]) -> Vec<FactorId> {
        let mut leaves = Vec::with_capacity(sequence.len());
        for factor in sequence {
            self.collect(*factor, &mut leaves);
        }
        leaves
    }

    fn collect(&self, factor: FactorId, leaves: &mut Vec<FactorId>) {
        match self.states[factor.0 as usize] {
            State::Leaf if self.size(factor).is(1) => {}
            State::Leaf => leaves.push(factor),
            State::Alias(other) => self.collect(other, leaves),
            State::Split(outer, inner) => {
                self.collect(outer, leaves);
                self.collect(inner, leaves);
            }
        }
    }

    /// Splits a leaf into an outer factor of the given size and the rest. Both sizes must multiply to the leaf's.
    pub fn split(&mut self, leaf: FactorId, outer: Dim, inner: Dim) -> (FactorId, FactorId) {
        let (outer, inner) = (self.add(outer), self.add(inner));
        self.states[leaf.0 as usize] = State::Split(outer, inner);
        self.changes += 1;
        (outer, inner)
    }

    /// Makes two sequences the same, splitting what has to be split. Gives the runs that cannot be made the same; what
    /// lies before and after them is aligned all the same.
    pub fn align(&mut self, left: &[FactorId], right: &[FactorId]) -> Vec<Misfit> {
        let mut left: VecDeque<FactorId> = self.leaves(left).into();
        let mut right: VecDeque<FactorId> = self.leaves(right).into();
        let mut misfits = Vec::new();
        loop {
            let (Some(a), Some(b)) = (self.front(&mut left), self.front(&mut right)) else {
                if !left.is_empty() || !right.is_empty() {
                    misfits.push(Misfit { left: left.into(), right: right.into() });
                }
                return misfits;
            };
            if a == b {
                left.pop_front();
                right.pop_front();
            } else if self.size(a) == self.size(b) {
                self.states[b.0 as usize] = State::Alias(a);
                self.changes += 1;
            } else if let Some(rest) = self.quotient(a, b) {
                self.split_by(a, b, rest);
            } else if let Some(rest) = self.quotient(b, a) {
                self.split_by(b, a, rest);
            } else {
                misfits.push(self.skip(&mut left, &mut right));
            }
        }
    }

    /// The first leaf of a queue whose entries may have been split or renamed since they were put in.
    fn front(&self, queue: &mut VecDeque<FactorId>) -> Option<FactorId> {
        while let Some(first) = queue.pop_front() {
            for leaf in self.leaves(&[first]).into_iter().rev() {
                queue.push_front(leaf);
            }
            if let Some(leaf) = queue.front()
                && matches!(self.states[leaf.0 as usize], State::Leaf)
            {
                return Some(*leaf);
            }
        }
        None
    }

    fn quotient(&self, whole: FactorId, part: FactorId) -> Option<Dim> {
        let quotient = self.size(whole).div_exact(self.size(part))?;
        // A quotient that may be 0 or negative is not a size.
        quotient.lower_bound().is_some_and(|bound| bound >= 1).then_some(quotient)
    }

    fn split_by(&mut self, whole: FactorId, part: FactorId, rest: Dim) {
        let rest = self.add(rest);
        self.states[whole.0 as usize] = State::Split(part, rest);
        self.changes += 1;
    }

    /// Takes factors off both queues until their products meet again.
    fn skip(&self, left: &mut VecDeque<FactorId>, right: &mut VecDeque<FactorId>) -> Misfit {
        let mut misfit = Misfit { left: Vec::new(), right: Vec::new() };
        let (mut a, mut b) = (Dim::known(1), Dim::known(1));
        loop {
            let take_left = match (a.as_known(), b.as_known()) {
                _ if a == b && !misfit.left.is_empty() => return misfit,
                (Some(a), Some(b)) => a <= b,
                _ => a.order(&b) == Some(true),
            };
            let (queue, taken, product) = if take_left {
                (&mut *left, &mut misfit.left, &mut a)
            } else {
                (&mut *right, &mut misfit.right, &mut b)
            };
            let Some(factor) = self.front(queue) else {
                misfit.left.extend(self.leaves(&left.drain(..).collect::<Vec<_>>()));
                misfit.right.extend(self.leaves(&right.drain(..).collect::<Vec<_>>()));
                return misfit;
            };
            queue.pop_front();
            taken.push(factor);
            *product = product.mul(self.size(factor));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(factors: &Factors, axis: FactorId) -> Vec<String> {
        factors.leaves(&[axis]).iter().map(|leaf| factors.size(*leaf).to_string()).collect()
    }

    fn known(factors: &mut Factors, sizes: &[i64]) -> Vec<FactorId> {
        sizes.iter().map(|size| factors.add(Dim::known(*size))).collect()
    }

    #[test]
    fn a_flattened_axis_is_the_product_of_what_was_flattened() {
        let mut f = Factors::default();
        let n = f.add(Dim::symbol("n"));
        let parts = known(&mut f, &[16, 5, 5]);
        let (batch, flat) = (f.add(Dim::symbol("n")), f.add(Dim::known(400)));
        assert_eq!(f.align(&[n, parts[0], parts[1], parts[2]], &[batch, flat]), []);
        assert_eq!(f.leaves(&[flat]), parts);
    }

    #[test]
    fn a_later_split_is_seen_by_earlier_users() {
        let mut f = Factors::default();
        let a = known(&mut f, &[768]);
        let b = known(&mut f, &[768]);
        assert_eq!(f.align(&a, &b), []);
        let heads = known(&mut f, &[12, 64]);
        assert_eq!(f.align(&b, &heads), []);
        assert_eq!(sizes(&f, a[0]), ["12", "64"]);
        assert_eq!(f.leaves(&a), f.leaves(&heads));
    }

    #[test]
    fn batch_and_heads_merged_in_one_axis_come_apart() {
        let mut f = Factors::default();
        let (s, n, width) = (f.add(Dim::known(32)), f.add(Dim::symbol("n")), f.add(Dim::known(96)));
        let merged = f.add(Dim::symbol("n").mul(&Dim::known(4)));
        let (s2, d) = (f.add(Dim::known(32)), f.add(Dim::known(24)));
        assert_eq!(f.align(&[s, n, width], &[s2, merged, d]), []);
        assert_eq!(sizes(&f, merged), ["n", "4"]);
        assert_eq!(sizes(&f, width), ["4", "24"]);
    }

    #[test]
    fn factorings_that_do_not_refine_each_other_are_a_misfit_and_the_rest_is_aligned() {
        let mut f = Factors::default();
        let left = known(&mut f, &[7, 4, 6, 5]);
        let right = known(&mut f, &[7, 6, 4, 5]);
        let misfits = f.align(&left, &right);
        assert_eq!(misfits, [Misfit { left: left[1..3].to_vec(), right: right[1..3].to_vec() }]);
        assert_eq!(f.leaves(&left[3..]), f.leaves(&right[3..]));
    }

    #[test]
    fn sizes_of_one_are_nothing() {
        let mut f = Factors::default();
        let left = known(&mut f, &[1, 8, 1]);
        let right = known(&mut f, &[8]);
        assert_eq!(f.align(&left, &right), []);
    }
}
