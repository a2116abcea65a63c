//! The section of a step.

use std::fmt::Write as _;

use super::analyze::analyze_section;
use super::figure::{code, count, percent, quantity, significant, text, thousands};
use crate::spec::report::{
    Certificate, Drift, EpochReport, PruneLatency, PruneReport, RetrainReport, StepReport, SyntheticReport,
};

/// Frozen things that are listed one by one; the rest is counted. A comment on a code host ends at 65,536 characters.
const MOST_ROWS: usize = 100;

pub(super) fn section(page: &mut String, step: &StepReport, of: usize) {
    let number = if of > 1 { format!("Step {}: ", step.step + 1) } else { String::new() };
    let _ = writeln!(page, "\n#### {number}{} ({:.1} s)\n", step.kind.as_str(), step.duration_ms as f64 / 1000.0);
    if let Some(analysis) = &step.analyze {
        analyze_section(page, analysis);
    }
    if let Some(prune) = &step.prune {
        prune_section(page, prune);
    }
    if let Some(retrain) = &step.retrain {
        retrain_section(page, retrain);
    }
    if let Some(evaluate) = &step.evaluate
        && let Some(quality) = &evaluate.candidate.quality
    {
        let _ = writeln!(page, "Measured on {}.", count(quality.samples, "sample"));
    }
    let notes = step.prune.iter().flat_map(|prune| &prune.notes);
    let sentences: Vec<&String> = step.findings.iter().chain(notes).collect();
    if !sentences.is_empty() {
        page.push('\n');
    }
    for sentence in sentences {
        let _ = writeln!(page, "- {}", text(sentence));
    }
}

/// How long the model took before and after.
fn timed(page: &mut String, latency: &PruneLatency) {
    let PruneLatency { before_ms, after_ms, predicted_ms, after_p10_ms, after_p90_ms, .. } = latency;
    let _ = writeln!(
        page,
        "\nOne run took {after_ms:.2} ms ({after_p10_ms:.2} to {after_p90_ms:.2}; predicted {predicted_ms:.2}), the original \
         {before_ms:.2} ms: medians of runs in turns on ONNX Runtime with {}{}.",
        count(latency.threads.into(), "thread"),
        if latency.undisturbed { "" } else { ", while other work went on or may have" }
    );
}

fn prune_section(page: &mut String, prune: &PruneReport) {
    let cut = prune.groups.iter().filter(|group| group.width_after < group.width_before).count();
    let what = match prune.method.as_str() {
        "unstructured" => "weights set to zero",
        "depth" => "blocks removed",
        "low_rank" => "parameters removed",
        _ => "channels removed",
    };
    let _ = write!(
        page,
        "{}, {}: {} of the prunable {what}",
        text(&prune.method),
        text(&prune.criterion),
        percent(prune.removed)
    );
    if !prune.groups.is_empty() {
        let _ = write!(page, ", {cut} of {} cut", count(prune.groups.len() as u64, "group"));
    }
    let _ = writeln!(page, "; {} of the parameters lie in prunable groups.", percent(prune.coverage_parameters));
    match &prune.certificate {
        Some(proof) => certificate(page, proof),
        None => {
            page.push_str("\nA dry run: this is what would be cut. No model was made, and nothing was certified.\n");
        }
    }
    if let Some(latency) = &prune.latency {
        timed(page, latency);
    }
    if let Some(made) = &prune.synthetic {
        synthetic(page, made);
    }
    recovery(page, prune);
    if let Some(drift) = &prune.drift {
        let _ = writeln!(
            page,
            "\nBeside the original, on {} held out: {}.",
            count(drift.samples, "sample"),
            drifted(drift)
        );
    }
    if let Some(stored) = &prune.stored {
        let sparse =
            stored.sparse_bytes.map(|bytes| format!(", {} in sparse form", thousands(bytes))).unwrap_or_default();
        let because = stored.reason.as_deref().map(|reason| format!(": {}", text(reason))).unwrap_or_default();
        let _ = writeln!(
            page,
            "\nKept as {}{because}. The file has {} bytes with dense weights{sparse}.",
            code(&stored.form),
            thousands(stored.dense_bytes)
        );
    }
    if let Some(error) = prune.output_error {
        let _ = writeln!(
            page,
            "\nOn the certificate's inputs the outputs differ from the original's by {} of their norm.",
            percent(error)
        );
    }
    if !prune.blocks.is_empty() {
        let rows = prune.blocks.iter().map(|block| {
            let change = block.change.map_or_else(|| "–".to_owned(), significant);
            let fate = if block.removed { "removed" } else { "kept" };
            format!(
                "| {} | {} | {} | {change} | {fate} |",
                code(&block.name),
                block.operators,
                thousands(block.parameters)
            )
        });
        let head = "| block | operators | parameters | change of the stream | |\n| --- | ---: | ---: | ---: | --- |";
        folded(page, &count(prune.blocks.len() as u64, "block"), head, rows);
    }
    if !prune.layers.is_empty() {
        let rows = prune.layers.iter().map(|layer| {
            let ranks: Vec<String> = layer.ranks.iter().map(u64::to_string).collect();
            format!(
                "| {} | {} | {} | {} | {} | {} |",
                code(&layer.name),
                text(&layer.kind),
                ranks.join(", "),
                percent(layer.energy_kept),
                thousands(layer.parameters_before),
                thousands(layer.parameters_after)
            )
        });
        let head = "| layer | factors | ranks | energy kept | parameters before | after |\n\
                    | --- | --- | ---: | ---: | ---: | ---: |";
        folded(page, &format!("{} factored", count(prune.layers.len() as u64, "layer")), head, rows);
    }
    if !prune.groups.is_empty() {
        let rows = prune.groups.iter().map(|group| {
            format!(
                "| {} | {} | {} | {} |",
                code(&group.name),
                group.members.len(),
                group.width_before,
                group.width_after
            )
        });
        let head = "| group | members | width before | width after |\n| --- | ---: | ---: | ---: |";
        folded(page, &count(prune.groups.len() as u64, "group"), head, rows);
    }
    if !prune.frozen.is_empty() {
        let rows = prune.frozen.iter().map(|frozen| {
            let operator = frozen.operator.as_deref().map(code).unwrap_or_default();
            format!("| {} | {operator} | {} |", code(&frozen.what), text(&frozen.reason))
        });
        let title = format!("{} left alone", prune.frozen.len());
        folded(page, &title, "| what | operator | reason |\n| --- | --- | --- |", rows);
    }
}

