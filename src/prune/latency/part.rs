//! Takes a model apart into pieces that are timed by themselves.
//!
//! A part begins with a node that multiplies and accumulates and has all that follows from it up to the next such node, so
//! that the runtime fuses activations, normalisations and sums within it as it does in the whole. Nodes that compute sizes
//! are cheap and belong to every part that reads their results. Whatever crosses from part to part is given: its elements
//! are made up, its shape is the real one. A model whose shapes are not all known is one part.

use std::collections::HashSet;

use bytes::Bytes;

use crate::cost;
use crate::cost::inputs::Feeds;
use crate::onnx::builder::value_info;
use crate::onnx::dtype::DataType;
use crate::onnx::extract::{Border, extract};
use crate::onnx::graph::{Graph, NodeIndex, outer_names};
use crate::onnx::model::Model;
use crate::onnx::proto::NodeProto;
use crate::onnx::shape::Inferred;
use crate::onnx::tensor::{Tensor, element_count};

/// A piece of a model with inputs of the shapes that it has within the whole.
#[derive(Debug)]
pub struct Part {
    pub model: Model,
    pub feeds: Feeds,
}

/// The parts of a model whose shapes were inferred from those of `feeds`, its inputs.
pub fn parts(model: &Model, inferred: &Inferred, feeds: &Feeds) -> Vec<Part> {
    let graph = model.graph();
    let whole = || vec![Part { model: model.clone(), feeds: feeds.clone() }];
    let homes = homes(&graph, inferred);
    let count = homes.iter().flatten().max().map_or(0, |last| last + 1);
    let mut nodes: Vec<Vec<NodeIndex>> = vec![Vec::new(); count];
    for (node, home) in homes.iter().enumerate() {
        if let Some(home) = home {
            nodes[*home].push(node);
        }
    }
    let cutter = Cutter { model, graph: &graph, inferred, feeds, homes: &homes };
    let parts = nodes.iter().enumerate().filter_map(|(home, nodes)| cutter.part(home, nodes).transpose());
    match parts.collect::<Result<Vec<Part>, UnknownShape>>() {
        Ok(parts) if parts.len() > 1 => parts,
        _ => whole(),
    }
}

/// The part of each node; `None` for those that compute sizes and constants.
fn homes(graph: &Graph<'_>, inferred: &Inferred) -> Vec<Option<usize>> {
    let mut homes: Vec<Option<usize>> = Vec::with_capacity(graph.proto.node.len());
    let mut next = 0;
    for node in &graph.proto.node {
        if computes_sizes(node, graph, inferred) {
            homes.push(None);
            continue;
        }
        let heavy = !matches!(cost::formula(node, &|name| inferred.rank(name)), Ok(None));
        let read = reads(node).into_iter().filter_map(|name| *homes.get(graph.producer(name)?.0)?);
        let home = if heavy { next } else { read.max().unwrap_or(0) };
        next = next.max(home + 1);
        homes.push(Some(home));
    }
    homes
}

fn computes_sizes(node: &NodeProto, graph: &Graph<'_>, inferred: &Inferred) -> bool {
    let is_size = |name: &String| {
        name.is_empty() || inferred.value(name).is_some() || inferred.dtype(name) == Some(DataType::Int64)
    };
    node.output.iter().all(|name| is_size(name) || graph.constant(name).is_some())
}

fn reads(node: &NodeProto) -> Vec<&str> {
    let own = node.input.iter().map(String::as_str).filter(|name| !name.is_empty());
    own.chain(node.subgraphs().flat_map(outer_names)).collect()
}

/// The shape or type of a value is not known.
#[derive(Debug)]
struct UnknownShape;

struct Cutter<'a> {
    model: &'a Model,
    graph: &'a Graph<'a>,
    inferred: &'a Inferred,
    feeds: &'a Feeds,
    homes: &'a [Option<usize>],
}

