//! What a size may depend on.

use std::sync::Arc;

use super::Dim;
use super::divide::floor;

/// An integer that is not known before the graph runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Symbol {
    /// A named axis of an input, or an unnamed one under a name made of input and axis; at least 1.
    Named(Arc<str>),
    /// A size or element that depends on data; the text names the value and the position. At least 0 where it is a size.
    Data(Arc<str>),
    /// An expression too large to keep, known by its hash: equal expressions have equal hashes.
    Lost(u64),
    /// ⌊a ÷ b⌋
    FloorDiv(Arc<(Dim, Dim)>),
    /// The smaller of two.
    Min(Arc<(Dim, Dim)>),
    /// The larger of two.
    Max(Arc<(Dim, Dim)>),
    /// The result of broadcasting an axis of `a` against one of `b`: `b` where `a` is 1, else `a`.
    Broadcast(Arc<(Dim, Dim)>),
}

impl Symbol {
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Named(_) | Self::Data(_) | Self::Lost(_) => 1,
            Self::FloorDiv(pair) | Self::Min(pair) | Self::Max(pair) | Self::Broadcast(pair) => {
                1 + pair.0.weight() + pair.1.weight()
            }
        }
    }

    pub(super) fn lower_bound(&self) -> Option<i64> {
        match self {
            Self::Named(_) => Some(1),
            Self::Data(_) => Some(0),
            Self::Lost(_) => None,
            Self::FloorDiv(pair) => {
                let (a, b) = (pair.0.lower_bound()?, pair.1.lower_bound()?);
                match pair.1.as_known() {
                    Some(divisor) if divisor > 0 => Some(a.div_euclid(divisor)),
                    _ if a >= 0 && b >= 1 => Some(0),
                    _ => None,
                }
            }
            Self::Max(pair) => match (pair.0.lower_bound(), pair.1.lower_bound()) {
                (Some(a), Some(b)) => Some(a.max(b)),
                (a, b) => a.or(b),
            },
            Self::Min(pair) | Self::Broadcast(pair) => Some(pair.0.lower_bound()?.min(pair.1.lower_bound()?)),
        }
    }

    pub(super) fn eval(&self, leaf: &dyn Fn(&Self) -> Option<i64>) -> Option<i64> {
        match self {
            Self::Named(_) | Self::Data(_) | Self::Lost(_) => leaf(self),
            Self::FloorDiv(pair) => floor(pair.0.eval(leaf)?, pair.1.eval(leaf)?),
            Self::Min(pair) => Some(pair.0.eval(leaf)?.min(pair.1.eval(leaf)?)),
            Self::Max(pair) => Some(pair.0.eval(leaf)?.max(pair.1.eval(leaf)?)),
            Self::Broadcast(pair) => match pair.0.eval(leaf)? {
                1 => pair.1.eval(leaf),
                size => Some(size),
            },
        }
    }

    pub(super) fn leaves<'a>(&'a self, found: &mut Vec<&'a Self>) {
        match self {
            Self::Named(_) | Self::Data(_) | Self::Lost(_) => found.push(self),
            Self::FloorDiv(pair) | Self::Min(pair) | Self::Max(pair) | Self::Broadcast(pair) => {
                pair.0.leaves(found);
                pair.1.leaves(found);
            }
        }
    }
}
