//! Comparing the outputs of two models.

use crate::onnx::tensor::Tensor;

/// Largest |a − b| ÷ largest |a|, accumulated over runs: the scale is that of the output over everything it was seen to give.
#[derive(Clone, Copy, Debug, Default)]
pub struct Difference {
    largest: f64,
    scale: f64,
    unequal: bool,
    /// Whether anything was compared that could differ: two numbers that are no NaN, or elements of another type.
    something: bool,
}

impl Difference {
    /// Takes in one run.
    pub fn add(&mut self, reference: &Tensor, other: &Tensor) {
        if reference.shape != other.shape || reference.dtype != other.dtype {
            self.unequal = true;
            return;
        }
        if let (Ok(a), Ok(b)) = (reference.to_f32(), other.to_f32()) {
            for (a, b) in a.iter().zip(b.iter()) {
                let (a, b) = (f64::from(*a), f64::from(*b));
                // Equal infinities agree, as two NaNs do; a number and a NaN do not.
                if a == b || (a.is_nan() && b.is_nan()) {
                    self.scale = if a.is_finite() { self.scale.max(a.abs()) } else { self.scale };
                    self.something |= a.is_finite();
                } else if (a - b).is_finite() {
                    self.largest = self.largest.max((a - b).abs());
                    self.scale = self.scale.max(a.abs());
                    self.something = true;
                } else {
                    self.unequal = true;
                }
            }
        } else {
            self.unequal |= reference.data != other.data;
            self.something = true;
        }
    }

    /// The error; infinite where shapes or types differ, or a number meets none. `None` where there was no number to
    /// compare: that both give only NaN proves nothing.
    pub fn error(&self) -> Option<f64> {
        if self.unequal {
            Some(f64::INFINITY)
        } else if self.largest == 0.0 {
            self.something.then_some(0.0)
        } else {
            Some(self.largest / self.scale)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_relative_to_the_scale_of_the_whole_output() {
        let mut difference = Difference::default();
        difference.add(&Tensor::from_f32(&[2], &[100.0, 0.0]), &Tensor::from_f32(&[2], &[100.0, 0.5]));
        assert_eq!(difference.error(), Some(0.005));
        difference.add(&Tensor::from_f32(&[1], &[f32::NAN]), &Tensor::from_f32(&[1], &[0.0]));
        assert_eq!(difference.error(), Some(f64::INFINITY));
    }

    #[test]
    fn another_shape_is_never_equal() {
        let mut difference = Difference::default();
        difference.add(&Tensor::from_f32(&[2], &[0.0, 0.0]), &Tensor::from_f32(&[1], &[0.0]));
        assert_eq!(difference.error(), Some(f64::INFINITY));
    }

    #[test]
    fn where_nothing_is_a_number_nothing_is_proven() {
        let mut difference = Difference::default();
        let nothing = Tensor::from_f32(&[2], &[f32::NAN, f32::INFINITY]);
        difference.add(&nothing, &nothing);
        assert_eq!(difference.error(), None);
        difference.add(&Tensor::from_f32(&[1], &[1.0]), &Tensor::from_f32(&[1], &[1.0]));
        assert_eq!(difference.error(), Some(0.0));
    }
}
