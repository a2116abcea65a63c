//! A dataset file: what is in it, and its samples one by one.

use std::borrow::Cow;
use std::path::Path;

use super::DataError;
use super::archive::{Archive, Budget};
use super::image_folder::ImageFolder;
use super::npy::numpy_name;
use super::npz::{self, NamedArray};
use crate::onnx::dtype::DataType;
use crate::spec::attempt::DatasetLimits;
use crate::spec::preprocess::Preprocess;
use crate::spec::summary::{ArraySummary, DatasetFormat, DatasetSummary};

/// Files of an image archive that are no part of the dataset and still named one by one.
const NAMED_FILES: usize = 5;

/// A dataset whose samples can be read in any order, from several threads.
#[derive(Debug)]
pub struct Dataset {
    arrays: Vec<Array>,
    labels: Option<Vec<i64>>,
    class_names: Vec<String>,
    preprocess: Option<Preprocess>,
    samples: usize,
}

/// One array over all samples.
#[derive(Debug)]
pub(super) struct Array {
    pub(super) name: String,
    pub(super) dtype: DataType,
    pub(super) sample_shape: Vec<usize>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Packed(NamedArray),
    Images(Box<ImageFolder>),
}

impl Array {
    fn packed(array: NamedArray) -> Self {
        Self {
            name: array.name.clone(),
            dtype: array.tensor.dtype,
            sample_shape: array.tensor.shape[1..].to_vec(),
            source: Source::Packed(array),
        }
    }

    /// The elements of one sample. `index` is below the number of samples.
    pub(super) fn sample(&self, index: usize) -> Result<Cow<'_, [u8]>, DataError> {
        match &self.source {
            Source::Packed(array) => {
                let bytes = self.dtype.bits() / 8 * self.sample_shape.iter().product::<usize>();
                Ok(Cow::Borrowed(&array.tensor.data[index * bytes..(index + 1) * bytes]))
            }
            Source::Images(folder) => folder.sample(index),
        }
    }
}

impl Dataset {
    /// Opens a dataset file with the preprocessing that its samples are to go through.
    ///
    /// Errors: what is wrong with the file, as far as it is read here: the directory of the archive, headers, labels.
    pub fn open(path: &Path, preprocess: Option<&Preprocess>, limits: &DatasetLimits) -> Result<Self, DataError> {
        if let Some((field, reason)) = preprocess.and_then(Preprocess::defect) {
            return Err(DataError::Preprocess { field, reason });
        }
        let (mut archive, entries) = Archive::open(path, limits)?;
        if npz::is_npz(&entries) {
            return Self::of_arrays(npz::read(&mut archive, &entries, limits)?, preprocess);
        }
        let mut folder = ImageFolder::new(archive, entries, preprocess, limits)?;
        let labels = std::mem::take(&mut folder.labels);
        Ok(Self {
            samples: labels.len(),
            labels: Some(labels),
            class_names: std::mem::take(&mut folder.class_names),
            preprocess: preprocess.cloned(),
            arrays: vec![Array {
                name: "image".into(),
                dtype: DataType::Uint8,
                sample_shape: folder.sample_shape().to_vec(),
                source: Source::Images(Box::new(folder)),
            }],
        })
    }

    fn of_arrays(mut arrays: Vec<NamedArray>, preprocess: Option<&Preprocess>) -> Result<Self, DataError> {
        let names: Vec<&str> = arrays.iter().map(|array| array.name.as_str()).collect();
        let labels = match labels_name(&names) {
            Some(found) => {
                let array = arrays.remove(found);
                Some((array.name.clone(), npz::labels(&array.name, &array.tensor)?))
            }
            None => None,
        };
        let shapes = arrays.iter().map(|array| (array.name.as_str(), array.tensor.shape.as_slice()));
        let samples = common_samples(shapes, labels.as_ref().map(|(name, labels)| (name.as_str(), labels.len())))?;
        Ok(Self {
            arrays: arrays.into_iter().map(Array::packed).collect(),
            labels: labels.map(|(_, labels)| labels),
            class_names: Vec::new(),
            preprocess: preprocess.cloned(),
            samples,
        })
    }

    /// Samples that are in memory already, without labels, whatever the arrays are called.
    ///
    /// Errors: arrays that do not have as many samples as each other.
    pub fn of_samples(arrays: Vec<NamedArray>) -> Result<Self, DataError> {
        let shapes = arrays.iter().map(|array| (array.name.as_str(), array.tensor.shape.as_slice()));
        let samples = common_samples(shapes, None)?;
        let arrays = arrays.into_iter().map(Array::packed).collect();
        Ok(Self { arrays, labels: None, class_names: Vec::new(), preprocess: None, samples })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples
    }

    /// Whether there is no sample; no dataset that could be opened is empty.
    pub fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// The class of each sample, where the dataset has labels.
    pub fn labels(&self) -> Option<&[i64]> {
        self.labels.as_deref()
    }

    /// Number of classes that the dataset knows: folders of an image set, 1 + the largest label of an npz.
    pub fn classes(&self) -> Option<usize> {
        let labels = self.labels.as_ref()?;
        match self.class_names.len() {
            0 => labels.iter().max().map(|label| *label as usize + 1),
            named => Some(named),
        }
    }

