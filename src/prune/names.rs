//! What the names of a request mean in a graph. A name that means nothing is an error, for what it was to protect would be
//! cut without a word.

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::onnx::graph::Graph;
use crate::onnx::proto::{NodeProto, TensorProto};

/// A name of a request that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamesNothing {
    #[error("`{pattern}` is not a glob pattern")]
    Pattern { pattern: String },
    #[error(
        "the pattern `{pattern}` matches no node or initializer, so that it protects nothing; a name here is `{example}`"
    )]
    Match { pattern: String, example: String },
    #[error("no operator here is `{operator}`, so that it protects nothing; the model has {operators}")]
    Operator { operator: String, operators: String },
}

/// A pattern of the names of nodes, their outputs and initializers.
///
/// Errors: it is none, or matches nothing.
pub fn matcher(pattern: &str, graph: &Graph<'_>) -> Result<Glob, NamesNothing> {
    let glob = Glob::new(pattern).map_err(|_| NamesNothing::Pattern { pattern: pattern.to_owned() })?;
    let matcher = glob.compile_matcher();
    let nodes = graph.proto.node.iter();
    let mut names = nodes.flat_map(|node| std::iter::once(node.name()).chain(node.output.iter().map(String::as_str)));
    let mut initializers = graph.proto.initializer.iter().map(TensorProto::name);
    if names.any(|name| matcher.is_match(name)) || initializers.any(|name| matcher.is_match(name)) {
        return Ok(glob);
    }
    let example = graph.proto.node.iter().map(NodeProto::name).find(|name| !name.is_empty());
    let example = example.or_else(|| graph.proto.initializer.first().map(TensorProto::name));
    Err(NamesNothing::Match { pattern: pattern.to_owned(), example: example.unwrap_or_default().to_owned() })
}

/// What the user wants left alone.
#[derive(Clone, Debug, Default)]
pub struct Excluded {
    names: GlobSet,
    operators: Vec<String>,
}

impl Excluded {
    /// Patterns of names, and operator types.
    ///
    /// Errors: the field of the spec (`exclude`, `exclude_operators`) with a name that means nothing.
    pub fn new(
        patterns: &[String],
        operators: &[String],
        graph: &Graph<'_>,
    ) -> Result<Self, (&'static str, NamesNothing)> {
        let mut names = GlobSetBuilder::new();
        for pattern in patterns {
            names.add(matcher(pattern, graph).map_err(|source| ("exclude", source))?);
        }
        let names = names.build().map_err(|_| ("exclude", NamesNothing::Pattern { pattern: patterns.join(", ") }))?;
        let has = |operator: &&String| graph.proto.node.iter().any(|node| node.op_type() == **operator);
        if let Some(missing) = operators.iter().find(|operator| !has(operator)) {
            let mut found: Vec<&str> = graph.proto.node.iter().map(NodeProto::op_type).collect();
            found.sort_unstable();
            found.dedup();
            let source = NamesNothing::Operator { operator: missing.clone(), operators: found.join(", ") };
            return Err(("exclude_operators", source));
        }
        Ok(Self { names, operators: operators.to_vec() })
    }

    /// Whether a node is meant, by its name or its operator.
    pub fn has_node(&self, node: &NodeProto) -> bool {
        self.names.is_match(node.name()) || self.operators.iter().any(|operator| operator == node.op_type())
    }

    /// Whether an initializer is meant.
    pub fn has_initializer(&self, name: &str) -> bool {
        self.names.is_match(name)
    }
}
