//! What a user can do about a frozen group. Where nothing can be done in the request or the export, nothing is said.

use globset::Glob;

use crate::prune::coupling::{EXCLUDED, FrozenGroup, KEPT_NORMALISED};
use crate::spec::analyze::AnalyzeSpec;

/// The hint for a frozen group with these initializers.
pub fn hint(group: &FrozenGroup, initializers: &[&str], spec: &AnalyzeSpec) -> Option<String> {
    let reason = group.reason.as_str();
    let operator = group.operator.as_deref().unwrap_or_default();
    let op_type = operator.split(' ').next().unwrap_or_default();
    if reason == EXCLUDED {
        if spec.exclude_operators.iter().any(|excluded| excluded == op_type) {
            return Some(format!("`exclude_operators` names {op_type}; without that it can be cut"));
        }
        let node = operator.split_once(' ').map_or("", |(_, name)| name);
        let names: Vec<&str> = initializers.iter().copied().chain([node]).chain(group.value.as_deref()).collect();
        let matches = |pattern: &&String| {
            Glob::new(pattern).is_ok_and(|glob| names.iter().any(|name| glob.compile_matcher().is_match(name)))
        };
        let pattern = spec.exclude.iter().find(matches)?;
        return Some(format!("the pattern `{pattern}` of `exclude` names it; without the pattern it can be cut"));
    }
    if reason == KEPT_NORMALISED {
        return Some("leave out `keep_normalized` to have such axes cut too".into());
    }
    if reason.starts_with("it reaches the graph output") {
        return Some(
            "outputs keep their shapes: the head keeps its classes; to have fewer, export a model with a smaller head"
                .into(),
        );
    }
    if reason.starts_with("it reaches the graph input") {
        return Some(
            "inputs keep their shapes; to have fewer channels here, export a model with a smaller input".into(),
        );
    }
    if reason.starts_with("there is no coupling rule") {
        return Some(format!(
            "what {op_type} does to channels is not known here; export it as operators of the default domain, or keep it away from \
             the wide layers"
        ));
    }
    if reason.contains("lie in an external file") {
        return Some("upload the model with its weights in one file".into());
    }
    if reason.starts_with("the shape of")
        || reason.contains("known before the graph runs")
        || reason.ends_with("is not known")
    {
        return Some(
            "export the model with the shapes of its inputs fixed (all but the batch), so that this one is known beforehand".into(),
        );
    }
    if reason == "it is in training mode" {
        return Some("export the model in evaluation mode".into());
    }
    None
}
