//! Whether samples can be made for the inputs of a model.

use super::value::is_integer;
use super::{Mismatch, Place};
use crate::spec::summary::ModelSummary;
use crate::spec::synthetic::{Distribution, Synthetic};

/// Checks that every input that was stated is there, and that integers have a range. Shapes and the rest of the types are
/// the job's to see.
pub(super) fn check_synthetic(model: &ModelSummary, wishes: &Synthetic, place: &Place, found: &mut Vec<Mismatch>) {
    let at = |name: &str| format!("{}/synthetic/inputs/{}", place.spec, name.replace('~', "~0").replace('/', "~1"));
    for name in wishes.inputs.keys().filter(|name| model.inputs.iter().all(|input| input.name != **name)) {
        let inputs = model.inputs.iter().map(|input| format!("`{}`", input.name)).collect::<Vec<_>>().join(", ");
        found.push(Mismatch::spec(at(name), format!("`{name}` is no input of the model; it has {inputs}")));
    }
    for input in model.inputs.iter().filter(|input| is_integer(&input.dtype)) {
        let message = match wishes.inputs.get(&input.name) {
            Some(Distribution::Integers { .. }) => continue,
            Some(other) => {
                format!("the input `{}` takes {}, which is not drawn {other}: give `integers`", input.name, input.dtype)
            }
            None => {
                format!("the input `{}` takes {}: say with `integers` from which it is drawn", input.name, input.dtype)
            }
        };
        found.push(Mismatch::spec(at(&input.name), message));
    }
}
