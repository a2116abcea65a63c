//! The Markdown face of a [`Report`]: a table that fits a pull request comment, then one section a step, long lists
//! folded away. Says nothing that the JSON does not say, rounds for reading, and trusts no name: what comes from an
//! upload is quoted so that it cannot break out of its cell.

use std::fmt::Write as _;

use super::report::{
    Certificate, EpochReport, Latency, Measured, PruneReport, Quality, Report, RetrainReport, StepReport,
};

/// Frozen things that are listed one by one; the rest is counted. A comment on a code host ends at 65,536 characters.
const MOST_ROWS: usize = 100;

/// Renders a report for people.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut page = String::new();
    let _ = writeln!(page, "### Secateur: {} of {}\n", report.kind.as_str(), code(&report.model_name));
    comparison(&mut page, report);
    for step in &report.steps {
        section(&mut page, step, report.steps.len());
    }
    let environment = &report.environment;
    let _ = write!(page, "\n<sub>Job {}, secateur {}", report.job_id, text(&environment.secateur_version));
    if let Some(version) = &environment.onnx_runtime {
        let _ = write!(page, ", ONNX Runtime {}", text(version));
    }
    let _ = writeln!(
        page,
        ", {} ({} cores), {} for the job</sub>",
        text(&environment.cpu),
        environment.cores,
        count(u64::from(environment.threads), "thread")
    );
    page
}

/// One line of the comparison.
struct Row {
    name: String,
    baseline: Option<String>,
    candidate: Option<String>,
    change: Option<String>,
}

fn comparison(page: &mut String, report: &Report) {
    let sizes = |pick: fn(&PruneReport) -> &super::report::Size, step: Option<&StepReport>| {
        let size = pick(step?.prune.as_ref()?).clone();
        Some(Measured { size, ..Measured::default() })
    };
    let mut prunes = report.steps.iter().filter(|step| step.prune.is_some());
    // A job that only cuts has measured nothing but sizes.
    let first = prunes.next();
    let baseline = report.baseline.clone().or_else(|| sizes(|prune| &prune.size_before, first));
    let candidate = report.candidate.clone().or_else(|| sizes(|prune| &prune.size_after, prunes.next_back().or(first)));
    let (baseline, candidate) = (baseline.as_ref(), candidate.as_ref());
    let rows = size_rows(baseline, candidate)
        .into_iter()
        .chain(quality_rows(
            baseline.and_then(|model| model.quality.as_ref()),
            candidate.and_then(|model| model.quality.as_ref()),
        ))
        .chain(latency_rows(baseline, candidate))
        .filter(|row| row.baseline.is_some() || row.candidate.is_some())
        .collect::<Vec<_>>();
    if rows.is_empty() {
        return;
    }
    page.push_str("| | baseline | candidate | change |\n| --- | ---: | ---: | ---: |\n");
    for row in rows {
        let cell = |value: Option<String>| value.unwrap_or_else(|| "–".into());
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} |",
            row.name,
            cell(row.baseline),
            cell(row.candidate),
            row.change.unwrap_or_default()
        );
    }
}

fn size_rows(baseline: Option<&Measured>, candidate: Option<&Measured>) -> Vec<Row> {
    type Figure = (&'static str, fn(&Measured) -> Option<u64>, &'static str);
    let figures: [Figure; 5] = [
        ("size", |model| Some(model.size.bytes), "B"),
        ("size compressed", |model| Some(model.size.compressed_bytes), "B"),
        ("parameters", |model| Some(model.size.parameters), ""),
        ("parameters not zero", |model| Some(model.size.nonzero_parameters), ""),
        ("MACs", |model| model.size.macs, ""),
    ];
    figures
        .into_iter()
        .map(|(name, pick, unit)| {
            let (before, after) = (baseline.and_then(pick), candidate.and_then(pick));
            Row {
                name: name.into(),
                baseline: before.map(|value| quantity(value as f64, unit)),
                candidate: after.map(|value| quantity(value as f64, unit)),
                change: before.zip(after).and_then(|(before, after)| ratio(before as f64, after as f64)),
            }
        })
        .collect()
}

fn quality_rows(baseline: Option<&Quality>, candidate: Option<&Quality>) -> Vec<Row> {
    let k = candidate.or(baseline).map_or(0, |quality| quality.k);
    let share = |name: String, pick: fn(&Quality) -> Option<f64>| {
        let (before, after) = (baseline.and_then(pick), candidate.and_then(pick));
        Row {
            name,
            baseline: before.map(percent),
            candidate: after.map(percent),
            change: before.zip(after).map(|(before, after)| points(after - before)),
        }
    };
    let loss = |quality: &Quality| quality.loss;
    vec![
        share("accuracy".into(), |quality| Some(quality.accuracy)),
        share(format!("top-{k} accuracy"), |quality| Some(quality.top_k_accuracy)),
        share("F1 macro".into(), |quality| Some(quality.f1_macro)),
        share("agreement with the baseline".into(), |quality| quality.agreement),
        Row {
            name: "loss".into(),
            baseline: baseline.map(loss).map(|value| format!("{value:.4}")),
            candidate: candidate.map(loss).map(|value| format!("{value:.4}")),
            change: baseline.zip(candidate).map(|(before, after)| signed(after.loss - before.loss, 4)),
        },
    ]
}

