//! Small tensors that describe shapes, evaluated symbolically element by element.
//!
//! Elements are [`Dim`]s. Each remembers the constant element that it was copied from unchanged, so that surgery can
//! rewrite that constant. Between a cast to float and the rounding back, elements may be fractions; those are kept apart
//! and never shown as integers.

use std::sync::Arc;

use super::dim::Dim;
use crate::onnx::dtype::DataType;
use crate::onnx::tensor::Tensor;

/// Elements above which a tensor is not followed. Shape computations have a handful; position tables of attention up to
/// the sequence length.
pub const MAX_ELEMENTS: usize = 1024;

/// An element of a constant: of an initializer, or of a `Constant` node's output.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// Name of the value that holds the constant.
    pub tensor: Arc<str>,
    /// Row-major position in it.
    pub index: usize,
}

/// A tensor of integers (or fractions on their way to integers), row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct ShapeValue {
    pub shape: Vec<usize>,
    /// What each element is; the numerators of a value that is not [integral](Self::is_integral).
    pub elements: Vec<Dim>,
    /// Where each element comes from, where it is an unchanged copy of a constant's.
    pub origins: Vec<Option<Origin>>,
    /// One for each element; `None` where all are 1.
    denominators: Option<Vec<Dim>>,
}

impl ShapeValue {
    /// Computed elements; `None` where they do not fill the shape or are too many.
    pub fn new(shape: Vec<usize>, elements: Vec<Dim>) -> Option<Self> {
        let origins = vec![None; elements.len()];
        Self::with_origins(shape, elements, origins)
    }

    fn with_origins(shape: Vec<usize>, elements: Vec<Dim>, origins: Vec<Option<Origin>>) -> Option<Self> {
        let fits = element_count(&shape) == Some(elements.len());
        fits.then_some(Self { shape, elements, origins, denominators: None })
    }

    /// Elements with denominators; those that divide their numerators are divided out.
    pub fn fractions(shape: Vec<usize>, elements: Vec<(Dim, Dim)>) -> Option<Self> {
        let one = Dim::known(1);
        let (mut numerators, mut denominators) = (Vec::new(), Vec::new());
        for (numerator, denominator) in elements {
            match numerator.div_exact(&denominator) {
                Some(quotient) => {
                    numerators.push(quotient);
                    denominators.push(one.clone());
                }
                None if denominator.lower_bound().is_some_and(|bound| bound > 0) => {
                    numerators.push(numerator);
                    denominators.push(denominator);
                }
                None => return None,
            }
        }
        let mut value = Self::new(shape, numerators)?;
        value.denominators = denominators.iter().any(|denominator| !denominator.is(1)).then_some(denominators);
        Some(value)
    }

    /// One number.
    pub fn scalar(element: Dim) -> Self {
        Self { shape: Vec::new(), elements: vec![element], origins: vec![None], denominators: None }
    }

    /// A constant under the name of the value that holds it. Floats are followed where they are short binary fractions.
    pub fn from_constant(name: &str, tensor: &Tensor) -> Option<Self> {
        if tensor.len() > MAX_ELEMENTS {
            return None;
        }
        let name: Arc<str> = name.into();
        let origins = (0..tensor.len()).map(|index| Some(Origin { tensor: Arc::clone(&name), index })).collect();
        let mut value = if let Ok(numbers) = tensor.to_i64() {
            if tensor.dtype == DataType::Uint64 && numbers.iter().any(|number| *number < 0) {
                return None;
            }
            Self::new(tensor.shape.clone(), numbers.into_iter().map(Dim::known).collect())?
        } else {
            let numbers = tensor.to_f32().ok()?;
            let fractions = numbers.iter().map(|number| binary_fraction(*number)).collect::<Option<Vec<_>>>()?;
            Self::fractions(tensor.shape.clone(), fractions)?
        };
        value.origins = origins;
        Some(value)
    }

    /// Whether every element is an integer.
    pub fn is_integral(&self) -> bool {
        self.denominators.is_none()
    }

    /// The elements as numbers, where all are known integers.
    pub fn known(&self) -> Option<Vec<i64>> {
        self.is_integral().then(|| self.elements.iter().map(Dim::as_known).collect())?
    }

    /// Numerator and denominator of an element.
    pub fn fraction(&self, index: usize) -> Option<(Dim, Dim)> {
        let denominator = match &self.denominators {
            Some(denominators) => denominators.get(index)?.clone(),
            None => Dim::known(1),
        };
        Some((self.elements.get(index)?.clone(), denominator))
    }

    /// The elements at these positions in a new shape, unchanged.
    pub fn pick(&self, shape: Vec<usize>, positions: &[usize]) -> Option<Self> {
        let elements = positions.iter().map(|i| self.elements.get(*i).cloned()).collect::<Option<Vec<_>>>()?;
        let origins = positions.iter().map(|i| self.origins.get(*i).cloned().flatten()).collect();
        let mut picked = Self::with_origins(shape, elements, origins)?;
        if let Some(denominators) = &self.denominators {
            picked.denominators = Some(positions.iter().map(|i| denominators.get(*i).cloned()).collect::<Option<_>>()?);
        }
        Some(picked)
    }

