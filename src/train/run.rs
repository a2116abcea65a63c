//! The loop: epochs of steps, with validation, checkpoints and interruption between them.

use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::data::{Augmentation, Dataset, Reader, Split, prefetched, shuffled, split};
use crate::engine::{Engine, onnx_runtime};
use crate::onnx::model::Model;
use crate::spec::attempt::AttemptMessage;
use crate::spec::observer::Observer;
use crate::spec::report::{EpochReport, RetrainReport};
use crate::spec::retrain::{Augment, Loss, RetrainSpec};

use super::checkpoint::{self, Checkpoints, Identity};
use super::error::TrainError;
use super::export::with_elements;
use super::optimizer::Sgd;
use super::prepare::{Prepared, prepare};
use super::schedule::learning_rate;
use super::state::{Numbers, State};
use super::step::TrainingStep;
use super::validate::Validation;

/// The code path of training graphs: operators of the standard alone.
const CODE_PATH: &str = "standard";

/// What a training is told by whoever runs it.
pub struct Context<'a> {
    /// Threads for numeric work.
    pub threads: u32,
    pub observer: &'a dyn Observer,
    pub checkpoints: &'a mut dyn Checkpoints,
    /// The step of the job that this is (0-based).
    pub step: usize,
    /// The part of the job's progress that this is.
    pub progress: Range<f64>,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("threads", &self.threads).field("step", &self.step).finish_non_exhaustive()
    }
}

/// What came out of a training.
#[derive(Debug)]
pub struct Retrained {
    pub model: Model,
    pub report: RetrainReport,
    /// Remarks for the report, each a sentence.
    pub findings: Vec<String>,
}

/// Trains a model on a labelled dataset and returns it with the weights of its best epoch.
///
/// Deterministic: the same model, dataset, spec, threads, library and kind of CPU give the same bytes, however often the
/// training was interrupted and went on from a checkpoint. The samples of each epoch that do not fill a batch are left
/// out of it; the next epoch's order is another, so that they are others.
pub fn retrain(
    model: &Model,
    dataset: &Dataset,
    spec: &RetrainSpec,
    context: &mut Context,
) -> Result<Retrained, TrainError> {
    let engine = onnx_runtime()?;
    let labels = dataset.labels().ok_or(TrainError::NoLabels)?;
    let parts = split(labels, spec.validation_fraction, spec.seed);
    let batch = (spec.batch_size as usize).min(parts.training.len());
    if batch < 2 {
        return Err(TrainError::TooFewSamples);
    }
    let mut prepared = prepare(model, dataset, spec, batch)?;
    if batch < spec.batch_size as usize {
        prepared.findings.push(format!(
            "the batch size was lowered from {} to the {batch} samples that there are to train on",
            spec.batch_size
        ));
    }
    let classes = prepared.graph.classes;
    if let Some(label) = labels.iter().find(|label| usize::try_from(**label).map_or(true, |label| label >= classes)) {
        return Err(TrainError::Classes { label: *label, classes });
    }
    let identity = Identity {
        training: fingerprint(&prepared.original, labels, spec),
        code_path: CODE_PATH.into(),
        threads: context.threads,
        library: engine.version().unwrap_or_default(),
        cpu: cpu(),
    };
    let (optimizer, full_rate) = Sgd::new(&spec.optimizer);
    let Loss::CrossEntropy { label_smoothing } = spec.loss;
    let threads = context.threads.max(1) as usize;
    let mut step = TrainingStep::new(engine, &prepared.graph, optimizer, label_smoothing, threads)?;
    let reader = Reader::new(dataset, &prepared.raised)?;
    if spec.augment != Augment::default() && !reader.has_images() {
        prepared.findings.push(
            "`augment` had no effect: images alone are changed, which are floating-point inputs of three axes a sample"
                .into(),
        );
    }
    let start = State::new(step.layout().read(&prepared.raised));
    let zeros = step.keep_zeros(&start.now);
    if zeros > 0 {
        prepared.findings.push(format!("{zeros} weights that were zero stayed zero"));
    }
    let state = resume(context.checkpoints, &identity, start, &mut prepared.findings);
    let steps_per_epoch = (parts.training.len() / batch) as u64;
    let total = u64::from(spec.epochs) * steps_per_epoch;
    let mut training = Training {
        engine,
        reader,
        parts,
        spec,
        prepared,
        identity,
        step,
        state,
        batch,
        steps_per_epoch,
        total: spec.max_steps.map_or(total, |most| most.min(total)),
        full_rate,
        busy: Duration::ZERO,
        steps_here: 0,
        told: 0,
    };
    while training.state.step < training.total || training.state.step_in_epoch > 0 {
        training.epoch(context)?;
    }
    training.finish(context)
}

