//! What groups carry: the parameters that lie at their indices and the multiply-accumulates that need them.
//!
//! Both are products of the sizes of factors. What a group carries of a product is what it is less once the group's
//! indices are gone; what all prunable groups carry together is the coverage.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::cost::{self, OpenSizes};
use crate::onnx::graph::Graph;
use crate::onnx::shape::Inferred;
use crate::prune::coupling::{Axis, Coupling, LeafId, Operands, Part};

/// How many indices of each leaf go.
pub type Gone = BTreeMap<LeafId, u32>;

/// `constant · Π size(leaf)`
#[derive(Clone, Debug)]
struct Product {
    /// The constant whose elements it counts; multiply-accumulates are all of one.
    of: usize,
    constant: u64,
    leaves: Vec<LeafId>,
}

/// A sum of products that can be asked what it loses.
#[derive(Clone, Debug, Default)]
struct Sum {
    products: Vec<Product>,
    by_leaf: HashMap<LeafId, Vec<usize>>,
}

impl Sum {
    fn add(&mut self, product: Product) {
        for leaf in &product.leaves {
            self.by_leaf.entry(*leaf).or_default().push(self.products.len());
        }
        self.products.push(product);
    }

    /// The products that an index of these leaves is in, each once, with what it loses.
    fn losses(&self, coupling: &Coupling, gone: &Gone) -> Vec<(usize, u64)> {
        let touched: BTreeSet<usize> =
            gone.keys().filter_map(|leaf| self.by_leaf.get(leaf)).flatten().copied().collect();
        let loss = |at: usize| {
            let product = &self.products[at];
            let (whole, rest) =
                product.leaves.iter().fold((product.constant, product.constant), |(whole, rest), leaf| {
                    let size = coupling.leaves[*leaf as usize].size as u64;
                    let left = size - u64::from(gone.get(leaf).copied().unwrap_or(0));
                    (whole.saturating_mul(size), rest.saturating_mul(left))
                });
            (product.of, whole - rest)
        };
        touched.into_iter().map(loss).collect()
    }
}

/// The parameters and multiply-accumulates of a model by the factors of their axes.
#[derive(Clone, Debug)]
pub struct Carried {
    parameters: Sum,
    /// Multiply-accumulates with their sum; the reason where they cannot be counted.
    macs: Result<(Sum, u64), String>,
}

impl Carried {
    pub fn new(graph: &Graph<'_>, inferred: &Inferred, coupling: &Coupling, open: &OpenSizes) -> Self {
        Self { parameters: parameters(inferred, coupling), macs: macs(graph, inferred, coupling, open) }
    }

    /// Parameters at these indices. A constant that is used in several ways counts as in the way that has most of them.
    pub fn parameters(&self, coupling: &Coupling, gone: &Gone) -> u64 {
        let mut by_constant: HashMap<usize, u64> = HashMap::new();
        for (constant, loss) in self.parameters.losses(coupling, gone) {
            let most = by_constant.entry(constant).or_default();
            *most = loss.max(*most);
        }
        by_constant.into_values().fold(0, u64::saturating_add)
    }

    /// Multiply-accumulates that need these indices.
    pub fn macs(&self, coupling: &Coupling, gone: &Gone) -> Option<u64> {
        let (sum, _) = self.macs.as_ref().ok()?;
        Some(sum.losses(coupling, gone).into_iter().fold(0, |total, (_, loss)| total.saturating_add(loss)))
    }

    /// All multiply-accumulates.
    pub fn all_macs(&self) -> Option<u64> {
        self.macs.as_ref().ok().map(|(_, all)| *all)
    }
}

fn parameters(inferred: &Inferred, coupling: &Coupling) -> Sum {
    let (mut sum, mut ids) = (Sum::default(), HashMap::new());
    let open = OpenSizes::default();
    for tensor in coupling.tensors.iter().filter(|tensor| tensor.constant_use.is_some()) {
        let (true, Some(axes)) = (inferred.dtype(&tensor.name).is_some_and(cost::is_parameter), &tensor.axes) else {
            continue;
        };
        let next = ids.len();
        let of = *ids.entry(tensor.name.as_str()).or_insert(next);
        let mut product = Product { of, constant: 1, leaves: Vec::new() };
        // The sizes of a constant are known.
        if axes.iter().try_for_each(|axis| multiply(&mut product, axis, &open)).is_ok() {
            sum.add(product);
        }
    }
    sum
}

fn macs(graph: &Graph<'_>, inferred: &Inferred, coupling: &Coupling, open: &OpenSizes) -> Result<(Sum, u64), String> {
    let operands = Operands::new(coupling);
    let (mut sum, mut all) = (Sum::default(), 0_u64);
    for (index, node) in graph.proto.node.iter().enumerate() {
        let Some(formula) = cost::formula(node, &|name| inferred.rank(name))? else { continue };
        for extents in &formula.products {
            let mut product = Product { of: 0, constant: 1, leaves: Vec::new() };
            for extent in extents {
                multiply(&mut product, operands.axis(index, node, *extent)?, open)?;
            }
            let sizes = product.leaves.iter().map(|leaf| coupling.leaves[*leaf as usize].size as u64);
            all = all.saturating_add(sizes.fold(product.constant, u64::saturating_mul));
            sum.add(product);
        }
    }
    Ok((sum, all))
}

fn multiply(product: &mut Product, axis: &Axis, open: &OpenSizes) -> Result<(), String> {
    for part in &axis.parts {
        match part {
            Part::Fixed(dim) => product.constant = product.constant.saturating_mul(open.resolve(dim)?),
            Part::Leaf(leaf) => product.leaves.push(*leaf),
        }
    }
    Ok(())
}
