//! The Markdown face of a [`Report`]: a table that fits a pull request comment, then one section a step, long lists
//! folded away. Says nothing that the JSON does not say, rounds for reading, and trusts no name: what comes from an
//! upload is quoted so that it cannot break out of its cell.

mod analyze;
mod comparison;
mod figure;
mod step;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use super::report::Report;
use comparison::comparison;
use figure::{code, count, text};
use step::section;

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
