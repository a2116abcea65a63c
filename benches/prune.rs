//! Pruning file to file: read, couple, score, plan, cut, write. The certificate is apart.

use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use secateur::onnx::model::Model;
use secateur::prune::cut_without_certificate;
use secateur::spec::attempt::ModelLimits;
use secateur::spec::prune::{PruneRequest, Target};

mod networks;

fn file_to_file(input: &Path, output: &Path) {
    let request = PruneRequest { target: Some(Target::MacsKept(0.5)), ..PruneRequest::default() };
    let spec = request.parse().expect("the defaults are sound");
    let model = Model::load(input, &ModelLimits::default()).expect("the model was just written");
    let (cut, _) = cut_without_certificate(&model, &spec).expect("the model can be cut");
    cut.save(output).expect("the folder is there");
}

/// A network's name and what makes it.
type Made = (&'static str, fn() -> Model);

fn prune(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("there is room for a file");
    let mut group = c.benchmark_group("prune");
    group.sample_size(10);
    let models: [Made; 3] =
        [("resnet50", networks::resnet50), ("densenet121", networks::densenet121), ("vit_b16", networks::vit_b16)];
    for (name, make) in models {
        let (input, output) = (folder.path().join(name), folder.path().join("cut.onnx"));
        make().save(&input).expect("there is room for a file");
        group.bench_function(format!("{name}_file_to_file"), |b| b.iter(|| file_to_file(&input, &output)));
    }
    group.finish();
}

criterion_group!(benches, prune);
criterion_main!(benches);
