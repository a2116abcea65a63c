//! Trainings on the handwritten digits: they learn, they resume to the same bytes, and they say what is wrong.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test; where the real models lie comes from outside, and that they are missing is told"
)]

mod models;
#[path = "../published/mod.rs"]
mod published;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use secateur::data::Dataset;
use secateur::onnx::attribute::Attribute;
use secateur::onnx::builder::{GraphBuilder, Size};
use secateur::onnx::dtype::DataType;
use secateur::onnx::model::Model;
use secateur::onnx::tensor::Tensor;
use secateur::spec::attempt::{AttemptMessage, DatasetLimits};
use secateur::spec::failure::{Failure, FailureCode};
use secateur::spec::observer::{Observer, Unobserved};
use secateur::spec::preprocess::Preprocess;
use secateur::spec::retrain::{Augment, Loss, Optimizer, RetrainSpec, Schedule};
use secateur::train::checkpoint::{Checkpoints, NoCheckpoints};
use secateur::train::{Context, Retrained, TrainError, retrain};

fn digits() -> Dataset {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits/digits-test.npz");
    let preprocess = Preprocess { divide_by: 16.0, ..Preprocess::default() };
    Dataset::open(&file, Some(&preprocess), &DatasetLimits::default()).unwrap()
}

/// Numbers that look random, from a multiplicative generator.
fn noise(seed: u64, shape: &[usize], scale: f32) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let values: Vec<f32> = (0..shape.iter().product::<usize>())
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 40) as f32 / 8_388_608.0 - 1.0) * scale
        })
        .collect();
    Tensor::from_f32(shape, &values)
}

/// Convolution, normalisation, `Relu`, pooling, dense layer.
fn network(classes: usize, batch: Size) -> Model {
    let mut b = GraphBuilder::new("network");
    let x = b.input("image", DataType::Float, &[batch.clone(), 1.into(), 8.into(), 8.into()]);
    let w = b.initializer("conv.weight", &noise(1, &[12, 1, 3, 3], 0.5));
    let y = b.node("Conv", &[&x, &w], &[("pads", Attribute::Ints(vec![1; 4]))]);
    let ones = b.initializer("ones", &Tensor::from_f32(&[12], &[1.0; 12]));
    let zeros = b.initializer("zeros", &Tensor::from_f32(&[12], &[0.0; 12]));
    // Stored once for both, as exporters do with fresh layers.
    let y = b.node("BatchNormalization", &[&y, &ones, &zeros, &zeros, &ones], &[]);
    let y = b.node("Relu", &[&y], &[]);
    let window = [("kernel_shape", Attribute::Ints(vec![2, 2])), ("strides", Attribute::Ints(vec![2, 2]))];
    let y = b.node("MaxPool", &[&y], &window);
    let y = b.node("Flatten", &[&y], &[]);
    let w = b.initializer("dense.weight", &noise(2, &[192, classes], 0.1));
    let y = b.node("MatMul", &[&y, &w], &[]);
    let bias = b.initializer("dense.bias", &Tensor::from_f32(&[classes], &vec![0.0; classes]));
    let y = b.node("Add", &[&y, &bias], &[]);
    b.output(&y, DataType::Float, &[batch, classes.into()]);
    b.build(17)
}

fn spec() -> RetrainSpec {
    RetrainSpec {
        epochs: 3,
        batch_size: 32,
        optimizer: Optimizer::Sgd { learning_rate: 0.05, momentum: 0.9, weight_decay: 5e-4, nesterov: false },
        schedule: Schedule::Cosine { warmup_steps: 5 },
        loss: Loss::CrossEntropy { label_smoothing: 0.05 },
        augment: Augment { horizontal_flip: false, crop_padding: 1 },
        validation_fraction: 0.2,
        ..RetrainSpec::default()
    }
}

fn run(
    model: &Model,
    spec: &RetrainSpec,
    observer: &dyn Observer,
    checkpoints: &mut dyn Checkpoints,
) -> Result<Retrained, TrainError> {
    let mut context = Context { threads: 1, observer, checkpoints, step: 0, progress: 0.0..1.0 };
    retrain(model, &digits(), spec, &mut context)
}

