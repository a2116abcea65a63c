//! The error that remains when a channel goes and the layers that read it are repaired: what least squares will not win
//! back.
//!
//! For each layer that reads channels of a group, the Gram matrix of its inputs on samples gives the error that is left
//! after the best repair in closed form; the channels of the group are eliminated backwards, the one that loses least at a
//! time ([`eliminate`]). Errors are shares of what the layer's outputs vary, behind the sum of a residual block where it
//! feeds one, and those of several layers are added, so that groups can be compared as they are.
//!
//! Channels that no linear layer with constant weights reads (queries and keys of an attention, channels of a layer whose
//! weights are computed or inside of a graph of a node) are scored by the norm of their weights, scaled to the mean of the other scores; a note names them.
//! The diagonal form of the same idea is LeCun, Denker and Solla, "Optimal Brain Damage", NeurIPS 1989; layers with too many
//! inputs for a Gram matrix are scored that way, which a note names too.

mod eliminate;
mod maps;
mod reader;
mod sums;

use std::collections::BTreeSet;

use super::{Evidence, ImportanceError, Scores, l2, observed, tally};
use crate::onnx::graph::Graph;
use crate::prune::coupling::Coupling;
use crate::prune::observe::observe;
use crate::spec::prune::Reduction;
use reader::Reader;
use sums::Sums;

/// What an elimination needs, and values of one batch, that are held at once; what does not fit takes another pass over the
/// samples. A single layer may take more.
const MOST_BYTES: usize = 512 << 20;

/// Samples of a batch that sizes are guessed for where the batch is free.
const BATCH: usize = 32;

/// The scores of all units.
///
/// Errors: the model does not run, or what it reads is not finite.
/// Cost: a pass over the samples for each half gigabyte of Gram matrices or values; half of rows × inputs² multiplications a
/// layer, and inputs² × inputs of the channels for the elimination, up to a bound.
pub fn scores(graph: &Graph<'_>, coupling: &Coupling, evidence: &Evidence<'_>) -> Result<Scores, ImportanceError> {
    within(MOST_BYTES, graph, coupling, evidence)
}

fn within(
    most_bytes: usize,
    graph: &Graph<'_>,
    coupling: &Coupling,
    evidence: &Evidence<'_>,
) -> Result<Scores, ImportanceError> {
    let (readers, hidden) = reader::readers(graph, evidence.inferred, coupling)?;
    let mut is_read = vec![false; coupling.units.len()];
    readers.iter().flat_map(Reader::units).for_each(|unit| is_read[unit] = true);
    let mut of_groups: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); coupling.groups.len()];
    for (at, reader) in readers.iter().enumerate() {
        for unit in reader.units() {
            of_groups[coupling.units[unit].group].insert(at);
        }
    }
    let (seen, unseen): (Vec<usize>, Vec<usize>) = (0..coupling.groups.len())
        .partition(|group| is_read[coupling.groups[*group].units.clone()].iter().all(|is_read| *is_read));
    let mut scores =
        Scores { of_units: vec![0.0; coupling.units.len()], notes: observed::hidden(hidden), are_losses: true };
    let passes = passes(most_bytes, &readers, &of_groups, &seen, evidence);
    let in_parts: BTreeSet<usize> =
        passes.iter().filter(|pass| pass.is_part).flat_map(|pass| &pass.groups).copied().collect();
    for pass in passes {
        let sums = read(graph, &readers, &pass, evidence)?;
        for group in &pass.groups {
            let units = coupling.groups[*group].units.clone();
            let mut maps = Vec::new();
            for reader in &of_groups[*group] {
                if let Ok(at) = pass.readers.binary_search(reader) {
                    maps.extend(readers[*reader].maps(&sums[at], units.start, units.len())?);
                }
            }
            let losses = eliminate::losses(&mut maps, units.len());
            scores.of_units[units].iter_mut().zip(losses).for_each(|(score, loss)| *score += loss);
        }
    }
    fill(graph, coupling, &mut scores, &seen, &unseen)?;
    if !in_parts.is_empty() {
        let names: Vec<String> = in_parts.iter().map(|group| format!("`{}`", coupling.name_of(*group))).collect();
        scores.notes.push(format!(
            "more layers than memory is set aside for read {}: they are repaired in parts, whose losses are added",
            names.join(", ")
        ));
    }
    let wide: BTreeSet<&str> = readers.iter().filter(|reader| reader.is_wide()).map(|reader| reader.value).collect();
    if !wide.is_empty() {
        let names: Vec<String> = wide.iter().map(|name| format!("`{name}`")).collect();
        scores.notes.push(format!(
            "what reads {} has too many inputs to be repaired in closed form: their channels are scored by what is lost \
             without a repair",
            names.join(", ")
        ));
    }
    Ok(scores)
}