    /// Names of the classes in label order; empty where the dataset names none.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    pub(super) fn arrays(&self) -> &[Array] {
        &self.arrays
    }

    pub(super) fn preprocess(&self) -> Option<&Preprocess> {
        self.preprocess.as_ref()
    }
}

/// Looks at everything in a dataset file: every array's bytes, every label, every image's header.
///
/// Errors: the first thing that is wrong, with the entry.
pub fn inspect(
    path: &Path,
    preprocess: Option<&Preprocess>,
    limits: &DatasetLimits,
) -> Result<DatasetSummary, DataError> {
    if let Some((field, reason)) = preprocess.and_then(Preprocess::defect) {
        return Err(DataError::Preprocess { field, reason });
    }
    let (mut archive, entries) = Archive::open(path, limits)?;
    let mut budget = Budget::new(limits.unpacked_bytes);
    if !npz::is_npz(&entries) {
        let mut folder = ImageFolder::new(archive, entries, preprocess, limits)?;
        folder.verify(&mut budget)?;
        return Ok(DatasetSummary {
            format: DatasetFormat::ImageFolder,
            samples: folder.labels.len() as u64,
            arrays: vec![summary("image", DataType::Uint8, &folder.sample_shape())],
            classes: Some(folder.class_names.len() as u64),
            notes: notes_on(&folder.skipped),
            class_names: folder.class_names,
            preprocess: preprocess.cloned(),
        });
    }
    let names = entries.iter().map(npz::named).collect::<Result<Vec<_>, _>>()?;
    let labels_at = labels_name(&names);
    let (mut shapes, mut arrays, mut labels) = (Vec::new(), Vec::new(), None);
    for (index, entry) in entries.iter().enumerate() {
        let header = npz::verify(&mut archive, entry, &mut budget)?;
        if Some(index) == labels_at {
            // Unpacked a second time, now to be kept: the first pass has counted it.
            let loaded = npz::read(&mut archive, std::slice::from_ref(entry), limits)?.swap_remove(0);
            labels = Some((loaded.name.clone(), npz::labels(&loaded.name, &loaded.tensor)?));
        } else {
            shapes.push((names[index], header.dtype, header.shape));
        }
    }
    let all = shapes.iter().map(|(name, _, shape)| (*name, shape.as_slice()));
    let samples = common_samples(all, labels.as_ref().map(|(name, labels)| (name.as_str(), labels.len())))?;
    arrays.extend(shapes.iter().map(|(name, dtype, shape)| summary(name, *dtype, &shape[1..])));
    let largest = labels.and_then(|(_, labels)| labels.into_iter().max());
    Ok(DatasetSummary {
        format: DatasetFormat::Npz,
        samples: samples as u64,
        arrays,
        classes: largest.map(|label| label as u64 + 1),
        class_names: Vec::new(),
        preprocess: preprocess.cloned(),
        notes: Vec::new(),
    })
}

fn summary(name: &str, dtype: DataType, sample_shape: &[usize]) -> ArraySummary {
    ArraySummary {
        name: name.to_owned(),
        dtype: numpy_name(dtype).to_owned(),
        sample_shape: sample_shape.iter().map(|size| *size as u64).collect(),
    }
}

/// The position of the labels among arrays: `labels`, else `y`.
fn labels_name(names: &[&str]) -> Option<usize> {
    ["labels", "y"].iter().find_map(|wanted| names.iter().position(|name| name == wanted))
}

/// The number of samples that all arrays agree on.
fn common_samples<'n>(
    shapes: impl Iterator<Item = (&'n str, &'n [usize])>,
    labels: Option<(&'n str, usize)>,
) -> Result<usize, DataError> {
    let mut first: Option<(&str, usize)> = labels;
    let mut arrays = 0;
    for (name, shape) in shapes {
        arrays += 1;
        let entry = format!("{name}.npy");
        let Some(samples) = shape.first().copied() else {
            return Err(DataError::entry(&entry, "is a single number; its first axis should be that of the samples"));
        };
        match first {
            Some((other, expected)) if expected != samples => {
                let reason = format!("has {samples} samples along its first axis, but `{other}` has {expected}");
                return Err(DataError::entry(&entry, reason));
            }
            _ => first = Some((name, samples)),
        }
    }
    match first {
        _ if arrays == 0 => Err(DataError::NotADataset { reason: "it holds labels, but nothing else".into() }),
        Some((_, samples)) => Ok(samples),
        None => Err(DataError::NotADataset { reason: "it holds no arrays".into() }),
    }
}

fn notes_on(skipped: &[String]) -> Vec<String> {
    if skipped.is_empty() {
        return Vec::new();
    }
    let named: Vec<String> = skipped.iter().take(NAMED_FILES).map(|name| format!("`{name}`")).collect();
    let more = if skipped.len() > named.len() { ", …" } else { "" };
    let files = if skipped.len() == 1 { "file" } else { "files" };
    vec![format!("{} {files} of the archive are not part of the dataset: {}{more}", skipped.len(), named.join(", "))]
}
