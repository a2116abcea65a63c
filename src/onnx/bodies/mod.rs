//! The graphs inside of nodes (If, Loop, Scan), laid out beside the nodes around them and folded up again.
//!
//! Laid out ([`lay_out`]), a model has one list of nodes with one name for each value, so that what goes through its graphs
//! from layer to layer sees bodies like everything else. Where a body begins and ends stand nodes of a domain of our own:
//!
//! - `If`: condition, outputs of both branches → outputs;
//! - `LoopBegin`, `ScanBegin`: the node's inputs → turns, the body's inputs;
//! - `Loop`, `Scan`: turns, the body's carried inputs, its outputs → outputs.
//!
//! The length of `turns` is how often the body runs. Such a model is written to no file and runs nowhere: [`fold`] gives one
//! that does. Each node and initializer of a body is marked with where it comes from; nodes that were added since without
//! a mark go where what they read is. What was renamed, because the name was taken, is marked with the name that it had and gets
//! it back. Where everything stands in the model as it was, [`LaidOut`] tells. The domain and the marks are ours alone: a file
//! that has them is refused (`super::check`). Knows nothing of what is done in between.

mod fold;
mod force;
mod lay_out;
mod nesting;
mod place;
mod writer;

pub use fold::{Folded, fold, folded};
pub use force::Ways;
pub use lay_out::lay_out;
pub use nesting::{Nesting, Quantity};
pub use place::{LaidOut, Place, Step};

use super::proto::{NodeProto, StringStringEntryProto};

/// The domain of the nodes where bodies begin and end.
pub const DOMAIN: &str = "secateur.body";

/// Attribute: how many values a Loop or Scan carries from turn to turn.
const CARRIED: &str = "carried";

/// Mark of nodes and initializers: the body they are in.
const SCOPE: &str = "secateur.scope";
/// Mark of the nodes where bodies begin and end: the node that has the bodies.
const OWNER: &str = "secateur.owner";

/// Mark of what has a new name: this, followed by the new name, for the name that it had.
const NAME: &str = "secateur.name:";

/// Whether metadata with this key is a mark.
pub fn is_mark(key: &str) -> bool {
    matches!(key, SCOPE | OWNER) || key.starts_with(NAME)
}

/// How many values a node where a body begins or ends carries from turn to turn.
pub fn carried(node: &NodeProto) -> usize {
    usize::try_from(node.int(CARRIED).unwrap_or(0)).unwrap_or(0).min(node.input.len())
}

/// Whether a node of a laid out model is in a body.
pub fn is_inside(node: &NodeProto) -> bool {
    mark(&node.metadata_props, SCOPE).is_some_and(|scope| !scope.is_empty())
}

fn mark<'p>(props: &'p [StringStringEntryProto], key: &str) -> Option<&'p str> {
    props.iter().find(|prop| prop.key.as_deref() == Some(key)).and_then(|prop| prop.value.as_deref())
}

fn marked(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: Some(key.to_owned()), value: Some(value.to_owned()) }
}

fn body_of(scope: &str, owner: &str, attribute: &str) -> String {
    format!("{scope}/{owner}.{attribute}")
}
