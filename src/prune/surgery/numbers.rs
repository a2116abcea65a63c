//! Required numbers, traced to the constants that they come from and written into the plan.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::names::FreshNames;
use super::shapes::{Requirement, Requirements, Whole};
use super::{AttributeRewrite, Kinds, NumbersRewrite, SurgeryError, Tailor};
use crate::onnx::graph::NodeIndex;
use crate::prune::coupling::Hold;

/// A use of a constant, by node and slot, and an element of it.
type ConstantElement = ((NodeIndex, usize), usize);

/// Rewritten numbers on their way to a plan: by use of a constant its elements.
pub type Rewrites = BTreeMap<(NodeIndex, usize), Vec<i64>>;

impl Tailor<'_> {
    /// Adds what is required; whether that is anything new.
    pub(super) fn take_in(
        &self,
        wanted: Requirements,
        rewrites: &mut Rewrites,
        wholes: &mut Vec<Whole>,
    ) -> Result<bool, SurgeryError> {
        if let Some(hold) = wanted.holds.into_iter().next() {
            return Err(SurgeryError::Held(hold));
        }
        let mut new = false;
        let mut required: HashMap<(NodeIndex, usize, usize), i64> = HashMap::new();
        for requirement in wanted.elements {
            for ((node, slot), element) in self.sources(&requirement)? {
                let earlier = required.insert((node, slot, element), requirement.number);
                let elements = match rewrites.entry((node, slot)) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => entry.insert(self.constant_numbers(node, slot)?),
                };
                let number = elements.get_mut(element).ok_or_else(|| SurgeryError::misfit(&requirement.hold.0))?;
                if earlier.is_some_and(|earlier| earlier != requirement.number) {
                    return Err(self.held(&requirement, "one constant would have to be two sizes"));
                }
                new |= std::mem::replace(number, requirement.number) != requirement.number;
            }
        }
        for whole in wanted.wholes {
            if !wholes.contains(&whole) {
                wholes.push(whole);
                new = true;
            }
        }
        Ok(new)
    }

    fn held(&self, requirement: &Requirement, reason: &str) -> SurgeryError {
        let (value, axis) = requirement.hold.clone();
        let operator = self.graph.node(requirement.node).label();
        SurgeryError::Held(Hold { value, axis, operator, reason: reason.to_owned() })
    }

    fn constant_numbers(&self, node: NodeIndex, slot: usize) -> Result<Vec<i64>, SurgeryError> {
        let name = self.graph.node(node).input_name(slot).unwrap_or_default();
        let tensor = self.graph.constant(name).ok_or_else(|| SurgeryError::misfit(name))?;
        tensor
            .and_then(|tensor| tensor.to_i64())
            .map_err(|source| SurgeryError::Tensor { tensor: name.to_owned(), source })
    }

    /// The uses of a constant, and the element of it, that a required number is a copy of.
    fn sources(&self, requirement: &Requirement) -> Result<Vec<ConstantElement>, SurgeryError> {
        let node = self.graph.node(requirement.node);
        let computed = || self.held(requirement, "the size is computed and would come out wrong");
        let name = node.input_name(requirement.slot).ok_or_else(computed)?;
        let value = self.inferred.value(name).ok_or_else(computed)?;
        let origin = value.origins.get(requirement.element).and_then(Option::as_ref).ok_or_else(computed)?;
        let mut found = Vec::new();
        let mut visited = HashSet::new();
        let mut pending = vec![(requirement.node, requirement.slot)];
        while let Some((node, slot)) = pending.pop() {
            let Some(name) = self.graph.node(node).input_name(slot) else { continue };
            if *name == *origin.tensor {
                found.push(((node, slot), origin.index));
            } else if let Some((producer, _)) = self.graph.producer(name)
                && visited.insert(producer)
            {
                pending.extend((0..self.graph.node(producer).input.len()).map(|slot| (producer, slot)));
            }
        }
        if found.is_empty() { Err(computed()) } else { Ok(found) }
    }

    /// Rewritten constants and attributes as the plan states them.
    pub(super) fn rewrites(
        &self,
        rewrites: &Rewrites,
        wholes: &[Whole],
    ) -> (Vec<NumbersRewrite>, Vec<AttributeRewrite>) {
        let mut fresh = FreshNames::new(self.graph);
        let mut by_name: BTreeMap<&str, Kinds<&Vec<i64>>> = BTreeMap::new();
        for ((node, slot), elements) in rewrites {
            let kinds = by_name.entry(self.graph.node(*node).input_name(*slot).unwrap_or_default()).or_default();
            match kinds.iter_mut().find(|(other, _)| *other == elements) {
                Some((_, slots)) => slots.push(self.slot(*node, *slot)),
                None => kinds.push((elements, vec![self.slot(*node, *slot)])),
            }
        }
        let mut numbers = Vec::new();
        for (name, kinds) in by_name {
            let rewritten: usize = kinds.iter().map(|(_, slots)| slots.len()).sum();
            let mut taken = self.is_read_elsewhere(name) || rewritten < self.graph.uses(name).len();
            for (elements, uses) in kinds {
                let becomes = if std::mem::replace(&mut taken, true) { fresh.after(name) } else { name.to_owned() };
                numbers.push(NumbersRewrite {
                    graph: Vec::new(),
                    uses,
                    was: Some(name.to_owned()),
                    becomes,
                    elements: elements.clone(),
                    shape: None,
                });
            }
        }
        let mut attributes = Vec::new();
        for whole in wholes {
            match whole {
                Whole::Attribute { node, attribute, integers } => attributes.push(AttributeRewrite {
                    graph: Vec::new(),
                    node: *node,
                    label: self.graph.node(*node).label(),
                    attribute: (*attribute).to_owned(),
                    integers: integers.clone(),
                }),
                Whole::Input { node, slot, elements, shape } => {
                    let stem = self.graph.node(*node).output.first().map_or("numbers", String::as_str);
                    let becomes = fresh.after(stem);
                    numbers.push(NumbersRewrite {
                        graph: Vec::new(),
                        uses: vec![self.slot(*node, *slot)],
                        was: None,
                        becomes,
                        elements: elements.clone(),
                        shape: shape.clone(),
                    });
                }
            }
        }
        (numbers, attributes)
    }
}