/// A training under way.
struct Training<'a> {
    engine: &'a dyn Engine,
    reader: Reader<'a>,
    parts: Split,
    spec: &'a RetrainSpec,
    prepared: Prepared,
    identity: Identity,
    step: TrainingStep,
    state: State,
    batch: usize,
    steps_per_epoch: u64,
    /// Steps of the whole training.
    total: u64,
    full_rate: f64,
    /// Time spent in steps, and their number, since this process took over.
    busy: Duration,
    steps_here: u64,
    /// Thousandths of the progress that were told.
    told: u64,
}

impl Training<'_> {
    /// Finishes the epoch at hand: its remaining steps, its validation, its checkpoint.
    fn epoch(&mut self, context: &mut Context) -> Result<(), TrainError> {
        self.steps(context)?;
        let report = self.figures(context)?;
        self.state.end_epoch(report);
        self.save(context)?;
        self.announce(context);
        Ok(())
    }

    fn steps(&mut self, context: &mut Context) -> Result<(), TrainError> {
        let (spec, epoch) = (self.spec, self.state.epoch);
        let order = shuffled(&self.parts.training, spec.seed, epoch);
        let left = self.total - self.state.step;
        let lists: Vec<Vec<usize>> = (order.chunks_exact(self.batch))
            .skip(self.state.step_in_epoch as usize)
            .take(usize::try_from(left).unwrap_or(usize::MAX))
            .map(<[usize]>::to_vec)
            .collect();
        let augmentation = Augmentation { what: spec.augment, seed: spec.seed, epoch };
        let Self { reader, step, state, .. } = self;
        let (identity, total, full_rate, batch_size) = (&self.identity, self.total, self.full_rate, self.batch as u64);
        let (busy, steps_here, told) = (&mut self.busy, &mut self.steps_here, &mut self.told);
        prefetched(
            &lists,
            |samples| reader.augmented(samples, &augmentation),
            |batch| {
                let stop = context.observer.should_stop();
                if stop || context.checkpoints.due() {
                    save(context.checkpoints, identity, state)?;
                }
                if stop {
                    return Err(TrainError::Interrupted);
                }
                let begun = Instant::now();
                let rate = learning_rate(&spec.schedule, full_rate, state.step, total);
                let result = step.run(state, &batch.inputs, &batch.labels, rate)?;
                if !result.loss.is_finite() {
                    return Err(TrainError::Diverged { step: state.step + 1, epoch: epoch + 1, learning_rate: rate });
                }
                state.running.loss += result.loss * batch_size as f64;
                state.running.correct += result.correct;
                state.running.samples += batch_size;
                state.step += 1;
                state.step_in_epoch += 1;
                *busy += begun.elapsed();
                *steps_here += 1;
                let done = state.step * 1000 / total.max(1);
                if done > *told {
                    *told = done;
                    let fraction =
                        context.progress.start + (context.progress.end - context.progress.start) * done as f64 / 1000.0;
                    context.observer.tell(AttemptMessage::Progress { fraction });
                }
                Ok(())
            },
        )
    }

    /// The figures of the epoch whose steps are done.
    fn figures(&mut self, context: &mut Context) -> Result<EpochReport, TrainError> {
        let last = self.state.step.saturating_sub(1);
        let last_rate = learning_rate(&self.spec.schedule, self.full_rate, last, self.total);
        // Running statistics may overflow while the loss, which does not see them, is still finite.
        if !self.state.now.are_finite() {
            let (step, epoch) = (self.state.step, self.state.epoch + 1);
            return Err(TrainError::Diverged { step, epoch, learning_rate: last_rate });
        }
        let score = if self.parts.validation.is_empty() {
            None
        } else {
            let model = with_elements(&self.prepared.raised, &self.step.layout().by_name(&self.state.now))?;
            let validation = Validation {
                reader: &self.reader,
                samples: &self.parts.validation,
                batch: self.batch,
                logits: &self.prepared.graph.logits,
                classes: self.prepared.graph.classes,
                threads: context.threads.max(1) as usize,
            };
            match validation.score(self.engine, &model, context.observer) {
                // The steps are done, so that going on from here begins with the validation.
                Err(TrainError::Interrupted) => {
                    self.save(context)?;
                    return Err(TrainError::Interrupted);
                }
                score => Some(score?),
            }
        };
        let samples = self.state.running.samples.max(1) as f64;
        Ok(EpochReport {
            epoch: self.state.epoch as u32 + 1,
            learning_rate: last_rate,
            training_loss: self.state.running.loss / samples,
            training_accuracy: self.state.running.correct as f64 / samples,
            validation_loss: score.map(|score| score.loss),
            validation_accuracy: score.map(|score| score.accuracy),
        })
    }

    fn save(&self, context: &mut Context) -> Result<(), TrainError> {
        save(context.checkpoints, &self.identity, &self.state)
    }

    fn announce(&self, context: &Context) {
        let Some(figures) = self.state.history.last() else { return };
        let validation = figures
            .validation_accuracy
            .map_or(String::new(), |accuracy| format!(", validation accuracy {:.2} %", 100.0 * accuracy));
        let epochs = self.total.div_ceil(self.steps_per_epoch);
        let message = format!(
            "Epoch {} of {epochs}: loss {:.4}, training accuracy {:.2} %{validation}.",
            figures.epoch,
            figures.training_loss,
            100.0 * figures.training_accuracy
        );
        let mut data = json!(figures);
        data["step"] = json!(context.step);
        context.observer.event("epoch", message, data);
    }

    fn finish(self, context: &Context) -> Result<Retrained, TrainError> {
        let layout = self.step.layout();
        let kept: &Numbers = self.state.best.as_ref().map_or(&self.state.now, |(_, numbers)| numbers);
        let model = with_elements(&self.prepared.original, &layout.by_name(kept))?;
        let seconds = self.busy.as_secs_f64();
        let samples_here = (self.steps_here * self.batch as u64) as f64;
        let report = RetrainReport {
            best_epoch: self.state.best.as_ref().map(|(epoch, _)| *epoch),
            epochs: self.state.history,
            steps: self.state.step,
            trained_parameters: layout.parameters() as u64,
            not_trained: self.prepared.graph.frozen,
            training_samples: self.parts.training.len() as u64,
            validation_samples: self.parts.validation.len() as u64,
            code_path: CODE_PATH.into(),
            threads: context.threads,
            samples_per_second: if seconds > 0.0 { samples_here / seconds } else { 0.0 },
            // Made by whoever runs the training: certificates know more layers than this one.
            certificate: None,
        };
        Ok(Retrained { model, report, findings: self.prepared.findings })
    }
}

