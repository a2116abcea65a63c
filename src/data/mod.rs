//! Labelled datasets: `.npz` arrays and `.zip` archives of class folders of images, as batches of a model's inputs.
//!
//! [`inspect`] looks at everything once, within limits, and says what is there; [`Dataset::open`] trusts nothing that it
//! has not read either, but reads samples only when they are asked for. A [`Reader`] binds a dataset to one model's
//! inputs. What is done with batches, training or scoring, is not known here.

mod archive;
mod augment;
mod calibration;
mod convert;
mod dataset;
mod error;
mod image_folder;
mod normalize;
mod npy;
mod npz;
mod order;
mod prefetch;
mod reader;
mod resample;
mod spill;
#[cfg(test)]
pub(crate) mod test_files;
#[cfg(test)]
mod tests;

pub use augment::Augmentation;
pub use calibration::{Calibration, Samples};
pub use dataset::{Dataset, inspect};
pub use error::DataError;
pub use npz::{NamedArray, read_arrays};
pub use order::{Split, shuffled, split};
pub use prefetch::prefetched;
pub use reader::{Batch, Reader};
