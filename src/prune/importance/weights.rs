//! The weights that scores are made of: which constants count, and where the indices of their factors lie in them.

use std::collections::HashSet;

use super::ImportanceError;
use super::contraction::{is_contracted, is_produced};
use super::dequantized;
use crate::onnx::graph::{Graph, NodeIndex};
use crate::prune::coupling::{Coupling, LeafId, Part};

/// A constant where it is used.
#[derive(Clone, Debug)]
pub struct Weight<'c> {
    pub name: &'c str,
    pub node: NodeIndex,
    pub slot: usize,
    /// Whether it is multiplied and summed over.
    pub contracted: bool,
    /// Its axes as factors, outermost first.
    factors: Vec<Factor>,
}

/// A factor of an axis of a constant.
#[derive(Clone, Copy, Debug)]
struct Factor {
    size: usize,
    leaf: Option<LeafId>,
    /// Whether the result has the axis, rather than a sum over it.
    produced: bool,
    cuttable: bool,
}

/// Where the indices of a factor that can be cut lie: index `i` has the elements `outer · size · inner + i · inner ..` for
/// every outer index.
#[derive(Clone, Copy, Debug)]
pub struct Slices {
    pub leaf: LeafId,
    pub produced: bool,
    pub size: usize,
    pub inner: usize,
}

impl<'c> Weight<'c> {
    /// Every constant with a factor that can be cut; two uses of one constant that are cut alike count once.
    pub fn all(graph: &Graph<'_>, coupling: &'c Coupling) -> Vec<Self> {
        let mut cuttable = vec![false; coupling.leaves.len()];
        for leaf in coupling.groups.iter().flat_map(|group| &group.leaves) {
            cuttable[*leaf as usize] = true;
        }
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for tensor in &coupling.tensors {
            let (Some((node, slot)), Some(axes)) = (tensor.constant_use, &tensor.axes) else { continue };
            let contracted = is_contracted(graph, node, slot) || dequantized::is_weight(graph, node, slot);
            let factor = |axis: usize, part: &Part| match part {
                Part::Leaf(leaf) => Factor {
                    size: coupling.leaves[*leaf as usize].size,
                    leaf: Some(*leaf),
                    produced: !contracted
                        || dequantized::is_produced(graph, node, slot, axis, axes.len())
                            .unwrap_or_else(|| is_produced(graph, node, slot, axis, axes.len())),
                    cuttable: cuttable[*leaf as usize],
                },
                Part::Fixed(_) => Factor { size: 1, leaf: None, produced: false, cuttable: false },
            };
            let factors: Vec<Factor> = axes
                .iter()
                .enumerate()
                .flat_map(|(axis, layout)| layout.parts.iter().map(move |part| factor(axis, part)))
                .collect();
            let key = (tensor.name.as_str(), factors.iter().map(|factor| factor.leaf).collect::<Vec<_>>());
            if factors.iter().any(|factor| factor.cuttable) && seen.insert(key) {
                found.push(Self { name: &tensor.name, node, slot, contracted, factors });
            }
        }
        found
    }

    /// Its factors that can be cut.
    pub fn slices(&self) -> impl Iterator<Item = Slices> + '_ {
        self.factors.iter().enumerate().filter(|(_, factor)| factor.cuttable).filter_map(|(at, factor)| {
            let inner = self.factors[at + 1..].iter().map(|factor| factor.size).product();
            Some(Slices { leaf: factor.leaf?, produced: factor.produced, size: factor.size, inner })
        })
    }

    /// Hands out its elements; `None` where they are no floating-point numbers.
    ///
    /// Errors: they cannot be read, or that of `with`.
    pub fn read<T>(
        &self,
        graph: &Graph<'_>,
        with: impl FnOnce(&[f32]) -> Result<T, ImportanceError>,
    ) -> Result<Option<T>, ImportanceError> {
        let unreadable = |source| ImportanceError::Weight { tensor: self.name.to_owned(), source };
        let Some(tensor) = graph.constant(self.name) else { return Ok(None) };
        let tensor = tensor.map_err(unreadable)?;
        if !tensor.dtype.is_float() {
            return dequantized::values(graph, self.node, self.slot, &tensor).map(|values| with(&values)).transpose();
        }
        with(&tensor.to_f32().map_err(unreadable)?).map(Some)
    }
}
