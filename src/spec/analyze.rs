//! What an analyze job may ask for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An analyze job; every field has a default that a first-time user would want. What would be left alone by a prune job of
/// the same `exclude`, `exclude_operators` and `keep_normalized` is frozen here too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AnalyzeSpec {
    /// Glob patterns of node or initializer names whose channels stay; one that matches nothing fails the job.
    pub exclude: Vec<String>,
    /// Operator types whose outputs keep their channels; one that the model does not have fails the job.
    pub exclude_operators: Vec<String>,
    /// Leaves alone the axes that a mean, a norm or a softmax runs over, such as the residual stream of a transformer.
    pub keep_normalized: bool,
    /// Sizes of the inputs' free axes other than the batch, by input name; needed where MACs depend on them.
    pub example_shapes: BTreeMap<String, Vec<u64>>,
}

impl AnalyzeSpec {
    /// Checks the patterns.
    ///
    /// Errors: the name of the field that cannot be, and why.
    pub fn parse(self) -> Result<Self, (&'static str, String)> {
        match self.exclude.iter().find(|pattern| globset::Glob::new(pattern).is_err()) {
            Some(bad) => Err(("exclude", format!("`{bad}` is not a glob pattern"))),
            None => Ok(self),
        }
    }
}
