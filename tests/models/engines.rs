//! Both engines on every graph of the zoo, against outputs that were written down when the graphs were made.

use secateur::data::read_arrays;
use secateur::engine::{Engine, EngineError, SessionOptions, onnx_runtime, tract};
use secateur::onnx::dtype::DataType;
use secateur::onnx::tensor::Tensor;
use secateur::spec::attempt::DatasetLimits;

use crate::published;

/// Allowed difference ÷ largest magnitude of the expected output: 32-bit sums in another order.
const TOLERANCE: f64 = 1e-4;
/// The worst relative difference of all outputs.
fn error(engine: &dyn Engine, name: &str) -> Option<Result<f64, EngineError>> {
    let folder = published::folder()?;
    let model = super::model(&folder, &format!("zoo/{name}.onnx"));
    let arrays = read_arrays(&folder.join(format!("io/{name}.npz")), &DatasetLimits::default()).unwrap();
    let named = |prefix: &str| -> Vec<(String, Tensor)> {
        let strip = |array: &secateur::data::NamedArray| {
            Some((array.name.strip_prefix(prefix)?.to_owned(), array.tensor.clone()))
        };
        arrays.iter().filter_map(strip).collect()
    };
    let (inputs, expected) = (named("in_"), named("out_"));
    assert!(!inputs.is_empty() && !expected.is_empty(), "{name}");
    let feeds: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let outputs = engine.load(&model, &SessionOptions::default()).and_then(|mut session| {
        let names = session.output_names().to_vec();
        Ok((names, session.run(&feeds)?))
    });
    Some(outputs.map(|(names, outputs)| {
        let errors = expected.iter().map(|(output, expected)| {
            let place = names.iter().position(|name| name == output);
            let place = place.unwrap_or_else(|| panic!("{name} has no output {output}; it has {names:?}"));
            difference(&outputs[place], expected, &format!("{name} {output}"))
        });
        errors.fold(0.0, f64::max)
    }))
}

fn difference(found: &Tensor, expected: &Tensor, what: &str) -> f64 {
    assert_eq!((found.dtype, &found.shape), (expected.dtype, &expected.shape), "{what}");
    assert_eq!(found.dtype, DataType::Float, "{what}");
    let (found, expected) = (found.to_f32().unwrap(), expected.to_f32().unwrap());
    let scale = expected.iter().fold(f64::MIN_POSITIVE, |scale, value| scale.max(f64::from(value.abs())));
    let pairs = found.iter().zip(expected.iter());
    pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs() / scale).fold(0.0, f64::max)
}

fn zoo() -> Vec<String> {
    let Some(folder) = published::folder() else { return Vec::new() };
    let files = std::fs::read_dir(folder.join("io")).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = files.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    names
}

fn every_graph_agrees(engine: &dyn Engine) {
    for name in zoo() {
        let Some(result) = error(engine, &name) else { return };
        let worst = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("{name}: {worst:.1e}");
        assert!(worst <= TOLERANCE, "{name}: {worst}");
    }
}

#[test]
fn onnx_runtime_gives_the_outputs_that_were_written_down() {
    match onnx_runtime() {
        Ok(runtime) => every_graph_agrees(runtime),
        Err(error) => eprintln!("skipped: {error}"),
    }
}

/// tract 0.23.9 declines none of these graphs; a release that does is a finding for certificates.
#[test]
fn tract_gives_the_outputs_that_were_written_down() {
    every_graph_agrees(&tract());
}
