//! The part of an analyze step.

use std::fmt::Write as _;

use super::figure::{code, count, percent, quantity, significant, text, thousands};
use super::step::folded;
use crate::spec::analysis::{AnalyzeReport, AnalyzedGroup, LayerReport};
use crate::spec::summary::Axis;

/// Groups whose values are below this share of the median are listed.
const LOW_CONTRIBUTION: f64 = 0.5;

/// Positions that are listed of a group; the rest is counted.
const MOST_POSITIONS: usize = 16;

pub(super) fn analyze_section(page: &mut String, analysis: &AnalyzeReport) {
    let _ = write!(page, "Prunable groups hold {} of the parameters", percent(analysis.coverage.parameters));
    match analysis.coverage.macs {
        Some(share) => drop(writeln!(page, " and {} of the MACs.", percent(share))),
        None => page.push_str(".\n"),
    }
    let (free, frozen): (Vec<&AnalyzedGroup>, Vec<&AnalyzedGroup>) =
        analysis.groups.iter().partition(|group| group.prunable);
    if !free.is_empty() {
        let head = "| group | members | width | parameters | MACs | weights ÷ median | weak channels |\n\
                    | --- | ---: | ---: | ---: | ---: | ---: | ---: |";
        folded(page, &count(free.len() as u64, "prunable group"), head, free.into_iter().map(free_row));
    }
    if !frozen.is_empty() {
        let head = "| group | width | parameters | MACs | kept by | reason |\n| --- | ---: | ---: | ---: | --- | --- |";
        folded(page, &count(frozen.len() as u64, "frozen group"), head, frozen.into_iter().map(frozen_row));
    }
    idle(page, analysis);
    let layers: Vec<&LayerReport> =
        analysis.layers.iter().filter(|layer| layer.parameters > 0 || layer.macs != Some(0)).collect();
    if !layers.is_empty() {
        let head =
            "| layer | operator | output | parameters | MACs | zeros |\n| --- | --- | --- | ---: | ---: | ---: |";
        let title = format!("{} with parameters or MACs", count(layers.len() as u64, "layer"));
        folded(page, &title, head, layers.into_iter().map(layer_row));
    }
}

fn free_row(group: &AnalyzedGroup) -> String {
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |",
        code(&group.name),
        group.members.len(),
        group.width,
        quantity(group.parameters as f64, ""),
        macs(group.macs),
        group.contribution.map_or_else(|| "–".into(), significant),
        group.weak_channels
    )
}

fn frozen_row(group: &AnalyzedGroup) -> String {
    let frozen = group.frozen_by.as_ref();
    let by = frozen.and_then(|frozen| frozen.operator.as_deref()).map(code).unwrap_or_default();
    let reason = frozen.map(|frozen| text(&frozen.reason)).unwrap_or_default();
    let hint = frozen.and_then(|frozen| frozen.hint.as_deref()).map(|hint| format!(" – {}", text(hint)));
    format!(
        "| {} | {} | {} | {} | {by} | {reason}{} |",
        code(&group.name),
        group.width,
        quantity(group.parameters as f64, ""),
        macs(group.macs),
        hint.unwrap_or_default()
    )
}

fn layer_row(layer: &LayerReport) -> String {
    let shape = layer.output_shape.as_ref().map(|axes| {
        let axis = |axis: &Axis| match axis {
            Axis::Size(size) => size.to_string(),
            Axis::Symbol(name) => text(name),
            Axis::Unknown => "?".into(),
        };
        axes.iter().map(axis).collect::<Vec<_>>().join(" × ")
    });
    format!(
        "| {} | {} | {} | {} | {} | {} |",
        code(&layer.name),
        code(&layer.operator),
        shape.unwrap_or_else(|| "?".into()),
        thousands(layer.parameters),
        macs(layer.macs),
        layer.sparsity.map_or_else(|| "–".into(), percent)
    )
}

fn macs(macs: Option<u64>) -> String {
    macs.map_or_else(|| "–".into(), |macs| quantity(macs as f64, ""))
}

/// Groups that contribute little, dead and duplicate channels.
fn idle(page: &mut String, analysis: &AnalyzeReport) {
    let mut rows = Vec::new();
    for group in &analysis.low_contribution {
        let share = significant(group.contribution);
        rows.push(format!("| {} | small weights: {share} of the median |", code(&group.group)));
    }
    for group in &analysis.dead_channels {
        for (channels, what) in
            [(&group.without_input, "nothing comes in"), (&group.without_output, "nothing goes out")]
        {
            if !channels.is_empty() {
                rows.push(format!("| {} | {what}: {} |", code(&group.group), positions(channels)));
            }
        }
    }
    for group in &analysis.duplicate_channels {
        let sets: Vec<String> = group.sets.iter().map(|set| positions(set)).collect();
        rows.push(format!("| {} | the same: {} |", code(&group.group), sets.join("; ")));
    }
    if let Some(activations) = &analysis.activations {
        let on = format!("on {}", count(activations.samples, "sample"));
        for group in &activations.groups {
            for (channels, what) in [(&group.dead, "zero"), (&group.near_constant, "as good as constant")] {
                if !channels.is_empty() {
                    rows.push(format!("| {} | {what} {on}: {} |", code(&group.group), positions(channels)));
                }
            }
            if let Some(share) = group.contribution.filter(|share| *share < LOW_CONTRIBUTION) {
                let share = significant(share);
                rows.push(format!("| {} | small values {on}: {share} of the median |", code(&group.group)));
            }
        }
    }
    if !rows.is_empty() {
        folded(page, "Little or nothing carried", "| group | channels |\n| --- | --- |", rows.into_iter());
    }
}

fn positions(channels: &[u64]) -> String {
    let listed: Vec<String> = channels.iter().take(MOST_POSITIONS).map(u64::to_string).collect();
    let more = channels.len().saturating_sub(MOST_POSITIONS);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", listed.join(", "))
}