/// Changes of images that are asked for on rows of numbers were passed over in silence.
#[test]
fn changes_of_images_that_are_no_images_are_told() {
    let mut b = GraphBuilder::new("dense");
    let x = b.input("x", DataType::Float, &["n".into(), 4.into()]);
    let w = b.initializer("w", &noise(3, &[4, 2], 0.1));
    let y = b.node("MatMul", &[&x, &w], &[]);
    b.output(&y, DataType::Float, &["n".into(), 2.into()]);
    let model = b.build(17);
    let folder = tempfile::tempdir().unwrap();
    let rows = rows_of_numbers(folder.path());
    let findings = |augment: Augment| {
        let spec = RetrainSpec { epochs: 1, batch_size: 4, validation_fraction: 0.0, augment, ..spec() };
        let checkpoints = &mut NoCheckpoints;
        let mut context = Context { threads: 1, observer: &Unobserved, checkpoints, step: 0, progress: 0.0..1.0 };
        retrain(&model, &rows, &spec, &mut context).unwrap().findings
    };
    let told = findings(Augment { horizontal_flip: true, crop_padding: 0 });
    assert!(told.iter().any(|finding| finding.contains("`augment` had no effect")), "{told:?}");
    assert_eq!(findings(Augment::default()), Vec::<String>::new());
    let images = run(&network(10, "n".into()), &spec(), &Unobserved, &mut NoCheckpoints).unwrap();
    assert!(!images.findings.iter().any(|finding| finding.contains("`augment`")), "{:?}", images.findings);
}

/// Eight samples of four numbers and a label.
fn rows_of_numbers(folder: &Path) -> Dataset {
    let path = folder.join("rows.npz");
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    for (name, descr, shape, data) in
        [("x", "|u1", "(8, 4)", &[3; 32][..]), ("y", "|u1", "(8,)", &[0, 1, 0, 1, 0, 1, 0, 1])]
    {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}\n");
        zip.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(
            &[b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat(),
        )
        .unwrap();
    }
    zip.finish().unwrap();
    Dataset::open(&path, None, &DatasetLimits::default()).unwrap()
}

/// Stops the work at the n-th question.
struct StopsAt(AtomicU64);

impl Observer for StopsAt {
    fn tell(&self, _: AttemptMessage) {}

    fn should_stop(&self) -> bool {
        self.0.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

/// Keeps the messages.
#[derive(Default)]
struct Listens(Mutex<Vec<AttemptMessage>>);

impl Observer for Listens {
    fn tell(&self, message: AttemptMessage) {
        self.0.lock().unwrap().push(message);
    }

    fn should_stop(&self) -> bool {
        false
    }
}

/// Directories 1, 2, 3, … of which the last is loaded.
struct Folder {
    root: PathBuf,
    saved: u64,
    due_every: u64,
    asked: AtomicU64,
}

impl Folder {
    fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), saved: 0, due_every: 7, asked: AtomicU64::new(0) }
    }
}

impl Checkpoints for Folder {
    fn load(&self) -> Option<PathBuf> {
        (self.saved > 0).then(|| self.root.join(self.saved.to_string()))
    }

    fn due(&self) -> bool {
        (self.asked.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(self.due_every)
    }

    fn save(&mut self, write: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
        let directory = self.root.join((self.saved + 1).to_string());
        fs::create_dir(&directory)?;
        write(&directory)?;
        self.saved += 1;
        Ok(())
    }
}

#[test]
fn a_training_learns_and_tells_of_each_epoch() {
    let heard = Listens::default();
    let trained =
        run(&network(10, "n".into()), &RetrainSpec { epochs: 8, ..spec() }, &heard, &mut NoCheckpoints).unwrap();
    let report = &trained.report;
    assert_eq!((report.training_samples, report.validation_samples, report.steps), (288, 72, 72));
    assert_eq!(report.trained_parameters, 12 * 9 + 24 + 192 * 10 + 10);
    assert!(report.epochs[7].training_loss < report.epochs[0].training_loss / 2.0, "{:?}", report.epochs);
    let best = &report.epochs[report.best_epoch.unwrap() as usize - 1];
    assert!(best.validation_accuracy.unwrap() > 0.8, "{best:?}");
    assert!(report.epochs.iter().all(|epoch| epoch.validation_accuracy <= best.validation_accuracy));
    let heard = heard.0.into_inner().unwrap();
    let epochs: Vec<_> =
        heard.iter().filter_map(|m| if let AttemptMessage::Event { event } = m { Some(event) } else { None }).collect();
    assert_eq!(epochs.len(), 8);
    assert!(epochs.iter().all(|event| event.kind == "epoch" && event.data["step"] == 0));
    assert_eq!(epochs[7].data["training_loss"], report.epochs[7].training_loss);
    let last = heard
        .iter()
        .filter_map(|m| if let AttemptMessage::Progress { fraction } = m { Some(*fraction) } else { None })
        .next_back();
    assert_eq!(last, Some(1.0));
}

#[test]
fn a_training_that_was_interrupted_anywhere_ends_with_the_same_bytes() {
    let model = network(10, "n".into());
    let undisturbed = run(&model, &spec(), &Unobserved, &mut NoCheckpoints).unwrap();
    // 27 steps and 9 batches of validation: the work asks 36 times whether to stop.
    for pace in [1, 2, 5, 9, 10, 11, 12, 13, 30] {
        let folder = tempfile::tempdir().unwrap();
        let mut checkpoints = Folder::new(folder.path());
        let mut interruptions = 0;
        let resumed = loop {
            // Each attempt gets a little further, so that even one that stops at once ends.
            let observer = StopsAt(AtomicU64::new(pace + interruptions));
            match run(&model, &spec(), &observer, &mut checkpoints) {
                Err(TrainError::Interrupted) => interruptions += 1,
                result => break result.unwrap(),
            }
        };
        assert!(interruptions > 0, "pace {pace}");
        assert_eq!(
            resumed.model.to_bytes(),
            undisturbed.model.to_bytes(),
            "pace {pace}, {interruptions} interruptions"
        );
        assert_eq!(resumed.report.epochs, undisturbed.report.epochs);
        assert_eq!(resumed.report.best_epoch, undisturbed.report.best_epoch);
        assert_eq!(resumed.findings, undisturbed.findings);
    }
}

#[test]
fn a_killed_training_goes_on_from_its_last_checkpoint_to_the_same_bytes() {
    let model = network(10, "n".into());
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoints = Folder::new(folder.path());
    let whole = run(&model, &spec(), &Unobserved, &mut checkpoints).unwrap();
    assert!(checkpoints.saved > 5);
    for last in 1..=checkpoints.saved {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("1")).unwrap();
        for file in fs::read_dir(folder.path().join(last.to_string())).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), scratch.path().join("1").join(file.file_name())).unwrap();
        }
        let mut found = Folder { saved: 1, ..Folder::new(scratch.path()) };
        let resumed = run(&model, &spec(), &Unobserved, &mut found).unwrap();
        assert_eq!(resumed.model.to_bytes(), whole.model.to_bytes(), "from checkpoint {last}");
    }
}

