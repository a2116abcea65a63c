//! Sizes as expressions: polynomials with integer coefficients over symbols, kept in a normal form so that equal sizes
//! compare equal.
//!
//! Symbols are the named axes of the inputs, sizes known only at run time, and what is not a polynomial (floor divisions,
//! minima, maxima, broadcasts), whose operands are part of the symbol. Nothing here panics or overflows: an expression that
//! grows beyond [`MAX_WEIGHT`] or out of 64 bits becomes a symbol of its own that only remembers which expression it was.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

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
    fn weight(&self) -> usize {
        match self {
            Self::Named(_) | Self::Data(_) | Self::Lost(_) => 1,
            Self::FloorDiv(pair) | Self::Min(pair) | Self::Max(pair) | Self::Broadcast(pair) => {
                1 + pair.0.weight() + pair.1.weight()
            }
        }
    }

    fn lower_bound(&self) -> Option<i64> {
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

    fn eval(&self, leaf: &dyn Fn(&Self) -> Option<i64>) -> Option<i64> {
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

    fn leaves<'a>(&'a self, found: &mut Vec<&'a Self>) {
        match self {
            Self::Named(_) | Self::Data(_) | Self::Lost(_) => found.push(self),
            Self::FloorDiv(pair) | Self::Min(pair) | Self::Max(pair) | Self::Broadcast(pair) => {
                pair.0.leaves(found);
                pair.1.leaves(found);
            }
        }
    }
}

/// ⌊a ÷ b⌋; `None` for a division by 0 and on overflow.
fn floor(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    Some(if a.checked_rem(b)? != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).unwrap_or(1)
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

    /// The quotient where the division leaves no rest for any value of the symbols.
    pub fn div_exact(&self, divisor: &Self) -> Option<Self> {
        if divisor.is(0) {
            return None;
        }
        if self == divisor {
            return Some(Self::known(1));
        }
        let divisor_terms = divisor.terms();
        let (lead, lead_coefficient) = divisor_terms.last_key_value()?;
        let (mut rest, mut quotient) = (self.clone(), Self::known(0));
        for _ in 0..=MAX_WEIGHT {
            if rest.is(0) {
                return Some(quotient);
            }
            let rest_terms = rest.terms();
            let (monomial, coefficient) = rest_terms.last_key_value()?;
            if coefficient.checked_rem(*lead_coefficient)? != 0 {
                return None;
            }
            let term = BTreeMap::from([(monomial.without(lead)?, coefficient.checked_div(*lead_coefficient)?)]);
            let term = Self::from_terms(term);
            quotient = quotient.add(&term);
            rest = rest.sub(&term.mul(divisor));
        }
        None
    }

    /// ⌊self ÷ divisor⌋.
    #[must_use]
    pub fn floor_div(&self, divisor: &Self) -> Self {
        if let Some(exact) = self.div_exact(divisor) {
            return exact;
        }
        match (self.as_known(), divisor.as_known()) {
            (Some(a), Some(b)) => floor(a, b).map_or_else(|| Self::lost(&("div", self, divisor)), Self::known),
            (None, Some(b)) if b > 0 => self.floor_div_known(b),
            (_, Some(_)) => Self::of(Symbol::FloorDiv(Arc::new((self.clone(), divisor.clone())))).bounded(),
            _ => self.floor_div_symbolic(divisor),
        }
    }

    /// What is divisible goes out of the floor; a common factor is cut; ⌊(⌊x ÷ c⌋ + k) ÷ b⌋ is ⌊(x + k·c) ÷ (c·b)⌋.
    fn floor_div_known(&self, divisor: i64) -> Self {
        let (mut whole, mut rest) = (Terms::new(), Terms::new());
        let mut common = divisor;
        for (monomial, coefficient) in self.terms() {
            if monomial.0.is_empty() {
                whole.insert(monomial.clone(), coefficient.div_euclid(divisor));
                rest.insert(monomial, coefficient.rem_euclid(divisor));
            } else if coefficient % divisor == 0 {
                whole.insert(monomial, coefficient / divisor);
            } else {
                common = gcd(common, coefficient);
                rest.insert(monomial, coefficient);
            }
        }
        let whole = Self::from_terms(whole);
        for coefficient in rest.values_mut() {
            *coefficient = coefficient.div_euclid(common);
        }
        let (rest, divisor) = (Self::from_terms(rest), divisor / common);
        if rest.as_known().is_some() || divisor == 1 {
            return whole.add(&if divisor == 1 { rest } else { Self::known(0) });
        }
        let constant = Self::known(rest.terms().get(&Monomial::default()).copied().unwrap_or(0));
        if let Some(Symbol::FloorDiv(pair)) = rest.sub(&constant).as_symbol()
            && let Some(inner) = pair.1.as_known().filter(|inner| *inner > 0)
            && let Some(outer) = inner.checked_mul(divisor)
        {
            let numerator = pair.0.add(&constant.mul(&Self::known(inner)));
            return whole.add(&numerator.floor_div(&Self::known(outer)));
        }
        whole.add(&Self::of(Symbol::FloorDiv(Arc::new((rest, Self::known(divisor))))).bounded())
    }

    fn floor_div_symbolic(&self, divisor: &Self) -> Self {
        let (mut whole, mut rest) = (Self::known(0), Self::known(0));
        for (monomial, coefficient) in self.terms() {
            let term = Self::from_terms(BTreeMap::from([(monomial, coefficient)]));
            match term.div_exact(divisor) {
                Some(quotient) => whole = whole.add(&quotient),
                None => rest = rest.add(&term),
            }
        }
        if let (Some(rest), Some(bound)) = (rest.as_known(), divisor.lower_bound())
            && rest >= 0
            && rest < bound
        {
            return whole;
        }
        whole.add(&Self::of(Symbol::FloorDiv(Arc::new((rest, divisor.clone())))).bounded())
    }

    /// ⌈self ÷ divisor⌉ for a positive divisor.
    #[must_use]
    pub fn ceil_div(&self, divisor: &Self) -> Self {
        match divisor.as_known() {
            Some(known) if known < 0 => {
                let minus = Self::known(-1);
                self.mul(&minus).ceil_div(&divisor.mul(&minus))
            }
            _ => self.add(divisor).sub(&Self::known(1)).floor_div(divisor),
        }
    }

    /// The rest of the floor division; it has the divisor's sign.
    #[must_use]
    pub fn modulo(&self, divisor: &Self) -> Self {
        self.sub(&self.floor_div(divisor).mul(divisor))
    }

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

    fn bounded(self) -> Self {
        if self.weight() > MAX_WEIGHT { Self::lost(&self) } else { self }
    }
}

