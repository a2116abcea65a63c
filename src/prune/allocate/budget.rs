//! What a selection would cost, without building its graph: multiply-accumulates and parameters as sums of products of
//! the widths of leaves.

use std::collections::BTreeMap;

use super::{Figure, Selection, Unfigured};
use crate::cost::{self, OpenSizes};
use crate::onnx::bodies::{Nesting, Quantity};
use crate::onnx::dtype::DataType;
use crate::onnx::graph::Graph;
use crate::onnx::shape::Inferred;
use crate::prune::coupling::{Axis, Coupling, LeafId, Operands, Part};

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
    /// Constants whose uses may be cut apart: uses that lose the same indices share one.
    shared: Vec<Vec<Use>>,
    /// Branches of which the larger counts.
    branches: Vec<[Budget; 2]>,
}

/// One way in which a constant is used: its axes there, and how large it is. Without axes it is needed whole.
#[derive(Clone, Debug, PartialEq)]
struct Use {
    axes: Vec<Axis>,
    size: Product,
}

impl Use {
    /// What the use loses, as the surgery sees it: the kept indices of each axis that loses some.
    fn cut(&self, coupling: &Coupling, selection: &Selection) -> Vec<Option<Vec<bool>>> {
        let kept = |axis: &Axis| selection.kept_of(coupling, axis).filter(|kept| kept.contains(&false));
        let cut: Vec<_> = self.axes.iter().map(kept).collect();
        if cut.iter().any(Option::is_some) { cut } else { Vec::new() }
    }
}

impl Figure for Budget {
    fn of(&self, coupling: &Coupling, selection: &Selection) -> Result<f64, Unfigured> {
        Ok(self.count(coupling, selection) as f64)
    }
}

impl Budget {
    /// The figure for a selection.
    fn count(&self, coupling: &Coupling, selection: &Selection) -> u64 {
        let widths = &selection.widths;
        let alone = self.products.iter().fold(0_u64, |sum, product| sum.saturating_add(product.of(widths)));
        let shared = self.shared.iter().flat_map(|uses| {
            let mut copies: Vec<(Vec<Option<Vec<bool>>>, u64)> = Vec::new();
            for one in uses {
                let cut = one.cut(coupling, selection);
                if copies.iter().all(|(other, _)| *other != cut) {
                    copies.push((cut, one.size.of(widths)));
                }
            }
            copies.into_iter().map(|(_, size)| size)
        });
        let larger = |branches: &[Self; 2]| {
            let [one, other] = branches.each_ref().map(|branch| branch.count(coupling, selection));
            one.max(other)
        };
        let sums = shared.chain(self.branches.iter().map(larger));
        sums.fold(self.fixed.saturating_add(alone), u64::saturating_add)
    }

    /// How much less of the figure there is without a unit of each group alone, by group.
    pub fn saved(&self, coupling: &Coupling) -> Vec<u64> {
        let whole = Selection::none(coupling);
        let figure = self.count(coupling, &whole);
        let without = |unit: usize| {
            let mut selection = whole.clone();
            selection.remove(coupling, unit);
            figure.saturating_sub(self.count(coupling, &selection))
        };
        coupling.groups.iter().map(|group| without(group.units.start)).collect()
    }

    fn add_product(&mut self, product: Product) {
        if product.leaves.is_empty() {
            self.fixed = self.fixed.saturating_add(product.constant);
        } else {
            self.products.push(product);
        }
    }