#[test]
fn a_checkpoint_of_another_training_is_not_used_and_a_damaged_one_neither() {
    let model = network(10, "n".into());
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoints = Folder::new(folder.path());
    run(&model, &RetrainSpec { seed: 9, ..spec() }, &Unobserved, &mut checkpoints).unwrap();
    let undisturbed = run(&model, &spec(), &Unobserved, &mut NoCheckpoints).unwrap();
    let mut found = Folder { saved: checkpoints.saved, ..Folder::new(folder.path()) };
    let trained = run(&model, &spec(), &Unobserved, &mut found).unwrap();
    assert_eq!(trained.model.to_bytes(), undisturbed.model.to_bytes());
    assert!(trained.findings.iter().any(|finding| finding.contains("another training")), "{:?}", trained.findings);

    let last = folder.path().join(found.saved.to_string());
    for file in fs::read_dir(&last).unwrap() {
        fs::write(file.unwrap().path(), b"torn").unwrap();
    }
    let trained = run(&model, &spec(), &Unobserved, &mut found).unwrap();
    assert_eq!(trained.model.to_bytes(), undisturbed.model.to_bytes());
    assert!(trained.findings.iter().any(|finding| finding.contains("cannot be read")), "{:?}", trained.findings);
}

#[test]
fn nothing_but_weights_and_statistics_changes() {
    let model = network(10, "n".into());
    let mut trained = run(&model, &RetrainSpec { epochs: 1, ..spec() }, &Unobserved, &mut NoCheckpoints).unwrap().model;
    let names: Vec<String> = trained.graph_proto().initializer.iter().map(|tensor| tensor.name().to_owned()).collect();
    // The shared vectors were given to each of their users.
    assert_eq!(names[..5], ["conv.weight", "ones", "zeros", "dense.weight", "dense.bias"]);
    assert_eq!(names.len(), 7);
    for (new, old) in trained.graph_proto().initializer.iter().zip(&model.graph_proto().initializer) {
        assert_ne!(new.raw_data, old.raw_data, "{}", old.name());
        assert_eq!((new.data_type, &new.dims), (old.data_type, &old.dims));
    }
    trained.graph_proto_mut().initializer = model.graph_proto().initializer.clone();
    let inputs = trained.graph_proto().node[1].input.clone();
    assert_eq!(inputs.iter().collect::<std::collections::BTreeSet<_>>().len(), 5);
    trained.graph_proto_mut().node[1].input = model.graph_proto().node[1].input.clone();
    assert_eq!(trained, model);
}