/// That samples were made, and from what.
fn synthetic(page: &mut String, made: &SyntheticReport) {
    let inputs: Vec<String> =
        made.inputs.iter().map(|input| format!("{} {}", code(&input.name), input.distribution)).collect();
    let _ = writeln!(
        page,
        "\nThere was no dataset: {} were made with the seed {} ({}). Figures below are of such samples.",
        count(made.samples, "sample"),
        made.seed,
        inputs.join("; ")
    );
    if let Some(matched) = &made.batch_norm {
        let _ = writeln!(
            page,
            "{} brought them from {} to {} deviations from the statistics of {}.",
            count(matched.steps, "gradient step"),
            significant(matched.before),
            significant(matched.after),
            count(matched.layers, "BatchNormalization")
        );
    }
}

/// The rungs of a recovery, each beside what it began with.
fn recovery(page: &mut String, prune: &PruneReport) {
    if prune.recovery.is_empty() {
        return;
    }
    let _ = writeln!(page, "\nThe certificate is that of the cut. Recovered without labels after it:\n");
    let _ = writeln!(
        page,
        "| rung | samples | before | after | layers | seconds |\n| --- | ---: | --- | --- | ---: | ---: |"
    );
    for rung in &prune.recovery {
        let _ = writeln!(
            page,
            "| {}{} | {} | {} | {} | {} | {:.1} |",
            code(rung.rung.as_str()),
            if rung.kept { "" } else { " (not kept)" },
            thousands(rung.samples),
            drifted(&rung.before),
            drifted(&rung.after),
            rung.layers.len(),
            rung.duration_ms as f64 / 1000.0
        );
    }
    if let Some(proof) = &prune.recovered_certificate {
        certificate(page, proof);
    }
    for rung in prune.recovery.iter().filter(|rung| !rung.skipped.is_empty()) {
        let rows = rung.skipped.iter().map(|skipped| {
            let operator = skipped.operator.as_deref().map(code).unwrap_or_default();
            format!("| {} | {operator} | {} |", code(&skipped.what), text(&skipped.reason))
        });
        let title = format!("{} not repaired by {}", rung.skipped.len(), rung.rung.as_str());
        folded(page, &title, "| what | operator | reason |\n| --- | --- | --- |", rows);
    }
}