/// Groups whose readers are observed together.
#[derive(Debug, Default)]
struct Pass {
    groups: Vec<usize>,
    /// Whether it has some of the readers of one group only.
    is_part: bool,
    /// Ascending.
    readers: Vec<usize>,
}

/// Packs groups into passes, in order; a group whose readers do not fit into one gets several.
fn passes(
    most_bytes: usize,
    readers: &[Reader<'_>],
    of_groups: &[BTreeSet<usize>],
    seen: &[usize],
    evidence: &Evidence<'_>,
) -> Vec<Pass> {
    let elements = |name: &str| {
        let dims = evidence.inferred.dims(name).unwrap_or_default();
        dims.iter().map(|dim| dim.as_known().map_or(BATCH, |size| size.max(1) as usize)).product::<usize>()
    };
    let bytes = |reader: &Reader<'_>| {
        let values = elements(reader.value) + reader.target.as_deref().map_or(0, elements);
        reader.bytes() + values * size_of::<f32>()
    };
    let mut passes: Vec<Pass> = Vec::new();
    let mut held = 0;
    for group in seen {
        let known = |pass: &Pass, reader: &usize| pass.readers.contains(reader);
        let more = |pass: Option<&Pass>| -> usize {
            let new = of_groups[*group].iter().filter(|reader| !pass.is_some_and(|pass| known(pass, reader)));
            new.map(|reader| bytes(&readers[*reader])).sum()
        };
        if more(None) > most_bytes && of_groups[*group].len() > 1 {
            let mut left = 0;
            for reader in &of_groups[*group] {
                let bytes = bytes(&readers[*reader]);
                if let Some(pass) = passes.last_mut().filter(|pass| pass.groups == [*group] && bytes <= left) {
                    pass.readers.push(*reader);
                } else {
                    passes.push(Pass { groups: vec![*group], is_part: true, readers: vec![*reader] });
                    left = most_bytes;
                }
                left = left.saturating_sub(bytes);
            }
            held = most_bytes;
            continue;
        }
        if passes.is_empty() || held + more(passes.last()) > most_bytes {
            passes.push(Pass::default());
            held = 0;
        }
        held += more(passes.last());
        if let Some(pass) = passes.last_mut() {
            pass.groups.push(*group);
            pass.readers.extend(&of_groups[*group]);
            pass.readers.sort_unstable();
            pass.readers.dedup();
        }
    }
    passes
}

