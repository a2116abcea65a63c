//! Whether a dataset serves the inputs of a model.

use super::value::{NumberKind, is_float, is_integer, kind_of_numpy, shape_fits, shape_message};
use super::{Mismatch, Place};
use crate::spec::preprocess::{Channels, Layout, Preprocess};
use crate::spec::summary::{ArraySummary, DatasetFormat, DatasetSummary, ModelSummary, ValueSummary};

/// Checks that every input of the model is served by an array of the right rank, shape and type.
pub(super) fn check_inputs(
    model: &ModelSummary,
    dataset: &DatasetSummary,
    replaced: Option<&Preprocess>,
    place: &Place,
    found: &mut Vec<Mismatch>,
) {
    match dataset.format {
        DatasetFormat::ImageFolder => check_images(model, dataset, replaced, place, found),
        DatasetFormat::Npz => {
            for input in &model.inputs {
                let Some(array) = serving(model, dataset, input) else {
                    let names = dataset.arrays.iter().map(|array| format!("`{}`", array.name)).collect::<Vec<_>>();
                    let message = format!(
                        "no array is named after the model's input `{}`; besides the labels the dataset holds {}",
                        input.name,
                        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
                    );
                    found.push(Mismatch::dataset(&place.dataset, message));
                    continue;
                };
                check_array(input, array, place, found);
                if let Some((pointer, preprocess)) = effective(dataset, replaced, place)
                    && matches!(kind_of_numpy(&array.dtype), Some(NumberKind::Integer))
                    && is_float(&input.dtype)
                {
                    check_channels(preprocess, &array.sample_shape, &pointer, found);
                }
            }
        }
    }
}

/// The preprocessing that applies and where it stands: in the spec where it is replaced there, else with the dataset.
fn effective<'a>(
    dataset: &'a DatasetSummary,
    replaced: Option<&'a Preprocess>,
    place: &Place,
) -> Option<(String, &'a Preprocess)> {
    match replaced {
        Some(replaced) => Some((format!("{}/preprocess", place.spec), replaced)),
        None => dataset.preprocess.as_ref().map(|own| (place.dataset.clone(), own)),
    }
}

/// Checks that there is one mean and deviation for all channels, or one for each.
fn check_channels(preprocess: &Preprocess, sample: &[u64], pointer: &str, found: &mut Vec<Mismatch>) {
    let channels = match preprocess.layout {
        Layout::Nchw => sample.first(),
        Layout::Nhwc => sample.last(),
    };
    let channels = channels.copied().unwrap_or(1);
    for (field, values) in [("mean", &preprocess.mean), ("std", &preprocess.std)] {
        if values.len() > 1 && values.len() as u64 != channels {
            let message = format!("`{field}` has {} values, but the samples have {channels} channels", values.len());
            found.push(Mismatch::dataset(pointer, message));
        }
    }
}

/// The array that serves an input: the one of its name, or the only one where the model has one input.
fn serving<'a>(model: &ModelSummary, dataset: &'a DatasetSummary, input: &ValueSummary) -> Option<&'a ArraySummary> {
    if let ([_], [array]) = (model.inputs.as_slice(), dataset.arrays.as_slice()) {
        return Some(array);
    }
    dataset.arrays.iter().find(|array| array.name == input.name)
}

fn check_array(input: &ValueSummary, array: &ArraySummary, place: &Place, found: &mut Vec<Mismatch>) {
    if !shape_fits(input, &array.sample_shape) {
        found.push(Mismatch::dataset(&place.dataset, shape_message(input, &array.name, &array.sample_shape)));
    }
    let fits = match kind_of_numpy(&array.dtype) {
        Some(NumberKind::Float) => is_float(&input.dtype),
        // Integers become numbers of either kind.
        Some(NumberKind::Integer) => is_float(&input.dtype) || is_integer(&input.dtype),
        Some(NumberKind::Bool) => input.dtype == "bool",
        None => false,
    };
    if !fits {
        let message = format!(
            "the array `{}` holds {}, but the model's input `{}` takes {}",
            array.name, array.dtype, input.name, input.dtype
        );
        found.push(Mismatch::dataset(&place.dataset, message));
    }
}

fn check_images(
    model: &ModelSummary,
    dataset: &DatasetSummary,
    replaced: Option<&Preprocess>,
    place: &Place,
    found: &mut Vec<Mismatch>,
) {
    let [input] = model.inputs.as_slice() else {
        let message = format!("a folder of images serves a model of one input; this one has {}", model.inputs.len());
        found.push(Mismatch::dataset(&place.dataset, message));
        return;
    };
    let Some((pointer, preprocess)) = effective(dataset, replaced, place) else {
        let message = "the images have no `preprocess`; give one in the spec".into();
        found.push(Mismatch::dataset(&place.dataset, message));
        return;
    };
    let Some([height, width]) = preprocess.size else {
        let message = "images need a `size` of [height, width] to become arrays of one shape".into();
        found.push(Mismatch::dataset(&pointer, message));
        return;
    };
    let channels = match preprocess.channels {
        Channels::Rgb | Channels::Bgr => 3,
        Channels::Gray => 1,
    };
    let (height, width) = (u64::from(height), u64::from(width));
    let sample = match preprocess.layout {
        Layout::Nchw => [channels, height, width],
        Layout::Nhwc => [height, width, channels],
    };
    check_channels(preprocess, &sample, &pointer, found);
    if !shape_fits(input, &sample) {
        found.push(Mismatch::dataset(&pointer, shape_message(input, "image", &sample)));
    }
    // Integers are taken as they are decoded.
    if !is_float(&input.dtype) && !is_integer(&input.dtype) {
        let message = format!("images are numbers, but the input `{}` takes {}", input.name, input.dtype);
        found.push(Mismatch::dataset(&place.dataset, message));
    }
}
