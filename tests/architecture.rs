//! Holds the layer table of `src/lib.rs`: a module imports only from rows with a smaller number, or from its own row
//! where it is the same module.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Row of each module, read from the table in `src/lib.rs`.
fn rows() -> BTreeMap<String, usize> {
    let source = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut rows = BTreeMap::new();
    for line in source.lines() {
        let cells: Vec<&str> = line.trim_start_matches("//!").split('|').map(str::trim).collect();
        let [_, row, modules, _] = cells.as_slice() else { continue };
        let Ok(row) = row.parse::<usize>() else { continue };
        for module in modules.split(',') {
            rows.insert(module.trim().trim_matches(['[', ']', '`']).to_owned(), row);
        }
    }
    rows
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The top-level modules that a source file names through `crate::`, with line numbers. Comments and test modules count
/// too: a doc link upwards is a sign of the same confusion, and tests of a layer live with the layer they need.
fn imports(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in source.lines().enumerate() {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            if let Some(group) = rest.strip_prefix('{') {
                let group = group.split('}').next().unwrap_or("");
                found
                    .extend(group.split(',').filter_map(|part| first_word(part.trim())).map(|word| (number + 1, word)));
            } else {
                found.extend(first_word(rest).map(|word| (number + 1, word)));
            }
        }
    }
    found
}

fn first_word(text: &str) -> Option<String> {
    let word: String = text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

#[test]
fn modules_import_only_from_rows_below() {
    let rows = rows();
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let relative = file.strip_prefix(root().join("src")).unwrap();
        let module =
            relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let Some(row) = rows.get(&module) else { continue };
        for (line, target) in imports(&fs::read_to_string(&file).unwrap()) {
            if let Some(target_row) = rows.get(&target)
                && target != module
                && target_row >= row
                && !(module == "onnx" && target == "spec")
            {
                wrong.push(format!(
                    "src/{}:{line}: `{module}` (row {row}) imports `{target}` (row {target_row}); see the table in src/lib.rs",
                    relative.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_stands_in_the_table() {
    let rows = rows();
    let source = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for line in source.lines() {
        if let Some(module) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) {
            assert!(rows.contains_key(module), "`{module}` has no row in the table of src/lib.rs");
        }
    }
}
