//! Prunes every ONNX file of some folders and prints what came of it as a Markdown page.
//!
//! ```text
//! cargo run --example zoo -- SHARE FOLDER…
//! ```
//!
//! `SHARE` of each group's channels is removed, widths are not rounded. A line a file: parameters and multiply-accumulates
//! that are left, the share of the parameters that lies in groups that can be cut, the time of couple + score + plan + cut
//! (the certificate apart), what the engines found; then the reasons for what was left alone. Ends with an error where a
//! model was neither certified nor refused for a reason that lies in the model.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use secateur::onnx::model::Model;
use secateur::prune::{self, Pruned};
use secateur::spec::attempt::ModelLimits;
use secateur::spec::failure::{Failure, FailureCode};
use secateur::spec::prune::{PruneRequest, PruneSpec, Scope, Target};
use secateur::spec::report::PruneReport;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [share, folders @ ..] = arguments.as_slice() else { bail!("usage: zoo SHARE FOLDER…") };
    let share: f64 = share.parse().context("SHARE is not a number")?;
    let mut page = format!(
        "# The zoo, cut\n\nWritten by `make zoo`: {:.0} % of the channels of every group removed, widths not rounded. A certificate \
         names the engines that ran the cut model against the masked original, and the largest difference relative to the \
         output's scale.\n",
        100.0 * share
    );
    let mut wrong = Vec::new();
    for folder in folders {
        let title = Path::new(folder).file_name().unwrap_or_default().to_string_lossy();
        write!(
            page,
            "\n## {title}\n\n| file | parameters | left | MACs left | coverage | cut (s) | certificate |\n| --- | ---: | ---: | ---: | ---: | ---: | --- |\n"
        )?;
        let mut reasons = String::new();
        for file in onnx_files(Path::new(folder))? {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let model = Model::load(&file, &ModelLimits::default()).with_context(|| format!("reading {name}"))?;
            let spec = spec(share)?;
            match cut(&model, &spec) {
                Ok((seconds, pruned)) => {
                    writeln!(page, "{}", row(&name, seconds, &pruned.report))?;
                    write!(reasons, "{}", why_not(&name, &pruned.report))?;
                }
                Err(failure) => {
                    writeln!(page, "| {name} | | | | | | {failure} |")?;
                    if !matches!(failure.code, FailureCode::TargetUnreachable | FailureCode::Unsupported) {
                        wrong.push(name);
                    }
                }
            }
        }
        if !reasons.is_empty() {
            write!(
                page,
                "\n### Left alone in {title}\n\n| file | operator | reason | axes |\n| --- | --- | --- | ---: |\n{reasons}"
            )?;
        }
    }
    print(&page);
    if wrong.is_empty() { Ok(()) } else { Err(anyhow!("failed: {}", wrong.join(", "))) }
}

fn spec(share: f64) -> Result<PruneSpec> {
    let request = PruneRequest {
        target: Some(Target::ChannelsRemoved(share)),
        scope: Scope::Local,
        round_to: Some(1.into()),
        ..PruneRequest::default()
    };
    request.parse().map_err(|(field, reason)| anyhow!("the field `{field}` {reason}"))
}

/// The time of the cut alone, and the certified cut.
fn cut(model: &Model, spec: &PruneSpec) -> Result<(f64, Pruned), Failure> {
    let begun = Instant::now();
    prune::cut_without_certificate(model, spec).map_err(Failure::from)?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok((seconds, prune::prune(model, spec, None, 1, &|_| {}).map_err(Failure::from)?))
}

fn row(name: &str, seconds: f64, report: &PruneReport) -> String {
    let left = |after: u64, before: u64| format!("{:.3}", after as f64 / before.max(1) as f64);
    let macs = match (report.size_after.macs, report.size_before.macs) {
        (Some(after), Some(before)) => left(after, before),
        _ => "unknown".into(),
    };
    let mut engines: BTreeMap<&str, f64> = BTreeMap::new();
    for check in report.certificate.iter().flat_map(|certificate| &certificate.checks) {
        if let Some(error) = check.error {
            let largest = engines.entry(&check.engine).or_default();
            *largest = largest.max(error);
        }
    }
    let engines: Vec<String> = engines.iter().map(|(engine, error)| format!("{engine} {error:.1e}")).collect();
    format!(
        "| {name} | {} | {} | {macs} | {:.3} | {seconds:.3} | {} |",
        report.size_before.parameters,
        left(report.size_after.parameters, report.size_before.parameters),
        report.coverage_parameters,
        engines.join(", "),
    )
}

/// What was left alone, one line a reason.
fn why_not(name: &str, report: &PruneReport) -> String {
    let mut reasons: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for frozen in &report.frozen {
        let operator = frozen.operator.as_deref().unwrap_or("—");
        *reasons.entry((operator, &frozen.reason)).or_default() += 1;
    }
    reasons.iter().fold(String::new(), |mut lines, ((operator, reason), count)| {
        let _ = writeln!(lines, "| {name} | {operator} | {reason} | {count} |");
        lines
    })
}

fn onnx_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    files.sort();
    Ok(files)
}

#[expect(clippy::print_stdout, reason = "the page is what this program is for")]
fn print(page: &str) {
    print!("{page}");
}
