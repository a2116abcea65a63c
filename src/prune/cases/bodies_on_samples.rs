//! Models with graphs inside of nodes, cut by criteria that look at samples: what is inside cannot be observed.

use super::bodies::{branches, branches_in_turns, decided, growing, steps, turns};
use super::*;
use crate::data::test_files::labelled;
use crate::data::{Calibration, Dataset};
use crate::spec::attempt::DatasetLimits;
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::prune::{Criterion, Rung};

/// Cut by half with samples of the shape.
fn on_samples(model: &Model, shape: &[usize], spec: &PruneSpec) -> Result<Pruned, PruneError> {
    let count = 40 * shape.iter().product::<usize>();
    let rows: Vec<f32> = (0..count).map(|at| ((at * 37 % 101) as f32 - 50.0) / 25.0).collect();
    let file = labelled(&[&[40], shape].concat(), &rows, &[0; 40]);
    let dataset = Dataset::open(&file.path, None, &DatasetLimits::default()).unwrap();
    let calibration = Calibration::new(&dataset, model, 20, 1).unwrap();
    prune(model, spec, Some(&calibration), 1, &|_| {})
}

fn by(criterion: Criterion, recovery: Vec<Rung>) -> PruneSpec {
    PruneSpec { criterion, recovery, ..half() }
}

/// Products as Gemm, and their weights outside, as exporters of scripts leave them: all that is not known of the layers
/// inside is the value that they map.
fn with_weights_outside(mut model: Model) -> Model {
    let graph = model.graph_proto_mut();
    let mut outside = Vec::new();
    let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
    for body in attributes.filter_map(|attribute| attribute.g.as_mut()) {
        body.node.iter_mut().filter(|node| node.is("MatMul")).for_each(|node| node.op_type = Some("Gemm".into()));
        // Both branches have one of the same name and shape, and read the last one then.
        outside = std::mem::take(&mut body.initializer);
    }
    graph.initializer.extend(outside);
    model
}

/// They once failed with a value of unknown type, which the default criterion asked for.
#[test]
fn criteria_that_look_at_samples_cut_models_with_graphs_inside_of_nodes() {
    let models: [(&str, Model, &[usize]); 7] = [
        ("branches", branches(), &[4]),
        ("branches with weights outside", with_weights_outside(branches()), &[4]),
        ("decided", decided(), &[4]),
        ("turns", turns(), &[4]),
        ("steps", steps(), &[5, 4]),
        ("growing", growing(), &[4]),
        ("branches in turns", branches_in_turns(), &[4]),
    ];
    for (name, model, shape) in &models {
        for criterion in Criterion::ALL.into_iter().filter(|criterion| criterion.needs_data()) {
            for recovery in [vec![], vec![Rung::Bias, Rung::BatchNorm, Rung::LeastSquares]] {
                match on_samples(model, shape, &by(criterion, recovery)) {
                    Ok(pruned) => {
                        let passed = proof(&pruned).passed
                            && pruned.report.recovered_certificate.is_none_or(|certificate| certificate.passed);
                        assert!(passed && pruned.report.removed > 0.0, "{name} {criterion:?}");
                    }
                    // No gradient is led through graphs inside of nodes.
                    Err(error) => {
                        let failure = Failure::from(error);
                        assert!(
                            matches!(criterion, Criterion::Taylor | Criterion::Fisher),
                            "{name} {criterion:?}: {failure:?}"
                        );
                        assert_eq!(failure.code, FailureCode::Unsupported, "{name} {criterion:?}: {failure:?}");
                    }
                }
            }
        }
    }
}

/// `a` is read inside of the branches by `shared`, from outside: `obs` sees what is read, and not what the branches make of
/// it. Inside, `w` is fed what nobody sees.
#[test]
fn layers_that_cannot_be_observed_are_named_with_what_scores_their_channels() {
    for criterion in [Criterion::Obs, Criterion::Wanda, Criterion::ActivationMean] {
        let notes = on_samples(&branches(), &[4], &by(criterion, vec![])).unwrap().report.notes;
        let hidden: Vec<&String> = notes.iter().filter(|note| note.starts_with("not observed")).collect();
        assert_eq!(hidden.len(), 1, "{criterion:?}: {notes:?}");
        assert!(hidden[0].contains("the layers with the weights `w`, `w_in1`;"), "{criterion:?}: {notes:?}");
        // The other layer that has the hidden channels of a branch writes them, which counts for `wanda` alone.
        let by_norm =
            notes.iter().any(|note| note.starts_with("scored by the norm") && note.ends_with("`shared`, `shared`"));
        assert_eq!(by_norm, criterion != Criterion::Wanda, "{criterion:?}: {notes:?}");
    }
}
