//! Tries criteria and repairs on a published network and prints a table for `docs/benchmarks.md`.
//!
//! `recovery DATA [MACS_KEPT[:CRITERIA[:RUNGS[:WIDTHS[:SAMPLES]]]]…]`: `DATA` is the folder with `cifar_resnet/` and `data/`, `WIDTHS`
//! is `within` (the residual stream stays), `anywhere` or `both`, `SAMPLES` is `images`, `normal` (drawn numbers) or `matched`
//! (moved to the statistics of BatchNormalization); as in `0.5:obs,l2:least_squares,none:both:images,normal`. Accuracies are
//! those of 2,000 test images that are drawn by a seed. The recipe is one that a user can ask for over HTTP.

#[path = "../tests/published/cifar.rs"]
mod cifar;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use secateur::data::{Calibration, Dataset};
use secateur::engine::{Engine as _, SessionOptions, onnx_runtime};
use secateur::onnx::model::Model;
use secateur::prune::{make_samples, prune};
use secateur::spec::attempt::{DatasetLimits, ModelLimits};
use secateur::spec::preprocess::Preprocess;
use secateur::spec::prune::{Criterion, PruneRequest, Rung, Synthetic, Target};

const THREADS: usize = 2;
const TESTED: usize = 2_000;
const MODEL: &str = "cifar_resnet/cifar10_resnet56_adapted.onnx";
const MODEL_WITH_NORMALISATION: &str = "cifar_resnet/cifar10_resnet56_adapted_bn.onnx";
const RUNGS: &str = "none,bias,batch_norm,least_squares";

#[expect(clippy::print_stdout, reason = "the table is what it is for")]
fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().context("usage: recovery DATA [MACS_KEPT[:CRITERIA[:RUNGS[:WIDTHS[:SAMPLES]]]]…]")?;
    let mut wanted: Vec<String> = arguments.collect();
    if wanted.is_empty() {
        wanted = vec!["0.6667".into(), "0.5".into(), "0.4".into()];
    }
    println!("| MACs kept | criterion | repair | widths cut | samples | accuracy | seconds |");
    println!("| ---: | --- | --- | --- | --- | ---: | ---: |");
    for wanted in wanted {
        let mut parts = wanted.split(':');
        let share: f64 = parts.next().unwrap_or_default().parse().context("a share")?;
        let criteria = parts.next().unwrap_or("l1,l2,activation_mean,wanda,obs");
        let rungs = parts.next().unwrap_or(RUNGS);
        let streams: &[bool] = match parts.next() {
            Some("both") => &[true, false],
            Some("anywhere") => &[false],
            _ => &[true],
        };
        let sources: Vec<&str> = parts.next().unwrap_or("images").split(',').collect();
        for criterion in criteria.split(',') {
            for rung in rungs.split(',') {
                for (within, samples) in streams.iter().flat_map(|within| sources.iter().map(move |s| (*within, *s))) {
                    let recipe = Recipe { share, criterion, rung, within, samples };
                    let (accuracy, seconds) = recipe.tried(Path::new(&folder))?;
                    let place = if within { "within blocks" } else { "anywhere" };
                    println!(
                        "| {share} | `{criterion}` | {rung} | {place} | {samples} | {:.1} % | {seconds:.0} |",
                        accuracy * 100.0
                    );
                }
            }
        }
    }
    Ok(())
}

struct Recipe<'a> {
    share: f64,
    criterion: &'a str,
    rung: &'a str,
    within: bool,
    samples: &'a str,
}

impl Recipe<'_> {
    /// Accuracy of the recipe, and how long the job took.
    fn tried(&self, folder: &Path) -> Result<(f64, f64)> {
        let named = |name: &str| serde_json::from_value::<Criterion>(serde_json::Value::String(name.to_owned()));
        let rungs: Vec<Rung> = match self.rung {
            "none" => Vec::new(),
            rungs => (rungs.split('+'))
                .map(|rung| serde_json::from_value(serde_json::Value::String(rung.to_owned())))
                .collect::<Result<_, _>>()?,
        };
        let synthetic = match self.samples {
            "images" => None,
            "normal" => Some(Synthetic::default()),
            "matched" => Some(Synthetic { match_batch_norm: true, ..Synthetic::default() }),
            other => bail!("`{other}` are no samples"),
        };
        let keeps_normalisation = rungs.contains(&Rung::BatchNorm) || self.samples == "matched";
        let file = if keeps_normalisation { MODEL_WITH_NORMALISATION } else { MODEL };
        let model = Model::load(&folder.join(file), &ModelLimits::default())?;
        let request = PruneRequest {
            target: Some(Target::MacsKept(self.share)),
            criterion: Some(named(self.criterion)?),
            exclude_operators: if self.within { vec!["Add".into()] } else { Vec::new() },
            round_to: Some(1.into()),
            recovery: Some(rungs),
            synthetic,
            ..PruneRequest::default()
        };
        let Ok(spec) = request.parse() else { bail!("the recipe is none") };
        let start = Instant::now();
        let samples = match spec.synthetic {
            None => images(folder, "cifar10-train20k.zip")?,
            Some(_) => make_samples(&model, &spec, THREADS)?.dataset,
        };
        let calibration = Calibration::new(&samples, &model, spec.calibration_samples as usize, spec.seed)?;
        let pruned = prune(&model, &spec, Some(&calibration), THREADS, &|_| {})?;
        let seconds = start.elapsed().as_secs_f64();
        Ok((accuracy(folder, &pruned.model)?, seconds))
    }
}

fn images(folder: &Path, file: &str) -> Result<Dataset> {
    let preprocess: Preprocess = cifar::preprocess();
    Ok(Dataset::open(&folder.join("data").join(file), Some(&preprocess), &DatasetLimits::default())?)
}

/// Share of test images whose class scores highest.
fn accuracy(folder: &Path, model: &Model) -> Result<f64> {
    let dataset = images(folder, "cifar10_jpeg_test5k.npz")?;
    let test = Calibration::new(&dataset, model, TESTED, 1)?;
    let mut session = onnx_runtime()?.load(model, &SessionOptions::with_threads(THREADS))?;
    let (mut right, mut all) = (0, 0);
    for batch in test.fitting().batches() {
        let batch = batch?;
        let outputs = session.run(&batch.feeds())?;
        let scores = outputs[0].to_f32()?;
        for (row, label) in scores.chunks_exact(scores.len() / batch.labels.len()).zip(&batch.labels) {
            let best = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
            right += u32::from(best == usize::try_from(*label).ok());
            all += 1;
        }
    }
    Ok(f64::from(right) / f64::from(all))
}
