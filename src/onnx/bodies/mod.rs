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
//! a mark go where what they read is. Knows nothing of what is done in between.

mod fold;
mod lay_out;

pub use fold::fold;
pub use lay_out::lay_out;

use super::proto::{NodeProto, StringStringEntryProto};

/// The domain of the nodes where bodies begin and end.
pub const DOMAIN: &str = "secateur.body";

/// How many values a Loop or Scan carries from turn to turn.
pub const CARRIED: &str = "carried";

/// Mark of nodes and initializers: the body they are in.
const SCOPE: &str = "secateur.scope";
/// Mark of the nodes where bodies begin and end: the node that has the bodies.
const OWNER: &str = "secateur.owner";

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
