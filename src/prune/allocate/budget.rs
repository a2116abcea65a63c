//! What a selection would cost, without building its graph: multiply-accumulates and parameters as sums of products of
//! the widths of leaves.

use std::collections::HashMap;

use crate::cost::{self, Extent, OpenSizes};
use crate::onnx::graph::Graph;
use crate::onnx::shape::Inferred;
use crate::prune::coupling::{Axis, Coupling, LeafId, Part};

/// `constant · Π width(leaf)`
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Product {
    constant: u64,
    leaves: Vec<LeafId>,
}

impl Product {
    fn of(&self, widths: &[u32]) -> u64 {
        self.leaves
            .iter()
            .fold(self.constant, |product, leaf| product.saturating_mul(u64::from(widths[*leaf as usize])))
    }
}

/// A figure as a function of the widths of leaves.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    fixed: u64,
    products: Vec<Product>,
    /// Constants whose uses may be cut apart: copies of equal size are one.
    shared: Vec<Vec<Product>>,
}

impl Budget {
    /// The figure for these widths.
    pub fn of(&self, widths: &[u32]) -> u64 {
        let alone: u64 = self.products.iter().map(|product| product.of(widths)).sum();
        let shared = self.shared.iter().map(|copies| {
            let mut sizes: Vec<u64> = copies.iter().map(|copy| copy.of(widths)).collect();
            sizes.sort_unstable();
            sizes.dedup();
            sizes.iter().sum::<u64>()
        });
        self.fixed + alone + shared.sum::<u64>()
    }

    fn add(&mut self, product: Product) {
        if product.leaves.is_empty() {
            self.fixed = self.fixed.saturating_add(product.constant);
        } else {
            self.products.push(product);
        }
    }

    /// Multiply-accumulates for batch 1.
    ///
    /// Errors: why they cannot be counted.
    pub fn macs(graph: &Graph<'_>, inferred: &Inferred, coupling: &Coupling, open: &OpenSizes) -> Result<Self, String> {
        let mut values: HashMap<&str, usize> = HashMap::new();
        let mut uses: HashMap<(usize, usize), usize> = HashMap::new();
        for (id, tensor) in coupling.tensors.iter().enumerate() {
            match tensor.constant_use {
                Some(at) => drop(uses.insert(at, id)),
                None => drop(values.insert(&tensor.name, id)),
            }
        }
        let mut budget = Self::default();
        for (index, node) in graph.proto.node.iter().enumerate() {
            let Some(formula) = cost::formula(node, &|name| inferred.rank(name))? else { continue };
            for extents in &formula.products {
                let mut product = Product { constant: 1, leaves: Vec::new() };
                for extent in extents {
                    let (name, tensor, axis) = match *extent {
                        Extent::Input { slot, axis } => {
                            let name = node.input_name(slot).unwrap_or_default();
                            (name, uses.get(&(index, slot)).or_else(|| values.get(name)), axis)
                        }
                        Extent::Output { slot, axis } => {
                            let name = node.output.get(slot).map_or("", String::as_str);
                            (name, values.get(name), axis)
                        }
                    };
                    let axis = tensor.and_then(|id| coupling.tensors[*id].axes.as_ref()?.get(axis));
                    multiply(
                        &mut product,
                        axis.ok_or_else(|| format!("the shape of `{name}` is unknown"))?,
                        coupling,
                        open,
                    )?;
                }
                budget.add(product);
            }
        }
        Ok(budget)
    }

    /// Parameters. `all` is their number in the model as it stands; what no node of the main graph uses stays.
    pub fn parameters(inferred: &Inferred, coupling: &Coupling, all: u64) -> Self {
        let open = OpenSizes::default();
        let mut copies: HashMap<&str, Vec<Product>> = HashMap::new();
        for tensor in coupling.tensors.iter().filter(|tensor| tensor.constant_use.is_some()) {
            if !inferred.dtype(&tensor.name).is_some_and(cost::is_parameter) {
                continue;
            }
            let mut product = Product { constant: 1, leaves: Vec::new() };
            let whole = tensor.axes.iter().flatten().try_for_each(|axis| multiply(&mut product, axis, coupling, &open));
            if whole.is_ok() {
                copies.entry(&tensor.name).or_default().push(product);
            }
        }
        let mut budget = Self { fixed: all, ..Self::default() };
        let mut names: Vec<&str> = copies.keys().copied().collect();
        names.sort_unstable();
        let sizes: Vec<u32> = coupling.leaves.iter().map(|leaf| leaf.size as u32).collect();
        for name in names {
            let Some(mut products) = copies.remove(name) else { continue };
            products.sort();
            products.dedup();
            budget.fixed = budget.fixed.saturating_sub(products[0].of(&sizes));
            match products.as_slice() {
                [_] => products.into_iter().for_each(|product| budget.add(product)),
                _ => budget.shared.push(products),
            }
        }
        budget
    }
}

/// Multiplies by an axis; leaves that cannot be cut are numbers.
fn multiply(product: &mut Product, axis: &Axis, coupling: &Coupling, open: &OpenSizes) -> Result<(), String> {
    for part in &axis.parts {
        match part {
            Part::Fixed(dim) => product.constant = product.constant.saturating_mul(open.resolve(dim)?),
            Part::Leaf(leaf) if coupling.is_cuttable(*leaf) => product.leaves.push(*leaf),
            Part::Leaf(leaf) => {
                product.constant = product.constant.saturating_mul(coupling.leaves[*leaf as usize].size as u64);
            }
        }
    }
    Ok(())
}
