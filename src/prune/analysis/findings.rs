//! What is worth saying about a model as a whole, each a sentence.

use std::collections::BTreeMap;

use crate::onnx::graph::Graph;
use crate::onnx::proto::NodeProto;
use crate::spec::analysis::{AnalyzeReport, AnalyzedGroup};

/// Below this share of the parameters in prunable groups, most of a model stays whatever is asked for.
const LOW_COVERAGE: f64 = 0.5;

/// Above this share of zeros a model has been pruned before.
const MANY_ZEROS: f64 = 0.5;

/// Up to this width, channels are few and each is likely to matter; runtimes work in blocks of 8 or 16.
const NARROW: u64 = 8;

/// The findings of a finished report.
pub fn findings(report: &AnalyzeReport) -> Vec<String> {
    let mut found = Vec::new();
    let prunable: Vec<&AnalyzedGroup> = report.groups.iter().filter(|group| group.prunable).collect();
    if prunable.is_empty() {
        found.push(format!("nothing can be pruned by channels{}", because(report)));
    } else if report.coverage.parameters < LOW_COVERAGE {
        found.push(format!(
            "little is left to remove by channels: only {:.1} % of the parameters lie in prunable groups{}",
            report.coverage.parameters * 100.0,
            because(report)
        ));
    }
    if let Some(share) = report.coverage.macs.filter(|share| *share < LOW_COVERAGE && !prunable.is_empty()) {
        found.push(format!("only {:.1} % of the multiply-accumulates need channels of prunable groups", share * 100.0));
    }
    let size = &report.size;
    let zeros = 1.0 - size.nonzero_parameters as f64 / size.parameters.max(1) as f64;
    if zeros > MANY_ZEROS {
        found.push(format!(
            "{:.1} % of the parameters are zero already: little is left to set to zero, and what channels are worth shows in the \
             weights that are left",
            zeros * 100.0
        ));
    }
    let narrow = prunable.iter().filter(|group| group.width <= NARROW).count();
    if !prunable.is_empty() && narrow * 2 > prunable.len() {
        found.push(format!(
            "{narrow} of {} prunable groups have {NARROW} channels or fewer: little is left to remove before layers collapse",
            prunable.len()
        ));
    }
    let dead: usize =
        report.dead_channels.iter().map(|group| group.without_input.len() + group.without_output.len()).sum();
    if dead > 0 {
        let are = if dead == 1 { "channel is" } else { "channels are" };
        found.push(format!("{dead} {are} dead by the weights and can go at no loss"));
    }
    let spare: usize = report.duplicate_channels.iter().flat_map(|group| &group.sets).map(|set| set.len() - 1).sum();
    if spare > 0 {
        let compute = if spare == 1 { "channel computes" } else { "channels compute" };
        found.push(format!("{spare} {compute} the same as another of the group"));
    }
    if let Some(activations) = &report.activations {
        let dead: usize = activations.groups.iter().map(|group| group.dead.len()).sum();
        let constant: usize = activations.groups.iter().map(|group| group.near_constant.len()).sum();
        if dead + constant > 0 {
            found.push(format!(
                "on {} samples {dead} channels were zero throughout and {constant} as good as constant",
                activations.samples
            ));
        }
    }
    if let Some(reason) = &size.macs_unknown {
        found.push(format!("multiply-accumulates are not counted: {reason}"));
    }
    found
}

/// Layers whose weights are computed while the model runs: what is no constant is not cut.
pub fn computed_weights(graph: &Graph<'_>) -> Option<String> {
    let computed: Vec<(&NodeProto, &NodeProto)> = graph
        .proto
        .node
        .iter()
        .filter(|node| matches!(node.op_type(), "Conv" | "ConvTranspose" | "Gemm") && node.operator_domain().is_empty())
        .filter_map(|node| Some((node, graph.node(graph.producer(node.input_name(1)?)?.0))))
        .filter(|(_, producer)| !producer.is("Constant"))
        .collect();
    let (node, producer) = computed.first()?;
    Some(format!(
        "the weights of {} layers are computed while the model runs, the first those of {} by {}; they have no channels to cut",
        computed.len(),
        node.label(),
        producer.label()
    ))
}

/// The reasons that keep most parameters.
fn because(report: &AnalyzeReport) -> String {
    let mut kept: BTreeMap<&str, u64> = BTreeMap::new();
    for group in &report.groups {
        if let Some(frozen) = &group.frozen_by {
            let most = kept.entry(&frozen.reason).or_default();
            *most += group.parameters;
        }
    }
    let mut kept: Vec<(&str, u64)> = kept.into_iter().collect();
    kept.sort_by_key(|(reason, parameters)| (std::cmp::Reverse(*parameters), *reason));
    let reasons: Vec<&str> = kept.iter().take(3).map(|(reason, _)| *reason).collect();
    if reasons.is_empty() { String::new() } else { format!("; most is kept because {}", reasons.join(", because ")) }
}