fn latency_rows(baseline: Option<&Measured>, candidate: Option<&Measured>) -> Vec<Row> {
    fn of(model: Option<&Measured>) -> &[Latency] {
        model.map_or(&[], |model| &model.latency)
    }
    let same = |left: &Latency, right: &Latency| {
        (&left.engine, left.batch_size, left.threads) == (&right.engine, right.batch_size, right.threads)
    };
    let mut conditions: Vec<&Latency> = of(candidate).iter().collect();
    conditions.extend(of(baseline).iter().filter(|before| !of(candidate).iter().any(|after| same(before, after))));
    let mut rows = Vec::new();
    for condition in conditions {
        let before = of(baseline).iter().find(|latency| same(latency, condition));
        let after = of(candidate).iter().find(|latency| same(latency, condition));
        let where_ = format!(
            "{}, batch {}, {}",
            text(&condition.engine),
            condition.batch_size,
            count(u64::from(condition.threads), "thread")
        );
        let mut row = |name: &str, pick: fn(&Latency) -> f64, unit: &str| {
            let (before, after) = (before.map(pick), after.map(pick));
            let show = |value: f64| format!("{}{unit}", significant(value));
            rows.push(Row {
                name: format!("{name} ({where_})"),
                baseline: before.map(show),
                candidate: after.map(show),
                change: before.zip(after).and_then(|(before, after)| ratio(before, after)),
            });
        };
        row("latency p50", |latency| latency.p50_ms, " ms");
        row("latency p90", |latency| latency.p90_ms, " ms");
        row("latency p99", |latency| latency.p99_ms, " ms");
        row("throughput", |latency| latency.throughput_per_second, " /s");
    }
    rows
}

