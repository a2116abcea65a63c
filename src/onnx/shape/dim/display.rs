//! Sizes as people read them: `2*batch*length + 1`.

use std::fmt;

use super::{Dim, Repr, Symbol};

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