/// Runs the model over the samples and adds up what the readers of a pass read.
fn read(
    graph: &Graph<'_>,
    readers: &[Reader<'_>],
    pass: &Pass,
    evidence: &Evidence<'_>,
) -> Result<Vec<Sums>, ImportanceError> {
    let mut names: Vec<&str> = Vec::new();
    for reader in &pass.readers {
        names.push(readers[*reader].value);
        names.extend(readers[*reader].target.as_deref());
    }
    names.sort_unstable();
    names.dedup();
    let mut sums: Vec<Sums> = pass.readers.iter().map(|reader| readers[*reader].sums()).collect();
    let batches = evidence.samples.count();
    let mut number = 0;
    observe(evidence.model, evidence.inferred, &names, evidence.samples, evidence.threads, |_, values| {
        for (reader, sums) in pass.readers.iter().zip(&mut sums) {
            let reader = &readers[*reader];
            let found = |name: &str| names.binary_search(&name).ok().map(|at| &values[at]);
            let Some(value) = found(reader.value) else { continue };
            reader.add(graph, sums, value, reader.target.as_deref().and_then(found), (number, batches))?;
        }
        number += 1;
        Ok::<_, ImportanceError>(())
    })?;
    Ok(sums)
}

/// Scores groups that no layer reads by the norm of their weights, as if they mattered as much as the others do on average.
fn fill(
    graph: &Graph<'_>,
    coupling: &Coupling,
    scores: &mut Scores,
    seen: &[usize],
    unseen: &[usize],
) -> Result<(), ImportanceError> {
    if unseen.is_empty() {
        return Ok(());
    }
    let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len().max(1) as f64;
    let found: Vec<f64> =
        seen.iter().flat_map(|group| &scores.of_units[coupling.groups[*group].units.clone()]).copied().collect();
    let level = if found.is_empty() { 1.0 } else { mean(&found) };
    let norms = tally::by_magnitude(graph, coupling, &l2::L2, Reduction::Pooled)?;
    for group in unseen {
        let units = coupling.groups[*group].units.clone();
        let own = mean(&norms[units.clone()]).max(f64::MIN_POSITIVE);
        for unit in units {
            scores.of_units[unit] = norms[unit] / own * level;
        }
    }
    let names: Vec<String> = unseen.iter().map(|group| format!("`{}`", coupling.name_of(*group))).collect();
    scores.notes.push(format!(
        "scored by the norm of their weights, for no layer with constant weights that can be observed reads them: {}",
        names.join(", ")
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::test_files::labelled;
    use crate::data::{Calibration, Dataset};
    use crate::onnx::builder::GraphBuilder;
    use crate::onnx::dtype::DataType;
    use crate::onnx::tensor::Tensor;
    use crate::prune::coupling::{self, Wishes};
    use crate::spec::attempt::DatasetLimits;

    /// Eight channels that four layers read: together, or as if there were no room for two of them.
    #[test]
    fn layers_for_which_there_is_no_room_together_are_repaired_in_parts() {
        let mut b = GraphBuilder::new("net");
        let x = b.input("x", DataType::Float, &["n".into(), 4.into()]);
        let weight = |b: &mut GraphBuilder, name: &str, shape: [usize; 2], seed: usize| {
            let values =
                (0..shape[0] * shape[1]).map(|at| ((at + seed) * 37 % 101) as f32 / 50.0 - 1.0).collect::<Vec<_>>();
            b.initializer(name, &Tensor::from_f32(&shape, &values))
        };
        let w = weight(&mut b, "a", [4, 8], 0);
        let y = b.node("MatMul", &[&x, &w], &[]);
        let y = b.node("Relu", &[&y], &[]);
        for at in 0..4 {
            let w = weight(&mut b, &format!("reader{at}"), [8, 2], at * 5 + 1);
            let out = b.node("MatMul", &[&y, &w], &[]);
            b.output(&out, DataType::Float, &["n".into(), 2.into()]);
        }
        let model = b.build(17);
        let rows: Vec<f32> = (0..80 * 4).map(|at| (at * 7919 % 10_007) as f32 / 5003.0 - 1.0).collect();
        let file = labelled(&[80, 4], &rows, &[0; 80]);
        let dataset = Dataset::open(&file.path, None, &DatasetLimits::default()).unwrap();
        let calibration = Calibration::new(&dataset, &model, 40, 1).unwrap();
        let (graph, inferred) = (model.graph(), crate::onnx::shape::infer(&model));
        let coupling = coupling::couple(&model, &graph, &inferred, &Wishes::default()).unwrap();
        let evidence = Evidence { model: &model, inferred: &inferred, samples: calibration.fitting(), threads: 1 };
        let whole = scores(&graph, &coupling, &evidence).unwrap();
        let parts = within(1, &graph, &coupling, &evidence).unwrap();
        assert!(
            whole.notes.is_empty() && parts.notes.iter().any(|note| note.contains("in parts")),
            "{:?}",
            parts.notes
        );
        let least = |scores: &Scores| (0..8).min_by(|a, b| scores.of_units[*a].total_cmp(&scores.of_units[*b]));
        assert_eq!(least(&whole), least(&parts));
        // The first that goes costs the same, for nothing went before it in either.
        let first = least(&whole).unwrap();
        assert!((whole.of_units[first] - parts.of_units[first]).abs() <= 0.5 * whole.of_units[first] + 1e-9);
        assert!(parts.of_units.iter().all(|loss| loss.is_finite()));
    }
}