impl Monomial {
    /// This product divided by another; `None` where it does not hold it.
    fn without(&self, other: &Self) -> Option<Self> {
        let mut rest = self.0.clone();
        for symbol in &other.0 {
            rest.remove(rest.iter().position(|candidate| candidate == symbol)?);
        }
        Some(Self(rest))
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Data(what) => write!(f, "?{what}"),
            Self::Lost(hash) => write!(f, "?{hash:x}"),
            Self::FloorDiv(pair) => write!(f, "floor(({})/({}))", pair.0, pair.1),
            Self::Min(pair) => write!(f, "min({}, {})", pair.0, pair.1),
            Self::Max(pair) => write!(f, "max({}, {})", pair.0, pair.1),
            Self::Broadcast(pair) => write!(f, "broadcast({}, {})", pair.0, pair.1),
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = match &self.0 {
            Repr::Known(value) => return write!(f, "{value}"),
            Repr::Sum(sum) => sum,
        };
        for (i, (monomial, coefficient)) in sum.terms.iter().rev().enumerate() {
            match (i, *coefficient < 0) {
                (0, true) => f.write_str("-")?,
                (0, false) => {}
                (_, true) => f.write_str(" - ")?,
                (_, false) => f.write_str(" + ")?,
            }
            let size = coefficient.unsigned_abs();
            if monomial.0.is_empty() {
                write!(f, "{size}")?;
                continue;
            }
            if size != 1 {
                write!(f, "{size}*")?;
            }
            for (j, symbol) in monomial.0.iter().enumerate() {
                write!(f, "{}{symbol}", if j > 0 { "*" } else { "" })?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
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
