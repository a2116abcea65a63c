//! Sizes as expressions: polynomials with integer coefficients over symbols, kept in a normal form so that equal sizes
//! compare equal.
//!
//! Symbols are the named axes of the inputs, sizes known only at run time, and what is not a polynomial (floor divisions,
//! minima, maxima, broadcasts), whose operands are part of the symbol. Nothing here panics or overflows: an expression that
//! grows beyond [`MAX_WEIGHT`] or out of 64 bits becomes a symbol of its own that only remembers which expression it was.

mod display;
mod divide;
mod order;
mod symbol;

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

pub use self::symbol::Symbol;

/// Parts that an expression may have before it is replaced by one symbol. Sizes of real networks stay below 40; the
/// bound keeps hostile graphs from growing expressions without end.
pub const MAX_WEIGHT: usize = 256;

/// A size, or any other integer of a shape computation. Named axes stand for sizes of at least 1.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dim(Repr);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    Known(i64),
    /// At least one term has a symbol; no coefficient is 0.
    Sum(Arc<Sum>),
}

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Sum {
    weight: usize,
    terms: Terms,
}

/// Coefficient by monomial; the empty monomial holds the constant.
type Terms = BTreeMap<Monomial, i64>;

/// A product of symbols, sorted, repeated for powers. Ordered by degree first, so that long division ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Monomial(Vec<Symbol>);

impl PartialOrd for Monomial {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Monomial {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl From<i64> for Dim {
    fn from(value: i64) -> Self {
        Self::known(value)
    }
}

impl Dim {
    /// A number.
    pub fn known(value: i64) -> Self {
        Self(Repr::Known(value))
    }

    /// A named axis.
    pub fn symbol(name: &str) -> Self {
        Self::of(Symbol::Named(name.into()))
    }

    /// A number that only a run tells; the text says which.
    pub fn data(what: &str) -> Self {
        Self::of(Symbol::Data(what.into()))
    }

    fn of(symbol: Symbol) -> Self {
        Self::from_terms(BTreeMap::from([(Monomial(vec![symbol]), 1)]))
    }

    fn from_terms(mut terms: Terms) -> Self {
        terms.retain(|_, coefficient| *coefficient != 0);
        if terms.keys().all(|monomial| monomial.0.is_empty()) {
            return Self::known(terms.into_values().next().unwrap_or(0));
        }
        let weight = terms.keys().flat_map(|m| m.0.iter().map(Symbol::weight)).fold(terms.len(), usize::saturating_add);
        let sum = Sum { weight, terms };
        if weight > MAX_WEIGHT {
            return Self::lost(&sum);
        }
        Self(Repr::Sum(Arc::new(sum)))
    }

    /// The symbol of an expression that is not kept.
    fn lost(what: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        Self::of(Symbol::Lost(hasher.finish()))
    }

    fn terms(&self) -> Terms {
        match &self.0 {
            Repr::Known(value) => BTreeMap::from([(Monomial::default(), *value)]),
            Repr::Sum(sum) => sum.terms.clone(),
        }
    }

    fn weight(&self) -> usize {
        match &self.0 {
            Repr::Known(_) => 1,
            Repr::Sum(sum) => sum.weight,
        }
    }

    /// The number, where it does not depend on a symbol.
    pub fn as_known(&self) -> Option<i64> {
        match self.0 {
            Repr::Known(value) => Some(value),
            Repr::Sum(_) => None,
        }
    }

    /// The symbol, where this is a symbol alone.
    pub fn as_symbol(&self) -> Option<&Symbol> {
        let Repr::Sum(sum) = &self.0 else { return None };
        match sum.terms.iter().next() {
            Some((monomial, 1)) if sum.terms.len() == 1 && monomial.0.len() == 1 => monomial.0.first(),
            _ => None,
        }
    }

    /// Whether this is the number `value`.
    pub fn is(&self, value: i64) -> bool {
        self.as_known() == Some(value)
    }

    /// The run-time symbols in the expression (named axes and data), each once.
    pub fn symbols(&self) -> Vec<&Symbol> {
        let mut found = Vec::new();
        self.leaves(&mut found);
        found.sort_unstable();
        found.dedup();
        found
    }

    fn leaves<'a>(&'a self, found: &mut Vec<&'a Symbol>) {
        if let Repr::Sum(sum) = &self.0 {
            for symbol in sum.terms.keys().flat_map(|monomial| &monomial.0) {
                symbol.leaves(found);
            }
        }
    }

    /// A number that the expression never falls below, as far as that is plain.
    pub fn lower_bound(&self) -> Option<i64> {
        let sum = match &self.0 {
            Repr::Known(value) => return Some(*value),
            Repr::Sum(sum) => sum,
        };
        sum.terms.iter().try_fold(0_i64, |total, (monomial, coefficient)| {
            let mut product = *coefficient;
            if !monomial.0.is_empty() && product < 0 {
                return None;
            }
            for symbol in &monomial.0 {
                product = product.checked_mul(symbol.lower_bound().filter(|bound| *bound >= 0)?)?;
            }
            total.checked_add(product)
        })
    }

    /// The number that the expression has where `leaf` gives numbers for its symbols (named axes and data).
    ///
    /// `None` where a symbol is left unknown, for a division by 0 and on overflow.
    pub fn eval(&self, leaf: &dyn Fn(&Symbol) -> Option<i64>) -> Option<i64> {
        let sum = match &self.0 {
            Repr::Known(value) => return Some(*value),
            Repr::Sum(sum) => sum,
        };
        sum.terms.iter().try_fold(0_i64, |total, (monomial, coefficient)| {
            let product =
                monomial.0.iter().try_fold(*coefficient, |product, symbol| product.checked_mul(symbol.eval(leaf)?))?;
            total.checked_add(product)
        })
    }

