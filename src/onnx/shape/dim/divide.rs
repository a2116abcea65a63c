//! Division of sizes: exact, down, up, and the rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Dim, MAX_WEIGHT, Monomial, Symbol, Terms};

impl Dim {
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

/// ⌊a ÷ b⌋; `None` for a division by 0 and on overflow.
pub(super) fn floor(a: i64, b: i64) -> Option<i64> {
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
