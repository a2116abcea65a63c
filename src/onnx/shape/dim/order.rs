//! Which of two sizes is larger, and what broadcasting makes of them.

use std::sync::Arc;

use super::{Dim, Symbol};

impl Dim {
    /// The smaller of the two.
    #[must_use]
    pub fn minimum(&self, other: &Self) -> Self {
        match self.order(other) {
            Some(true) => self.clone(),
            Some(false) => other.clone(),
            None => Self::of(Symbol::Min(Self::sorted(self, other))).bounded(),
        }
    }

    /// The larger of the two.
    #[must_use]
    pub fn maximum(&self, other: &Self) -> Self {
        match self.order(other) {
            Some(true) => other.clone(),
            Some(false) => self.clone(),
            None => Self::of(Symbol::Max(Self::sorted(self, other))).bounded(),
        }
    }

    /// The size that broadcasting two axes gives; `None` where two numbers do not fit.
    pub fn broadcast(&self, other: &Self) -> Option<Self> {
        match (self.as_known(), other.as_known()) {
            _ if self == other => Some(self.clone()),
            (Some(1), _) => Some(other.clone()),
            (_, Some(1)) | (Some(_), None) => Some(self.clone()),
            (Some(_), Some(_)) => None,
            (None, Some(_)) => Some(other.clone()),
            (None, None) => Some(Self::of(Symbol::Broadcast(Self::sorted(self, other))).bounded()),
        }
    }

    /// Whether self ≤ other (`true`) or self ≥ other (`false`), where that holds for all sizes.
    pub fn order(&self, other: &Self) -> Option<bool> {
        if other.sub(self).lower_bound().is_some_and(|bound| bound >= 0) {
            return Some(true);
        }
        self.sub(other).lower_bound().is_some_and(|bound| bound >= 0).then_some(false)
    }

    fn sorted(a: &Self, b: &Self) -> Arc<(Self, Self)> {
        Arc::new(if a <= b { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) })
    }
}