    /// Multiply-accumulates for batch 1, counted as [`cost::macs`] does; a body of which it is not known how often it runs counts
    /// once.
    ///
    /// Errors: why they cannot be counted.
    pub fn macs(graph: &Graph<'_>, inferred: &Inferred, coupling: &Coupling, open: &OpenSizes) -> Result<Self, String> {
        let operands = Operands::new(coupling);
        let mut found = Vec::new();
        for (index, node) in graph.proto.node.iter().enumerate() {
            let Some(formula) = cost::formula(node, &|name| inferred.rank(name))? else { continue };
            let mut budget = Self::default();
            for extents in &formula.products {
                let mut product = Product { constant: 1, leaves: Vec::new() };
                for extent in extents {
                    multiply(&mut product, operands.axis(index, node, *extent)?, coupling, open)?;
                }
                budget.add_product(product);
            }
            found.push((index, budget));
        }
        Nesting::new(graph.proto)
            .total(found.into_iter(), |value| Ok(cost::turns(graph, inferred, open, value).unwrap_or(1)))
    }

    /// Parameters. `all` is their number in the model as it stands; what no node of the main graph uses stays.
    pub fn parameters(graph: &Graph<'_>, inferred: &Inferred, coupling: &Coupling, all: u64) -> Self {
        Self::constants(graph, inferred, coupling, all, &|dtype| u64::from(cost::is_parameter(dtype)))
    }

    /// Bits of the file, which has `all` as it stands; what is not the elements of a constant stays.
    pub fn bits(graph: &Graph<'_>, inferred: &Inferred, coupling: &Coupling, all: u64) -> Self {
        Self::constants(graph, inferred, coupling, all, &|dtype| dtype.bits() as u64)
    }

    /// The sum of what the elements of constants weigh by their type, and what `all` has beside it.
    fn constants(
        graph: &Graph<'_>,
        inferred: &Inferred,
        coupling: &Coupling,
        all: u64,
        weigh: &dyn Fn(DataType) -> u64,
    ) -> Self {
        let open = OpenSizes::default();
        let mut uses: BTreeMap<&str, Vec<Use>> = BTreeMap::new();
        for tensor in coupling.tensors.iter().filter(|tensor| tensor.constant_use.is_some()) {
            let (Some(weight @ 1..), Some(axes)) = (inferred.dtype(&tensor.name).map(weigh), &tensor.axes) else {
                continue;
            };
            let mut size = Product { constant: weight, leaves: Vec::new() };
            if axes.iter().try_for_each(|axis| multiply(&mut size, axis, coupling, &open)).is_ok() {
                let one = Use { axes: axes.clone(), size };
                let uses = uses.entry(&tensor.name).or_default();
                if !uses.contains(&one) {
                    uses.push(one);
                }
            }
        }
        let mut budget = Self { fixed: all, ..Self::default() };
        let whole = Selection::none(coupling);
        for (name, mut uses) in uses {
            let size = uses[0].size.of(&whole.widths);
            budget.fixed = budget.fixed.saturating_sub(size);
            if graph.is_output(name) || graph.uses(name).iter().any(|used| used.slot.is_none()) {
                uses.push(Use { axes: Vec::new(), size: Product { constant: size, leaves: Vec::new() } });
            }
            match uses.as_slice() {
                [one] => budget.add_product(one.size.clone()),
                _ => budget.shared.push(uses),
            }
        }
        budget
    }
}

impl Quantity for Budget {
    fn add(&mut self, other: Self) {
        self.fixed = self.fixed.saturating_add(other.fixed);
        self.products.extend(other.products);
        self.shared.extend(other.shared);
        self.branches.extend(other.branches);
    }

    fn times(mut self, turns: u64) -> Self {
        self.fixed = self.fixed.saturating_mul(turns);
        let sizes = self.shared.iter_mut().flatten().map(|one| &mut one.size);
        for product in self.products.iter_mut().chain(sizes) {
            product.constant = product.constant.saturating_mul(turns);
        }
        self.branches = self.branches.into_iter().map(|branches| branches.map(|branch| branch.times(turns))).collect();
        self
    }

    fn larger(self, other: Self) -> Self {
        if self.is_nothing() {
            return other;
        }
        Self { branches: vec![[self, other]], ..Self::default() }
    }

    fn is_nothing(&self) -> bool {
        self.fixed == 0 && self.products.is_empty() && self.shared.is_empty() && self.branches.is_empty()
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