    /// The same elements in another shape.
    pub fn reshaped(&self, shape: Vec<usize>) -> Option<Self> {
        let fits = element_count(&shape) == Some(self.elements.len());
        fits.then(|| Self { shape, ..self.clone() })
    }

    /// All elements in one list: first this value's, then the other's.
    pub fn chain(&self, other: &Self) -> Option<Self> {
        let shape = vec![self.elements.len() + other.elements.len()];
        let elements = self.elements.iter().chain(&other.elements).cloned().collect();
        let origins = self.origins.iter().chain(&other.origins).cloned().collect();
        let mut chained = Self::with_origins(shape, elements, origins)?;
        if self.denominators.is_some() || other.denominators.is_some() {
            let part = |value: &Self| match &value.denominators {
                Some(denominators) => denominators.clone(),
                None => vec![Dim::known(1); value.elements.len()],
            };
            chained.denominators = Some(part(self).into_iter().chain(part(other)).collect());
        }
        Some(chained)
    }

    /// A new value from each element, which may be a fraction.
    pub fn map(&self, change: impl Fn(Dim, Dim) -> Option<(Dim, Dim)>) -> Option<Self> {
        let elements = (0..self.elements.len())
            .map(|i| self.fraction(i).and_then(|(numerator, denominator)| change(numerator, denominator)))
            .collect::<Option<Vec<_>>>()?;
        Self::fractions(self.shape.clone(), elements)
    }

    /// For each element of the broadcast shape the positions in the two values; `None` where they do not broadcast.
    pub fn broadcast(&self, other: &Self) -> Option<(Vec<usize>, Pairs)> {
        let rank = self.shape.len().max(other.shape.len());
        let size = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
        let shape = (0..rank)
            .map(|axis| match (size(&self.shape, axis), size(&other.shape, axis)) {
                (a, b) if a == b || b == 1 => Some(a),
                (1, b) => Some(b),
                _ => None,
            })
            .collect::<Option<Vec<usize>>>()?;
        let count = element_count(&shape)?;
        let position = |own: &[usize], flat: usize| {
            let (mut rest, mut stride, mut position) = (flat, 1, 0);
            for axis in (0..rank).rev() {
                let index = rest % shape[axis];
                rest /= shape[axis];
                let extent = size(own, axis);
                position += if extent == 1 { 0 } else { index * stride };
                stride *= extent;
            }
            position
        };
        let pairs = (0..count).map(|flat| (position(&self.shape, flat), position(&other.shape, flat))).collect();
        Some((shape, pairs))
    }
}

/// Positions in two values that meet.
type Pairs = Vec<(usize, usize)>;

/// Number of elements; `None` where they are too many, or where even an empty shape has axes too long to reckon with.
pub fn element_count(shape: &[usize]) -> Option<usize> {
    let extent = shape.iter().try_fold(1_usize, |extent, size| extent.checked_mul((*size).max(1)))?;
    (extent <= MAX_ELEMENTS).then(|| shape.iter().product())
}

/// A float as numerator and power of two; `None` where it takes more than 20 binary places or 40 bits.
fn binary_fraction(number: f32) -> Option<(Dim, Dim)> {
    let number = f64::from(number);
    (0..=20_u32).map(|places| (number * f64::from(1_u32 << places), 1_i64 << places)).find_map(
        |(scaled, denominator)| {
            let whole = scaled == scaled.trunc() && scaled.abs() < 1_099_511_627_776.0;
            whole.then(|| (Dim::known(scaled as i64), Dim::known(denominator)))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_remember_their_elements() {
        let value = ShapeValue::from_constant("target", &Tensor::from_i64(&[3], &[1, -1, 64])).unwrap();
        let picked = value.pick(vec![1], &[2]).unwrap();
        assert_eq!(picked.elements, [Dim::known(64)]);
        assert_eq!(picked.origins, [Some(Origin { tensor: "target".into(), index: 2 })]);
        assert_eq!(value.map(|n, d| Some((n.add(&Dim::known(1)), d))).unwrap().origins, [None, None, None]);
    }

    #[test]
    fn fractions_are_not_integers_until_they_divide() {
        let half = ShapeValue::from_constant("half", &Tensor::from_f32(&[1], &[0.5])).unwrap();
        assert!(!half.is_integral() && half.known().is_none());
        let two = ShapeValue::fractions(vec![1], vec![(Dim::symbol("n").mul(&Dim::known(4)), Dim::known(2))]).unwrap();
        assert!(two.is_integral());
        assert_eq!(ShapeValue::from_constant("third", &Tensor::from_f32(&[1], &[1.0 / 3.0])), None);
    }

    #[test]
    fn broadcasting_pairs_the_elements() {
        let column = ShapeValue::new(vec![2, 1], vec![Dim::known(1), Dim::known(2)]).unwrap();
        let row = ShapeValue::new(vec![3], vec![Dim::known(1), Dim::known(2), Dim::known(3)]).unwrap();
        let (shape, pairs) = column.broadcast(&row).unwrap();
        assert_eq!(shape, [2, 3]);
        assert_eq!(pairs, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]);
    }
}
