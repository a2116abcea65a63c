//! What is read is written back: compared by a reader of wire fields that knows nothing of our structs.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message as _;
use secateur::onnx::prescan::scan;
use secateur::onnx::proto::ModelProto;
use secateur::onnx::schema::Kind;
use secateur::spec::attempt::ModelLimits;

use crate::{corpus, wire};

fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "onnx") {
            found.push(path);
        }
    }
}

fn survives(path: &Path) {
    let bytes = Bytes::from(std::fs::read(path).unwrap());
    scan(&bytes, &ModelLimits::default()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let model = ModelProto::decode(bytes.clone()).unwrap();
    let written = model.encode_to_vec();
    let same = wire::read(Kind::ModelProto, &bytes) == wire::read(Kind::ModelProto, &written);
    assert!(same, "{} is not written back as it was read", path.display());
}

#[test]
fn real_models_survive_a_round_trip() {
    for path in corpus::files() {
        survives(&path);
    }
}

/// `SECATEUR_ONNX_PIP` names the folder of models out of the `onnx` wheel, which use what real ones rarely do; `make test`
/// fetches them where there is a network.
#[test]
fn the_specifications_own_models_survive_a_round_trip() {
    let folder = std::env::var_os("SECATEUR_ONNX_PIP").map(PathBuf::from);
    let Some(folder) = folder.filter(|folder| folder.is_dir()) else {
        eprintln!(
            "skipped: SECATEUR_ONNX_PIP names no folder of models out of the onnx wheel (make test fetches them)"
        );
        return;
    };
    let mut found = Vec::new();
    below(&folder, &mut found);
    assert!(found.len() > 100, "only {} models under {}", found.len(), folder.display());
    for path in &found {
        survives(path);
    }
}

#[test]
fn a_lost_field_would_be_noticed() {
    let model = ModelProto { producer_name: Some("a".into()), model_version: Some(7), ..ModelProto::default() };
    let changed = ModelProto { model_version: None, ..model.clone() };
    let read = |model: &ModelProto| wire::read(Kind::ModelProto, &model.encode_to_vec());
    assert_ne!(read(&model), read(&changed));
}