impl Cutter<'_> {
    /// The part of some nodes; `None` where nothing needs what they compute.
    fn part(&self, home: usize, nodes: &[NodeIndex]) -> Result<Option<Part>, UnknownShape> {
        let is_wanted = |name: &&String| {
            let elsewhere = |used: &crate::onnx::graph::Use| {
                self.homes.get(used.node).copied().flatten().is_some_and(|other| other != home)
            };
            !name.is_empty() && (self.graph.is_output(name) || self.graph.uses(name).iter().any(elsewhere))
        };
        let wanted: Vec<&String> =
            nodes.iter().flat_map(|node| &self.graph.node(*node).output).filter(is_wanted).collect();
        if wanted.is_empty() {
            return Ok(None);
        }
        let given = self.given(home, nodes);
        let border = |name: &str| {
            let dtype = self.inferred.dtype(name).ok_or(UnknownShape)?;
            Ok(Border { name: name.to_owned(), dtype, rank: self.inferred.rank(name) })
        };
        let given = given.into_iter().map(border).collect::<Result<Vec<_>, UnknownShape>>()?;
        let wanted = wanted.into_iter().map(|name| border(name)).collect::<Result<Vec<_>, UnknownShape>>()?;
        let mut model = extract(self.model, &given, &wanted);
        let graph = model.graph_proto_mut();
        let mut feeds = Feeds::new();
        for info in &mut graph.input {
            let name = info.name().to_owned();
            if graph.initializer.iter().any(|tensor| tensor.name() == name) {
                continue;
            }
            let feed = match self.feeds.iter().find(|(input, _)| *input == name) {
                Some((_, tensor)) => tensor.clone(),
                None => self.made_up(&name).ok_or(UnknownShape)?,
            };
            let sizes: Vec<_> = feed.shape.iter().map(|size| (*size).into()).collect();
            *info = value_info(&name, feed.dtype, &sizes);
            feeds.push((name, feed));
        }
        Ok(Some(Part { model, feeds }))
    }

    /// What other parts compute of what these nodes read, directly or through sizes; in an order that names have no part in.
    fn given(&self, home: usize, nodes: &[NodeIndex]) -> Vec<&str> {
        let mut given = Vec::new();
        let mut seen = HashSet::new();
        let mut pending: Vec<&str> = nodes.iter().flat_map(|node| reads(self.graph.node(*node))).collect();
        while let Some(name) = pending.pop() {
            let Some((producer, _)) = self.graph.producer(name).filter(|_| seen.insert(name)) else { continue };
            match self.homes[producer] {
                Some(other) if other != home => given.push(name),
                Some(_) => {}
                None => pending.extend(reads(self.graph.node(producer))),
            }
        }
        given
    }

    /// A tensor of the shape that a value has: floating-point numbers between -1 and 1, zeros of other types.
    fn made_up(&self, name: &str) -> Option<Tensor> {
        let shape: Option<Vec<usize>> =
            self.inferred.fixed_shape(name)?.into_iter().map(|size| usize::try_from(size).ok()).collect();
        let (dtype, shape) = (self.inferred.dtype(name)?, shape?);
        let count = element_count(&shape).filter(|count| *count <= MOST_ELEMENTS)?;
        if dtype.is_float() {
            let values: Vec<f32> = NUMBERS.iter().copied().cycle().take(count).collect();
            return Tensor { dtype, shape: Vec::new(), data: Bytes::new() }.with_f32(&shape, &values).ok();
        }
        Tensor::from_bytes(dtype, &shape, vec![0; dtype.bytes_for(count)?].into()).ok()
    }
}

/// Elements of a value that are made up at most: 1 GiB.
const MOST_ELEMENTS: usize = 1 << 28;

/// What values are made up of: no zeros and no tiny numbers, which some processors take longer for.
const NUMBERS: [f32; 7] = [0.5, -0.25, 0.75, -0.5, 1.0, 0.25, -1.0];