/// How far two models are apart, as the rest of a sentence.
fn drifted(drift: &Drift) -> String {
    let mut parts = vec![format!("output error {}", significant(drift.output_error))];
    parts.extend(drift.agreement.map(|share| format!("the same class for {}", percent(share))));
    if let (Some(now), Some(before)) = (drift.accuracy, drift.original_accuracy) {
        parts.push(format!("accuracy {} (was {})", percent(now), percent(before)));
    }
    parts.join(", ")
}

fn certificate(page: &mut String, certificate: &Certificate) {
    let verdict = if certificate.passed { "passed" } else { "failed" };
    let _ = write!(page, "\nCertificate {} **{verdict}**", code(&certificate.kind));
    let worst = certificate.checks.iter().filter_map(|check| check.error).fold(None, |worst: Option<f64>, error| {
        // A NaN is the worst there is and must not be hidden by a comparison.
        Some(worst.map_or(error, |worst| if error.is_nan() || error > worst { error } else { worst }))
    });
    if let Some(worst) = worst {
        let _ =
            write!(page, ": largest error {worst:.1e} of the output's scale, {:.0e} allowed", certificate.tolerance);
    }
    let mut engines: Vec<&str> =
        certificate.checks.iter().filter(|check| check.declined.is_none()).map(|check| check.engine.as_str()).collect();
    engines.sort_unstable();
    engines.dedup();
    if !engines.is_empty() {
        let _ = write!(page, ", on {}", text(&engines.join(" and ")));
    }
    page.push('.');
    if certificate.vacuous_on_own_weights {
        page.push_str(" The removed channels were dead, so the check was repeated with random weights.");
    }
    page.push('\n');
    for check in &certificate.checks {
        if let Some(reason) = &check.declined {
            let _ = writeln!(page, "- {} declined: {}", text(&check.engine), text(reason));
        }
    }
}

fn retrain_section(page: &mut String, retrain: &RetrainReport) {
    let _ = writeln!(
        page,
        "{} parameters trained on {} ({} held out), {}, {} samples/s.\n",
        quantity(retrain.trained_parameters as f64, ""),
        count(retrain.training_samples, "sample"),
        thousands(retrain.validation_samples),
        count(retrain.steps, "step"),
        significant(retrain.samples_per_second)
    );
    let title = "| epoch | learning rate | training loss | training accuracy | validation loss | validation accuracy |\n\
                 | ---: | ---: | ---: | ---: | ---: | ---: |";
    let rows = retrain.epochs.iter().map(|epoch| epoch_row(epoch, retrain.best_epoch == Some(epoch.epoch)));
    if retrain.epochs.len() <= 10 {
        let _ = writeln!(page, "{title}");
        rows.for_each(|row| {
            let _ = writeln!(page, "{row}");
        });
    } else {
        folded(page, &format!("{} epochs", retrain.epochs.len()), title, rows);
    }
    if let Some(best) = retrain.best_epoch {
        let _ = writeln!(page, "\nThe model of epoch {best} was kept.");
    }
    if let Some(proof) = &retrain.certificate {
        certificate(page, proof);
    }
    if !retrain.not_trained.is_empty() {
        let rows =
            retrain.not_trained.iter().map(|frozen| format!("| {} | {} |", code(&frozen.what), text(&frozen.reason)));
        let title = format!("{} not trained", retrain.not_trained.len());
        folded(page, &title, "| what | reason |\n| --- | --- |", rows);
    }
}

fn epoch_row(epoch: &EpochReport, best: bool) -> String {
    let mark = if best { "**" } else { "" };
    format!(
        "| {mark}{}{mark} | {} | {:.4} | {} | {} | {} |",
        epoch.epoch,
        significant(epoch.learning_rate),
        epoch.training_loss,
        percent(epoch.training_accuracy),
        epoch.validation_loss.map_or_else(|| "–".into(), |loss| format!("{loss:.4}")),
        epoch.validation_accuracy.map_or_else(|| "–".into(), percent)
    )
}

/// A table behind a click, cut off at [`MOST_ROWS`].
pub(super) fn folded(page: &mut String, title: &str, head: &str, rows: impl ExactSizeIterator<Item = String>) {
    let left_out = rows.len().saturating_sub(MOST_ROWS);
    let _ = writeln!(page, "\n<details><summary>{title}</summary>\n\n{head}");
    for row in rows.take(MOST_ROWS) {
        let _ = writeln!(page, "{row}");
    }
    if left_out > 0 {
        let _ = writeln!(page, "\nand {left_out} more, all in the JSON report.");
    }
    page.push_str("\n</details>\n");
}
