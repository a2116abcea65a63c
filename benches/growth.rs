//! How time and memory of pruning grow with the file: transformers of 10 MB to 2 GB, each in a process of its own, and the
//! sizes of ResNet-50, DenseNet-121 and ViT-B/16.
//!
//! Memory is what the process takes from the machine beyond files that it maps: the highest anonymous resident memory,
//! looked at each millisecond.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use secateur::onnx::model::Model;
use secateur::prune::cut_without_certificate;
use secateur::spec::attempt::ModelLimits;
use secateur::spec::prune::{PruneRequest, Target};

#[path = "networks/mod.rs"]
mod networks;

/// Megabytes of weights.
const SIZES: [usize; 6] = [10, 30, 100, 300, 1000, 1900];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.as_slice() {
        [_, command, name, file] if command == "make" => {
            make(name).save(Path::new(file)).expect("there is room for a file");
        }
        [_, command, input, output] if command == "cut" => cut(Path::new(input), Path::new(output)),
        _ => {
            let folder = tempfile::tempdir().expect("there is room for a folder");
            println!("| model | file, MB | seconds | peak, MB | peak ÷ file |");
            println!("| --- | ---: | ---: | ---: | ---: |");
            let sizes = SIZES.map(|size| size.to_string());
            let names = ["resnet50", "densenet121", "vit_b16"].into_iter().chain(sizes.iter().map(String::as_str));
            for name in names {
                row(name, folder.path());
            }
        }
    }
    ExitCode::SUCCESS
}

fn make(name: &str) -> Model {
    match name {
        "resnet50" => networks::resnet50(),
        "densenet121" => networks::densenet121(),
        "vit_b16" => networks::vit_b16(),
        megabytes => networks::transformer(megabytes.parse::<usize>().expect("megabytes") * 1_000_000),
    }
}

/// Makes the file in one process and cuts it in another, the least of three: what made it leaves its memory behind.
fn row(name: &str, folder: &Path) {
    let (input, output) = (folder.join("model.onnx"), folder.join("cut.onnx"));
    let run = |arguments: [&std::ffi::OsStr; 3]| {
        let program = std::env::current_exe().expect("a program has a path");
        let ended = Command::new(program).args(arguments).output().expect("the program starts");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8_lossy(&ended.stdout).into_owned()
    };
    run(["make".as_ref(), name.as_ref(), input.as_ref()]);
    let runs = (0..3).map(|_| {
        let told = run(["cut".as_ref(), input.as_ref(), output.as_ref()]);
        let (seconds, peak) = told.trim().split_once(' ').expect("two figures");
        (seconds.parse::<f64>().expect("seconds"), peak.parse::<f64>().expect("megabytes"))
    });
    let (seconds, peak) = runs.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).expect("three runs");
    let file = fs::metadata(&input).expect("the file is there").len() as f64 / 1e6;
    println!("| {name} | {file:.0} | {seconds:.3} | {peak:.0} | {:.2} |", peak / file);
}

/// Cuts a file to half of its multiply-accumulates and tells seconds and megabytes.
fn cut(input: &Path, output: &Path) {
    static DONE: AtomicBool = AtomicBool::new(false);
    static PEAK_KB: AtomicU64 = AtomicU64::new(0);
    let watch = std::thread::spawn(|| {
        while !DONE.load(Ordering::Relaxed) {
            PEAK_KB.fetch_max(anonymous_kb(), Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let start = Instant::now();
    let request = PruneRequest { target: Some(Target::MacsKept(0.5)), ..PruneRequest::default() };
    let spec = request.parse().expect("the defaults are sound");
    let model = Model::load(input, &ModelLimits::default()).expect("the model was just written");
    let (cut, _) = cut_without_certificate(&model, &spec).expect("the model can be cut");
    cut.save(output).expect("there is room for a file");
    let seconds = start.elapsed().as_secs_f64();
    DONE.store(true, Ordering::Relaxed);
    watch.join().expect("the watch does not fail");
    println!("{seconds} {}", PEAK_KB.load(Ordering::Relaxed) as f64 * 1024.0 / 1e6);
}

fn anonymous_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
