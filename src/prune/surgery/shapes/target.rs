//! The sizes that the output of a reshape, an expansion or a resize has to get.

use super::{Change, Requirements, Visit, Whole};
use crate::onnx::shape::{Dim, Symbol};

impl Visit<'_> {
    /// A shape that the output has to get. `-1` and `0` stay where the size comes out right; a `-1` that comes out wrong
    /// does so because of another number, which is required instead. Sizes that do not change may come out wrong as well:
    /// where they are computed from the size of another axis.
    pub(super) fn target(&self, found: &mut Requirements, slot: usize) {
        let (Some(expected), Some(before)) =
            (self.tailor.expected(self.output()), self.tailor.inferred.dims(self.output()))
        else {
            return;
        };
        let actual = self.inferred.dims(self.output());
        let numbers = self.numbers_now(slot);
        let (mut changes, mut open) = (Vec::new(), false);
        for (axis, size) in expected.iter().enumerate() {
            let now = actual.and_then(|dims| dims.get(axis));
            let wrong = match size {
                Some(size) => now != Some(size),
                None => now.is_some_and(|now| depends_on_sizes_alone(now) && *now != before[axis]),
            };
            let number = numbers.as_ref().and_then(|numbers| numbers.get(axis).copied().flatten());
            if !wrong || number == Some(-1) {
                continue;
            }
            let hold = (self.output().to_owned(), axis);
            match size.as_ref().unwrap_or(&before[axis]).as_known() {
                Some(number) => changes.push(Change { element: axis, number, hold }),
                None => open = true,
            }
        }
        if changes.is_empty() && !open {
            return;
        }
        if !open && self.are_copies(slot, &changes) {
            return self.change(found, slot, changes);
        }
        let sizes: Vec<Dim> =
            expected.iter().zip(before).map(|(size, before)| size.as_ref().unwrap_or(before).clone()).collect();
        match self.left_to_the_operator(&sizes) {
            Ok(elements) => found.wholes.push(Whole::Input { node: self.index, slot, elements, shape: None }),
            // What is open was so before; what can be kept is what is cut.
            Err(_) => {
                for axis in expected.iter().enumerate().filter(|(_, size)| size.is_some()).map(|(axis, _)| axis) {
                    self.hold(found, self.output(), axis, "its size is computed when the model runs");
                }
            }
        }
    }

    /// A target that gives these sizes: numbers, and for sizes that are open what makes the operator find them. Errors: the
    /// open axis for which it cannot.
    fn left_to_the_operator(&self, sizes: &[Dim]) -> Result<Vec<i64>, usize> {
        let input = self.input_now(0).and_then(|name| self.inferred.dims(name)).unwrap_or_default();
        let (reshapes, expands) = (self.node.is("Reshape"), self.node.is("Expand"));
        let copies = reshapes && self.node.int("allowzero").unwrap_or(0) == 0;
        let mut rest = reshapes;
        let element = |(axis, size): (usize, &Dim)| {
            let from_the_end = sizes.len() - axis;
            match size.as_known() {
                Some(number) => Ok(number),
                None if copies && input.get(axis) == Some(size) => Ok(0),
                None if expands && input.len().checked_sub(from_the_end).is_some_and(|at| input[at] == *size) => Ok(1),
                None if std::mem::take(&mut rest) => Ok(-1),
                None => Err(axis),
            }
        };
        sizes.iter().enumerate().map(element).collect()
    }
}

/// Whether a size follows from sizes, not from elements that are only known when the model runs.
fn depends_on_sizes_alone(size: &Dim) -> bool {
    !size.symbols().iter().any(|symbol| matches!(symbol, Symbol::Data(_)))
}
