//! Inferred shapes and shape values against what ONNX Runtime computes, for every value of every real model.

use std::collections::BTreeMap;

use secateur::engine::{Engine as _, Optimization, SessionOptions, onnx_runtime};
use secateur::onnx::model::Model;
use secateur::onnx::proto::ValueInfoProto;
use secateur::onnx::shape::{Dim, Inferred, Symbol, infer, infer_with};
use secateur::onnx::tensor::Tensor;

use crate::corpus;

/// All values of the main graph as ONNX Runtime computes them.
fn run_all(model: &Model, feeds: &[(String, Tensor)]) -> Vec<(String, Tensor)> {
    let mut open = model.clone();
    let graph = open.graph_proto_mut();
    graph.value_info.clear();
    let known: Vec<String> = graph.output.iter().map(|info| info.name().to_owned()).collect();
    let made = graph.node.iter().flat_map(|node| node.output.iter()).filter(|name| !name.is_empty());
    let added: Vec<ValueInfoProto> = made
        .filter(|name| !known.contains(name))
        .map(|name| ValueInfoProto { name: Some(name.clone()), ..ValueInfoProto::default() })
        .collect();
    graph.output.extend(added);
    let options = SessionOptions { optimization: Optimization::Disabled, ..SessionOptions::default() };
    let mut session = onnx_runtime().unwrap().load(&open, &options).unwrap();
    let names = session.output_names().to_vec();
    let lent: Vec<(&str, &Tensor)> = feeds.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    names.into_iter().zip(session.run(&lent).unwrap()).collect()
}

/// What a comparison found.
#[derive(Default, Debug)]
struct Tally {
    equal: usize,
    open: usize,
    values: usize,
    wrong: Vec<String>,
}

fn compare(inferred: &Inferred, run: &[(String, Tensor)], leaf: &dyn Fn(&Symbol) -> Option<i64>, tally: &mut Tally) {
    for (name, tensor) in run {
        let expected: Vec<i64> = tensor.shape.iter().map(|size| *size as i64).collect();
        match inferred.dims(name) {
            None => {
                tally.open += 1;
                eprintln!("  {name}: {expected:?} unknown: {:?}", inferred.unknown().iter().find(|u| u.value == *name));
            }
            Some(dims) => {
                let found: Vec<Option<i64>> = dims.iter().map(|dim| dim.eval(leaf)).collect();
                let fits = found.len() == expected.len()
                    && found.iter().zip(&expected).all(|(found, size)| found.is_none_or(|found| found == *size));
                if !fits {
                    tally.wrong.push(format!("{name}: {dims:?} is not {expected:?}"));
                } else if found.iter().any(Option::is_none) {
                    tally.open += 1;
                    eprintln!("  {name}: {expected:?} is only known as {dims:?}");
                } else {
                    tally.equal += 1;
                }
            }
        }
        if inferred.dtype(name).is_some_and(|dtype| dtype != tensor.dtype) {
            tally.wrong.push(format!("{name}: {:?} is not {}", inferred.dtype(name), tensor.dtype));
        }
        if let Some(value) = inferred.value(name) {
            let numbers: Vec<i64> = match tensor.to_i64() {
                Ok(numbers) => numbers,
                Err(_) => tensor.to_f32().unwrap().iter().map(|number| *number as i64).collect(),
            };
            let found: Vec<Option<i64>> = value.elements.iter().map(|element: &Dim| element.eval(leaf)).collect();
            if value.shape != tensor.shape || found.iter().zip(&numbers).any(|(a, b)| a.is_some_and(|a| a != *b)) {
                tally.wrong.push(format!("{name}: elements {:?} are not {numbers:?}", value.elements));
            }
            tally.values += 1;
        }
    }
}

#[test]
fn inferred_shapes_are_those_of_the_runtime() {
    let mut wrong = Vec::new();
    let (mut fixed, mut symbolic) = (Tally::default(), Tally::default());
    for path in corpus::files() {
        let model = corpus::load(&path);
        eprintln!("{}", path.display());
        let feeds = corpus::feeds(&model, &BTreeMap::from([("batch", 3), ("N", 3), ("seq", 7), ("sequence", 512)]));
        let run = run_all(&model, &feeds);
        let shapes: BTreeMap<String, Vec<i64>> = feeds
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.shape.iter().map(|size| *size as i64).collect()))
            .collect();
        compare(&infer_with(&model, &shapes), &run, &|_| None, &mut fixed);
        let inferred = infer(&model);
        let mut symbols = BTreeMap::new();
        for (name, shape) in &shapes {
            for (dim, size) in inferred.dims(name).unwrap().iter().zip(shape) {
                if let Some(symbol) = dim.as_symbol() {
                    symbols.insert(symbol.clone(), *size);
                }
            }
        }
        compare(&inferred, &run, &|symbol| symbols.get(symbol).copied(), &mut symbolic);
        for tally in [&mut fixed, &mut symbolic] {
            wrong.extend(tally.wrong.drain(..).map(|line| format!("{}: {line}", path.display())));
        }
    }
    eprintln!("fixed {fixed:?}, symbolic {symbolic:?}");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
