//! The table that holds the candidate against the baseline.

use std::fmt::Write as _;

use super::figure::{count, percent, points, quantity, ratio, signed, significant, text};
use crate::spec::report::{Latency, Measured, PruneReport, Quality, Report, Size, StepReport};

/// One line of the comparison.
struct Row {
    name: String,
    baseline: Option<String>,
    candidate: Option<String>,
    change: Option<String>,
}

pub(super) fn comparison(page: &mut String, report: &Report) {
    let sizes = |pick: fn(&PruneReport) -> &Size, step: Option<&StepReport>| {
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
    let cell = |value: Option<String>| value.unwrap_or_else(|| "–".into());
    if baseline.is_none() {
        page.push_str("| | model |\n| --- | ---: |\n");
        for row in rows {
            let _ = writeln!(page, "| {} | {} |", row.name, cell(row.candidate));
        }
        return;
    }
    page.push_str("| | baseline | candidate | change |\n| --- | ---: | ---: | ---: |\n");
    for row in rows {
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
