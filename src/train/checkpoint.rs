//! Checkpoints: a training between two steps, as one file.
//!
//! When they are due and where they are kept is decided outside ([`Checkpoints`]). Randomness needs no place in them: it
//! is drawn anew from the seed, the epoch and the sample.
//!
//! Layout: magic, length of the header, header (JSON), then all floating-point numbers bit by bit, little-endian. The
//! header has the SHA-256 of what follows it.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::state::{Numbers, Running, State};
use crate::spec::report::EpochReport;

/// Name of the file in a checkpoint's directory.
const FILE: &str = "training.state";
/// First bytes of the file; the digit is the version of the layout.
const MAGIC: &[u8; 8] = b"SECTRN1\n";
/// Headers are a few kilobytes; a longer one is a damaged file.
const LARGEST_HEADER: u64 = 1 << 24;

/// Where checkpoints come from and go to.
pub trait Checkpoints {
    /// Directory of the checkpoint to go on from.
    fn load(&self) -> Option<PathBuf>;

    /// Whether the next step should be preceded by a checkpoint.
    fn due(&self) -> bool;

    /// Makes an empty directory, has `write` fill it, and announces it once all is on the disk.
    fn save(&mut self, write: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()>;
}

/// Keeps nothing: for trainings that are started anew where they stop.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCheckpoints;

impl Checkpoints for NoCheckpoints {
    fn load(&self) -> Option<PathBuf> {
        None
    }

    fn due(&self) -> bool {
        false
    }

    fn save(&mut self, _: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
        Ok(())
    }
}

/// What must be the same for a training to go on as if it had never stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// SHA-256 over spec, model and labels: a checkpoint of another training is not used.
    pub training: String,
    /// Rounding depends on these. A training that goes on elsewhere goes on, and says so.
    pub code_path: String,
    pub threads: u32,
    pub library: String,
    pub cpu: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    identity: Identity,
    epoch: u64,
    step_in_epoch: u64,
    step: u64,
    correct: u64,
    samples: u64,
    weights: usize,
    statistics: usize,
    best_epoch: Option<u32>,
    epochs: usize,
    sha256: String,
}

/// Figures of an epoch that are kept as bits: a number must not change on its way through text.
const FIGURES: usize = 5;

/// Writes a state into a checkpoint's directory.
pub fn write(directory: &Path, identity: &Identity, state: &State) -> io::Result<()> {
    let mut payload: Vec<u8> = Vec::new();
    for figures in &state.history {
        let missing = f64::NAN;
        let row: [f64; FIGURES] = [
            figures.learning_rate,
            figures.training_loss,
            figures.training_accuracy,
            figures.validation_loss.unwrap_or(missing),
            figures.validation_accuracy.unwrap_or(missing),
        ];
        payload.extend(row.iter().flat_map(|figure| figure.to_le_bytes()));
    }
    payload.extend(state.running.loss.to_le_bytes());
    let best = state.best.as_ref().map(|(_, numbers)| numbers);
    let buffers = [Some(&state.now.weights), Some(&state.now.statistics), Some(&state.velocity)];
    let best = [best.map(|numbers| &numbers.weights), best.map(|numbers| &numbers.statistics)];
    for buffer in buffers.into_iter().chain(best).flatten() {
        payload.extend(buffer.iter().flat_map(|number| number.to_le_bytes()));
    }
    let header = Header {
        identity: identity.clone(),
        epoch: state.epoch,
        step_in_epoch: state.step_in_epoch,
        step: state.step,
        correct: state.running.correct,
        samples: state.running.samples,
        weights: state.now.weights.len(),
        statistics: state.now.statistics.len(),
        best_epoch: state.best.as_ref().map(|(epoch, _)| *epoch),
        epochs: state.history.len(),
        sha256: hex::encode(Sha256::digest(&payload)),
    };
    let header = serde_json::to_vec(&header)?;
    let mut file = fs::File::create(directory.join(FILE))?;
    file.write_all(MAGIC)?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    file.write_all(&payload)?;
    file.sync_all()
}