#[test]
fn running_statistics_move_as_in_pytorch() {
    let model = network(10, "n".into());
    // So small a rate that the step leaves the weights where they are; the whole set is one batch.
    let optimizer = Optimizer::Sgd { learning_rate: 1e-30, momentum: 0.0, weight_decay: 0.0, nesterov: false };
    let spec = RetrainSpec {
        epochs: 1,
        batch_size: 360,
        optimizer,
        schedule: Schedule::Constant { warmup_steps: 0 },
        augment: Augment::default(),
        validation_fraction: 0.0,
        ..RetrainSpec::default()
    };
    let trained = run(&model, &spec, &Unobserved, &mut NoCheckpoints).unwrap().model;
    // The first channel's outputs by hand.
    let data = digits();
    let reader = secateur::data::Reader::new(&data, &model).unwrap();
    let batch = reader.batch(&(0..360).collect::<Vec<_>>()).unwrap();
    let (x, w) = (batch.inputs[0].1.to_f32().unwrap(), noise(1, &[12, 1, 3, 3], 0.5));
    let w = w.to_f32().unwrap();
    let mut outputs = Vec::new();
    for image in x.chunks(64) {
        for (row, column) in (0..8_i32).flat_map(|row| (0..8_i32).map(move |column| (row, column))) {
            let mut sum = 0.0;
            for (i, j) in (0..3_i32).flat_map(|i| (0..3_i32).map(move |j| (i, j))) {
                let (y, x) = (row + i - 1, column + j - 1);
                if (0..8).contains(&y) && (0..8).contains(&x) {
                    sum += f64::from(w[(i * 3 + j) as usize]) * f64::from(image[(y * 8 + x) as usize]);
                }
            }
            outputs.push(sum);
        }
    }
    let count = outputs.len() as f64;
    let mean = outputs.iter().sum::<f64>() / count;
    let variance = outputs.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let graph = trained.graph();
    let normalization = graph.proto.node.iter().find(|node| node.is("BatchNormalization")).unwrap();
    let first =
        |slot: usize| f64::from(graph.constant(&normalization.input[slot]).unwrap().unwrap().to_f32().unwrap()[0]);
    assert!((first(3) - 0.1 * mean).abs() < 1e-5, "{} is not {}", first(3), 0.1 * mean);
    assert!((first(4) - (0.9 + 0.1 * variance)).abs() < 1e-5, "{} is not {}", first(4), 0.9 + 0.1 * variance);
}

#[test]
fn what_cannot_be_trained_is_refused_with_the_reason() {
    let code = |error: TrainError| Failure::from(error).code;
    let wild = Optimizer::Sgd { learning_rate: 1e9, momentum: 0.9, weight_decay: 0.0, nesterov: false };
    let wild = RetrainSpec { optimizer: wild, schedule: Schedule::Constant { warmup_steps: 0 }, ..spec() };
    let error = run(&network(10, "n".into()), &wild, &Unobserved, &mut NoCheckpoints).err().unwrap();
    assert!(matches!(error, TrainError::Diverged { step: 1.., .. }), "{error}");
    assert_eq!(code(error), FailureCode::Diverged);

    let error = run(&network(9, "n".into()), &spec(), &Unobserved, &mut NoCheckpoints).err().unwrap();
    assert!(matches!(error, TrainError::Classes { label: 9, classes: 9 }), "{error}");
    assert_eq!(code(error), FailureCode::DatasetMismatch);

    let output = RetrainSpec { output: Some("nowhere".into()), ..spec() };
    let failure = Failure::from(run(&network(10, "n".into()), &output, &Unobserved, &mut NoCheckpoints).err().unwrap());
    assert_eq!((failure.code, failure.place.as_deref()), (FailureCode::InvalidSpec, Some("/output")));
}

#[test]
fn a_batch_fixed_at_export_is_freed_for_training_and_kept_in_the_result() {
    let spec = RetrainSpec { epochs: 1, ..spec() };
    let free = run(&network(10, "n".into()), &spec, &Unobserved, &mut NoCheckpoints).unwrap();
    let fixed = run(&network(10, 4.into()), &spec, &Unobserved, &mut NoCheckpoints).unwrap();
    assert!(fixed.findings.iter().any(|finding| finding.contains("fixed at 4")), "{:?}", fixed.findings);
    assert_eq!(fixed.model.graph_proto().input, network(10, 4.into()).graph_proto().input);
    assert_eq!(fixed.model.graph_proto().initializer, free.model.graph_proto().initializer);
}

#[test]
fn training_ends_at_its_last_step() {
    let spec = RetrainSpec { max_steps: Some(12), validation_fraction: 0.0, ..spec() };
    let trained = run(&network(10, "n".into()), &spec, &Unobserved, &mut NoCheckpoints).unwrap();
    // 11 steps an epoch: one epoch and a step.
    assert_eq!((trained.report.steps, trained.report.epochs.len(), trained.report.best_epoch), (12, 2, None));
}