fn save(checkpoints: &mut dyn Checkpoints, identity: &Identity, state: &State) -> Result<(), TrainError> {
    checkpoints.save(&mut |directory| checkpoint::write(directory, identity, state)).map_err(TrainError::Checkpoint)
}

/// The state to go on from: that of the checkpoint where there is one of this training, else the start.
fn resume(checkpoints: &dyn Checkpoints, identity: &Identity, start: State, findings: &mut Vec<String>) -> State {
    let Some(directory) = checkpoints.load() else { return start };
    let (found, state) = match checkpoint::read(&directory) {
        Ok(read) => read,
        Err(error) => {
            findings.push(format!("the training began anew, for its checkpoint cannot be read: {error}"));
            return start;
        }
    };
    if found.training != identity.training
        || state.now.weights.len() != start.now.weights.len()
        || state.now.statistics.len() != start.now.statistics.len()
    {
        findings.push("the training began anew, for its checkpoint is that of another training".into());
        return start;
    }
    if found != *identity {
        findings.push(format!(
            "the training went on elsewhere at step {}, so that its last digits depend on when: from {} threads, ONNX \
             Runtime {}, {}, {} to {} threads, ONNX Runtime {}, {}, {}",
            state.step,
            found.threads,
            found.library,
            found.cpu,
            found.code_path,
            identity.threads,
            identity.library,
            identity.cpu,
            identity.code_path
        ));
    }
    state
}

/// Tells trainings apart: SHA-256 over model, labels and spec.
fn fingerprint(model: &Model, labels: &[i64], spec: &RetrainSpec) -> String {
    let mut hash = Sha256::new();
    hash.update(Sha256::digest(model.to_bytes()));
    for label in labels {
        hash.update(label.to_le_bytes());
    }
    hash.update(json!(spec).to_string());
    hex::encode(hash.finalize())
}

/// The kind of processor, as the system names it.
fn cpu() -> String {
    let name = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        line.split_once(':').map(|(_, name)| name.trim().to_owned())
    });
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}
