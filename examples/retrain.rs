//! Retrains a model without the service.
//!
//! ```text
//! cargo run --example retrain -- MODEL.onnx DATASET.{npz,zip} OUT.onnx [SPEC.json [PREPROCESS.json]]
//! ```
//!
//! `SPEC.json` is the `spec` of a retrain job, `PREPROCESS.json` the dataset's preprocessing; `{}` serves for either.
//! Prints each epoch and then the report as one line of JSON.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use secateur::data::Dataset;
use secateur::onnx::model::Model;
use secateur::spec::attempt::{AttemptMessage, DatasetLimits, ModelLimits};
use secateur::spec::observer::Observer;
use secateur::spec::preprocess::Preprocess;
use secateur::spec::retrain::RetrainSpec;
use secateur::train::checkpoint::NoCheckpoints;
use secateur::train::{Context, retrain};
use serde::de::DeserializeOwned;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, dataset, out, rest @ ..] = arguments.as_slice() else {
        bail!("usage: retrain MODEL.onnx DATASET OUT.onnx [SPEC.json [PREPROCESS.json]]");
    };
    let spec: RetrainSpec = rest.first().map(|file| read(file)).transpose()?.unwrap_or_default();
    let spec = spec.parse().map_err(|(field, reason)| anyhow!("the spec's field `{field}` {reason}"))?;
    let preprocess: Option<Preprocess> = rest.get(1).map(|file| read(file)).transpose()?;
    let preprocess = spec.preprocess.clone().or(preprocess);
    let model = Model::load(Path::new(model), &ModelLimits::default()).with_context(|| format!("reading {model}"))?;
    let dataset = Dataset::open(Path::new(dataset), preprocess.as_ref(), &DatasetLimits::default())
        .with_context(|| format!("opening {dataset}"))?;
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u32);
    let mut context =
        Context { threads, observer: &Printer, checkpoints: &mut NoCheckpoints, step: 0, progress: 0.0..1.0 };
    let begun = Instant::now();
    let retrained = retrain(&model, &dataset, &spec, &mut context)?;
    retrained.model.save(Path::new(out)).with_context(|| format!("writing {out}"))?;
    for finding in &retrained.findings {
        say(finding);
    }
    say(&format!("{:.1} s with {threads} threads", begun.elapsed().as_secs_f64()));
    say(&serde_json::to_string(&retrained.report)?);
    Ok(())
}

fn read<T: DeserializeOwned>(file: &str) -> Result<T> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    serde_json::from_str(&text).with_context(|| format!("reading {file}"))
}

/// Prints what the training has to tell of its epochs.
struct Printer;

impl Observer for Printer {
    fn tell(&self, message: AttemptMessage) {
        if let AttemptMessage::Event { event } = message {
            say(&event.message);
        }
    }

    fn should_stop(&self) -> bool {
        false
    }
}

#[expect(clippy::print_stdout, reason = "this program's output")]
fn say(line: &str) {
    println!("{line}");
}