    /// The sum.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        let mut terms = self.terms();
        for (monomial, coefficient) in other.terms() {
            let entry = terms.entry(monomial).or_insert(0);
            match entry.checked_add(coefficient) {
                Some(total) => *entry = total,
                None => return Self::lost(&("add", self, other)),
            }
        }
        Self::from_terms(terms)
    }

    /// The difference.
    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        self.add(&other.mul(&Self::known(-1)))
    }

    /// The product.
    #[must_use]
    pub fn mul(&self, other: &Self) -> Self {
        let (left, right) = (self.terms(), other.terms());
        if left.len().saturating_mul(right.len()) > MAX_WEIGHT {
            return Self::lost(&("mul", self, other));
        }
        let mut terms = Terms::new();
        for (a, x) in &left {
            for (b, y) in &right {
                let mut symbols = a.0.clone();
                symbols.extend_from_slice(&b.0);
                symbols.sort_unstable();
                let entry = terms.entry(Monomial(symbols)).or_insert(0);
                match x.checked_mul(*y).and_then(|product| entry.checked_add(product)) {
                    Some(total) => *entry = total,
                    None => return Self::lost(&("mul", self, other)),
                }
            }
        }
        Self::from_terms(terms)
    }

    /// The product of all.
    pub fn product<'a>(dims: impl IntoIterator<Item = &'a Self>) -> Self {
        dims.into_iter().fold(Self::known(1), |product, dim| product.mul(dim))
    }

    fn bounded(self) -> Self {
        if self.weight() > MAX_WEIGHT { Self::lost(&self) } else { self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn n() -> Dim {
        Dim::symbol("n")
    }

    fn k(value: i64) -> Dim {
        Dim::known(value)
    }

    #[test]
    fn equal_expressions_are_equal() {
        let h = Dim::symbol("h");
        assert_eq!(n().add(&h).mul(&n().sub(&h)), n().mul(&n()).sub(&h.mul(&h)));
        assert_eq!(n().mul(&k(4)).floor_div(&k(2)), n().mul(&k(2)));
        assert_eq!(n().sub(&k(1)).floor_div(&k(2)).add(&k(1)), n().ceil_div(&k(2)));
        assert_eq!(n().ceil_div(&k(2)).ceil_div(&k(2)), n().ceil_div(&k(4)));
        assert_eq!(n().minimum(&h), h.minimum(&n()));
        assert_eq!(n().mul(&k(2)).add(&k(1)).floor_div(&k(4)), n().floor_div(&k(2)));
        assert_eq!(n().add(&k(3)).maximum(&k(1)), n().add(&k(3)));
    }

    #[test]
    fn division_is_exact_or_refused() {
        let h = Dim::symbol("h");
        assert_eq!(n().mul(&h).mul(&k(6)).div_exact(&n().mul(&k(3))), Some(h.mul(&k(2))));
        assert_eq!(n().add(&h).mul(&n().add(&k(2))).div_exact(&n().add(&h)), Some(n().add(&k(2))));
        assert_eq!(n().add(&k(1)).div_exact(&k(2)), None);
        assert_eq!(n().div_exact(&k(0)), None);
    }

    #[test]
    fn an_expression_that_overflows_becomes_a_symbol() {
        let huge = k(i64::MAX).add(&k(1));
        assert!(huge.as_known().is_none());
        assert_eq!(huge, k(i64::MAX).add(&k(1)));
        assert!(k(i64::MIN).floor_div(&k(-1)).as_known().is_none());
        assert!(k(1).floor_div(&k(0)).as_known().is_none());
    }

    #[test]
    fn expressions_do_not_grow_without_end() {
        let mut dim = n();
        for divisor in 2..200 {
            dim = dim.floor_div(&k(divisor)).maximum(&dim.add(&k(7)).floor_div(&k(3))).mul(&dim);
        }
        assert!(dim.weight() <= MAX_WEIGHT + 1);
    }

    proptest! {
        #[test]
        fn operations_agree_with_arithmetic(a in -40_i64..40, b in -40_i64..40, c in 1_i64..12, d in 1_i64..12, x in 1_i64..50, h in 1_i64..50) {
            let value = |symbol: &Symbol| match symbol {
                Symbol::Named(name) if &**name == "n" => Some(x),
                Symbol::Named(_) => Some(h),
                _ => None,
            };
            let p = n().mul(&k(a)).add(&Dim::symbol("h").mul(&k(b))).add(&k(a - b));
            let number = a * x + b * h + a - b;
            prop_assert_eq!(p.eval(&value), Some(number));
            prop_assert_eq!(p.floor_div(&k(c)).eval(&value), Some(number.div_euclid(c)));
            prop_assert_eq!(p.floor_div(&k(c)).add(&k(a)).floor_div(&k(d)).eval(&value), Some((number.div_euclid(c) + a).div_euclid(d)));
            prop_assert_eq!(p.modulo(&k(c)).eval(&value), Some(number.rem_euclid(c)));
            prop_assert_eq!(p.floor_div(&n()).eval(&value), Some(number.div_euclid(x)));
            prop_assert_eq!(p.ceil_div(&k(c)).eval(&value), Some((number + c - 1).div_euclid(c)));
            prop_assert_eq!(p.minimum(&n()).eval(&value), Some(number.min(x)));
            prop_assert_eq!(p.maximum(&k(3)).eval(&value), Some(number.max(3)));
            if let Some(bound) = p.lower_bound() { prop_assert!(bound <= number); }
        }
    }
}