fn section(page: &mut String, step: &StepReport, of: usize) {
    let number = if of > 1 { format!("Step {}: ", step.step + 1) } else { String::new() };
    let _ = writeln!(page, "\n#### {number}{} ({:.1} s)\n", step.kind.as_str(), step.duration_ms as f64 / 1000.0);
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

fn prune_section(page: &mut String, prune: &PruneReport) {
    let cut = prune.groups.iter().filter(|group| group.width_after < group.width_before).count();
    let what = if prune.method == "unstructured" { "weights set to zero" } else { "channels removed" };
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
    certificate(page, &prune.certificate);
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
fn folded(page: &mut String, title: &str, head: &str, rows: impl ExactSizeIterator<Item = String>) {
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

/// A name as code. Nothing inside is markup, a mention or a cell border.
fn code(name: &str) -> String {
    let inner: String = name.chars().map(|c| if c.is_control() || c == '`' { '\'' } else { c }).collect();
    format!("`{}`", inner.replace('|', "\\|"))
}

/// A sentence that may quote names of an upload: no HTML, no cell border, one line.
fn text(sentence: &str) -> String {
    let line: String = sentence.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('|', "\\|")
        .replace('@', "@\u{200b}")
        .replace("](", "]\u{200b}(")
}

fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(number), if number == 1 { "" } else { "s" })
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Three significant digits with a decimal prefix: `1.09 MB`, `41.3 M`.
fn quantity(value: f64, unit: &str) -> String {
    let (scaled, prefix) = match value {
        v if v >= 999.5e9 => (v / 1e12, "T"),
        v if v >= 999.5e6 => (v / 1e9, "G"),
        v if v >= 999.5e3 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => return format!("{v} {unit}").trim_end().to_owned(),
    };
    format!("{} {prefix}{unit}", significant(scaled))
}

/// Three significant digits, plain where they read well.
fn significant(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        v if v >= 99.95 => thousands_rounded(value),
        v if v >= 9.995 => format!("{value:.1}"),
        v if v >= 0.9995 => format!("{value:.2}"),
        v if v >= 0.000_995 => {
            let places = 2 - v.log10().floor() as i32;
            let fixed = format!("{value:.*}", usize::try_from(places).unwrap_or(3));
            fixed.trim_end_matches('0').to_owned()
        }
        _ => format!("{value:.2e}"),
    }
}

fn thousands_rounded(value: f64) -> String {
    if value.is_finite() && value >= 0.0 { thousands(value.round() as u64) } else { value.to_string() }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn points(difference: f64) -> String {
    format!("{} points", signed(difference * 100.0, 2))
}

fn signed(difference: f64, places: usize) -> String {
    let figure = format!("{difference:+.places$}");
    // −0.00 and +0.00 are the same to the reader.
    if figure.trim_start_matches(['+', '-', '0', '.']).is_empty() {
        return format!("±{}", figure.trim_start_matches(['+', '-']));
    }
    figure.replace('-', "−")
}

/// The candidate's share of the baseline.
fn ratio(before: f64, after: f64) -> Option<String> {
    (before > 0.0).then(|| format!("× {:.2}", after / before))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn measured(bytes: u64, accuracy: f64, p50: f64) -> Value {
        json!({
            "quality": {
                "samples": 5000, "accuracy": accuracy, "top_k_accuracy": 0.9952, "k": 5,
                "precision_macro": 0.9, "recall_macro": 0.9, "f1_macro": accuracy - 0.001,
                "precision_weighted": 0.9, "recall_weighted": 0.9, "f1_weighted": 0.9,
                "loss": 0.41, "agreement": null, "per_class": [], "confusion_matrix": [],
            },
            "size": {
                "bytes": bytes, "compressed_bytes": bytes * 9 / 10, "parameters": bytes / 4,
                "nonzero_parameters": bytes / 4, "macs": bytes * 40,
            },
            "latency": [{
                "engine": "onnxruntime", "batch_size": 1, "threads": 1, "runs": 1000, "p50_ms": p50, "p90_ms": p50 * 1.1,
                "p99_ms": p50 * 1.5, "mean_ms": p50, "throughput_per_second": 1000.0 / p50,
            }],
        })
    }

    fn report(steps: &Value) -> Report {
        serde_json::from_value(json!({
            "schema_version": 1, "kind": "pipeline",
            "job_id": "018f0000-0000-7000-8000-000000000001", "model_id": "018f0000-0000-7000-8000-000000000002",
            "model_name": "resnet20", "baseline": measured(1_090_123, 0.9236, 0.812),
            "candidate": measured(433_001, 0.9208, 0.4137), "steps": steps,
            "environment": {
                "secateur_version": "0.1.0", "onnx_runtime": "1.32.0", "cpu": "Example CPU", "cores": 2, "threads": 2,
            },
        }))
        .expect("a report")
    }

    fn prune(name: &str, reason: &str) -> Value {
        json!({
            "step": 0, "kind": "prune", "duration_ms": 1234, "findings": ["the batch was fixed at export"],
            "prune": {
                "method": "structured", "criterion": "l2",
                "size_before": {"bytes": 100, "compressed_bytes": 90, "parameters": 25, "nonzero_parameters": 25, "macs": null},
                "size_after": {"bytes": 50, "compressed_bytes": 45, "parameters": 12, "nonzero_parameters": 12, "macs": null},
                "removed": 0.5, "coverage_parameters": 0.981,
                "groups": [{"name": name, "members": [{"initializer": "w", "axis": 0}], "width_before": 16, "width_after": 8}],
                "frozen": [{"what": "fc.weight axis 0", "operator": "Gemm fc", "reason": reason}],
                "certificate": {
                    "kind": "masked_equivalence", "passed": true, "tolerance": 1e-4, "vacuous_on_own_weights": false,
                    "checks": [
                        {"engine": "onnxruntime", "output": "y", "batch_size": 1, "weights": "own", "error": 2.5e-7},
                        {"engine": "tract", "output": "y", "batch_size": 2, "weights": "own", "error": 3.1e-7},
                    ],
                },
            },
        })
    }

    #[test]
    fn a_pipeline_reads_as_one_table_and_a_section_a_step() {
        let retrain = json!({
            "step": 1, "kind": "retrain", "duration_ms": 65_000,
            "retrain": {
                "epochs": [
                    {"epoch": 1, "learning_rate": 0.01, "training_loss": 0.5, "training_accuracy": 0.85,
                     "validation_loss": 0.45, "validation_accuracy": 0.88},
                    {"epoch": 2, "learning_rate": 0.0005, "training_loss": 0.25, "training_accuracy": 0.93,
                     "validation_loss": 0.35, "validation_accuracy": 0.91},
                ],
                "best_epoch": 2, "steps": 280, "trained_parameters": 108_250, "not_trained": [],
                "training_samples": 18_000, "validation_samples": 2000, "code_path": "standard", "threads": 2,
                "samples_per_second": 654.3,
                "certificate": {
                    "kind": "verified", "passed": true, "tolerance": 1e-4, "vacuous_on_own_weights": false,
                    "checks": [
                        {"engine": "onnxruntime", "output": "y", "batch_size": 2, "weights": "own", "error": null},
                        {"engine": "tract", "output": "", "batch_size": 2, "weights": "own", "error": null, "declined": "no such operator"},
                    ],
                },
            },
        });
        insta::assert_snapshot!(render(&report(&json!([prune("conv1.weight", "feeds the output `y`"), retrain]))), @r#"
        ### Secateur: pipeline of `resnet20`

        | | baseline | candidate | change |
        | --- | ---: | ---: | ---: |
        | size | 1.09 MB | 433 kB | × 0.40 |
        | size compressed | 981 kB | 390 kB | × 0.40 |
        | parameters | 273 k | 108 k | × 0.40 |
        | parameters not zero | 273 k | 108 k | × 0.40 |
        | MACs | 43.6 M | 17.3 M | × 0.40 |
        | accuracy | 92.36 % | 92.08 % | −0.28 points |
        | top-5 accuracy | 99.52 % | 99.52 % | ±0.00 points |
        | F1 macro | 92.26 % | 91.98 % | −0.28 points |
        | loss | 0.4100 | 0.4100 | ±0.0000 |
        | latency p50 (onnxruntime, batch 1, 1 thread) | 0.812 ms | 0.414 ms | × 0.51 |
        | latency p90 (onnxruntime, batch 1, 1 thread) | 0.893 ms | 0.455 ms | × 0.51 |
        | latency p99 (onnxruntime, batch 1, 1 thread) | 1.22 ms | 0.621 ms | × 0.51 |
        | throughput (onnxruntime, batch 1, 1 thread) | 1,232 /s | 2,417 /s | × 1.96 |

        #### Step 1: prune (1.2 s)

        structured, l2: 50.00 % of the prunable channels removed, 1 of 1 group cut; 98.10 % of the parameters lie in prunable groups.

        Certificate `masked_equivalence` **passed**: largest error 3.1e-7 of the output's scale, 1e-4 allowed, on onnxruntime and tract.

        <details><summary>1 group</summary>

        | group | members | width before | width after |
        | --- | ---: | ---: | ---: |
        | `conv1.weight` | 1 | 16 | 8 |

        </details>

        <details><summary>1 left alone</summary>

        | what | operator | reason |
        | --- | --- | --- |
        | `fc.weight axis 0` | `Gemm fc` | feeds the output `y` |

        </details>

        - the batch was fixed at export

        #### Step 2: retrain (65.0 s)

        108 k parameters trained on 18,000 samples (2,000 held out), 280 steps, 654 samples/s.

        | epoch | learning rate | training loss | training accuracy | validation loss | validation accuracy |
        | ---: | ---: | ---: | ---: | ---: | ---: |
        | 1 | 0.01 | 0.5000 | 85.00 % | 0.4500 | 88.00 % |
        | **2** | 5.00e-4 | 0.2500 | 93.00 % | 0.3500 | 91.00 % |

        The model of epoch 2 was kept.

        Certificate `verified` **passed**, on onnxruntime.
        - tract declined: no such operator

        <sub>Job 018f0000-0000-7000-8000-000000000001, secateur 0.1.0, ONNX Runtime 1.32.0, Example CPU (2 cores), 2 threads for the job</sub>
        "#);
    }

    #[test]
    fn a_name_of_an_upload_stays_in_its_cell() {
        let page = render(&report(&json!([prune("a|b`<img src=x>`\n# c", "see <script>|@everyone\n# now")])));
        assert!(page.contains("| `a\\|b'<img src=x>''# c` | 1 | 16 | 8 |"), "{page}");
        assert!(!page.contains("<script>") && !page.contains("@everyone") && !page.contains("\n# now"), "{page}");
    }

    #[test]
    fn a_job_that_only_cuts_compares_the_sizes() {
        let mut report = report(&json!([prune("conv1.weight", "feeds the output `y`")]));
        (report.baseline, report.candidate) = (None, None);
        let page = render(&report);
        assert!(page.contains("| size | 100 B | 50 B | × 0.50 |"), "{page}");
        assert!(!page.contains("accuracy") && !page.contains("MACs"), "{page}");
    }

    #[test]
    fn figures_are_rounded_to_what_a_reader_takes_in() {
        let table = [
            (quantity(999.0, "B"), "999 B"),
            (quantity(999_700.0, "B"), "1.00 MB"),
            (quantity(1_090_123.0, "B"), "1.09 MB"),
            (quantity(40_551_000.0, ""), "40.6 M"),
            (significant(0.0), "0"),
            (significant(0.01), "0.01"),
            (significant(0.000_5), "5.00e-4"),
            (significant(1234.5), "1,235"),
            (significant(0.412_37), "0.412"),
            (thousands(1_234_567), "1,234,567"),
            (points(-0.002_8), "−0.28 points"),
            (points(0.000_001), "±0.00 points"),
        ];
        for (shown, expected) in table {
            assert_eq!(shown, expected);
        }
    }
}