/// Reads a checkpoint's directory.
///
/// Errors: what the file system says; `InvalidData` for a file that is damaged.
pub fn read(directory: &Path) -> io::Result<(Identity, State)> {
    let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("the checkpoint {what}"));
    let mut file = fs::File::open(directory.join(FILE))?;
    let (mut magic, mut length) = ([0; 8], [0; 8]);
    file.read_exact(&mut magic)?;
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if &magic != MAGIC || length > LARGEST_HEADER {
        return Err(damaged("is no checkpoint of this version"));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header)?;
    let header: Header = serde_json::from_slice(&header)?;
    let mut payload = Vec::new();
    file.read_to_end(&mut payload)?;
    if hex::encode(Sha256::digest(&payload)) != header.sha256 {
        return Err(damaged("is damaged: its bytes do not match their checksum"));
    }
    let mut rest = payload.as_slice();
    let mut doubles = |count: usize| -> io::Result<Vec<f64>> {
        let bytes = rest.split_off(..count * 8).ok_or_else(|| damaged("is too short"))?;
        Ok(bytes.as_chunks::<8>().0.iter().map(|word| f64::from_le_bytes(*word)).collect())
    };
    let figures = doubles(header.epochs * FIGURES)?;
    let loss = doubles(1)?[0];
    let mut floats = |count: usize| -> io::Result<Vec<f32>> {
        let bytes = rest.split_off(..count * 4).ok_or_else(|| damaged("is too short"))?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect())
    };
    let now = Numbers { weights: floats(header.weights)?, statistics: floats(header.statistics)? };
    let velocity = floats(header.weights)?;
    let best = match header.best_epoch {
        Some(epoch) => {
            Some((epoch, Numbers { weights: floats(header.weights)?, statistics: floats(header.statistics)? }))
        }
        None => None,
    };
    let history = (figures.as_chunks::<FIGURES>().0.iter().zip(1..))
        .map(|(row, epoch)| EpochReport {
            epoch,
            learning_rate: row[0],
            training_loss: row[1],
            training_accuracy: row[2],
            validation_loss: Some(row[3]).filter(|figure| !figure.is_nan()),
            validation_accuracy: Some(row[4]).filter(|figure| !figure.is_nan()),
        })
        .collect();
    let state = State {
        now,
        velocity,
        epoch: header.epoch,
        step_in_epoch: header.step_in_epoch,
        step: header.step,
        running: Running { loss, correct: header.correct, samples: header.samples },
        history,
        best,
    };
    Ok((header.identity, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let mut state = State::new(Numbers { weights: vec![1.0, -0.0, f32::MIN_POSITIVE], statistics: vec![0.1] });
        state.velocity = vec![0.3, 1e-40, -7.0];
        state.end_epoch(EpochReport {
            epoch: 1,
            learning_rate: 0.1,
            training_loss: 1.0 / 3.0,
            training_accuracy: 0.7,
            validation_loss: Some(0.2),
            validation_accuracy: Some(0.9),
        });
        state.running = Running { loss: 0.1 + 0.2, correct: 3, samples: 4 };
        state.step = 17;
        state.step_in_epoch = 5;
        state
    }

    fn identity() -> Identity {
        let text = |text: &str| text.to_owned();
        Identity { training: text("t"), code_path: text("standard"), threads: 2, library: text("1"), cpu: text("c") }
    }

    #[test]
    fn what_is_read_is_what_was_written_bit_by_bit() {
        let folder = tempfile::tempdir().unwrap();
        for best in [true, false] {
            let mut state = state();
            if !best {
                state.best = None;
                state.history[0].validation_accuracy = None;
                state.history[0].validation_loss = None;
            }
            write(folder.path(), &identity(), &state).unwrap();
            assert_eq!(read(folder.path()).unwrap(), (identity(), state));
        }
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &identity(), &state()).unwrap();
        let file = folder.path().join(FILE);
        let sound = fs::read(&file).unwrap();
        for cut in [0, 7, 12, 40, sound.len() - 1] {
            fs::write(&file, &sound[..cut]).unwrap();
            assert!(read(folder.path()).is_err(), "cut to {cut}");
        }
        let mut flipped = sound.clone();
        *flipped.last_mut().unwrap() ^= 1;
        fs::write(&file, &flipped).unwrap();
        assert!(read(folder.path()).is_err());
    }
}
