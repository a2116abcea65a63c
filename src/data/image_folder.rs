//! `.zip` archives of class folders of images.
//!
//! Classes are the folders' names, sorted bytewise; one folder around them all is ignored. Samples are in the order of
//! classes, then of file names, whatever the order in the archive. Images are decoded to 8 bits a channel (alpha is
//! dropped, orientation tags are not obeyed), converted to the wanted channels (grey with Pillow's weights), cut, and
//! resized as Pillow does. Decoded samples are kept while all of them fit into [`KEPT_BYTES`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::OnceLock;

use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader};

use super::DataError;
use super::archive::{Archive, Budget, Entry};
use super::resample::{self, Pixels};
use crate::spec::attempt::DatasetLimits;
use crate::spec::preprocess::{Channels, Crop, Layout, Preprocess};

/// Memory for decoded samples; a dataset that takes more is decoded again for each batch.
const KEPT_BYTES: usize = 256 << 20;
/// Bytes a pixel that an encoded file may take, beside [`HEADER_BYTES`]: twice those of an uncompressed one.
const FILE_BYTES_PER_PIXEL: u64 = 8;
/// Room for metadata in an image file.
const HEADER_BYTES: u64 = 4 << 20;

/// An archive's images with what becomes of them.
#[derive(Debug)]
pub(super) struct ImageFolder {
    archive: Archive,
    entries: Vec<Entry>,
    pub(super) labels: Vec<i64>,
    pub(super) class_names: Vec<String>,
    /// Files that are no part of the dataset.
    pub(super) skipped: Vec<String>,
    preprocess: Preprocess,
    size: [usize; 2],
    pixels: u64,
    kept: Option<Vec<OnceLock<Box<[u8]>>>>,
}

impl ImageFolder {
    /// Sorts the archive's files into classes.
    ///
    /// Errors: images that lie elsewhere than in a class folder; a preprocessing without a size.
    pub(super) fn new(
        archive: Archive,
        entries: Vec<Entry>,
        preprocess: Option<&Preprocess>,
        limits: &DatasetLimits,
    ) -> Result<Self, DataError> {
        let missing = |reason: &str| DataError::Preprocess { field: "size", reason: reason.into() };
        let preprocess = preprocess.ok_or_else(|| missing("is missing: images need a `preprocess` with a `size`"))?;
        if let Some((field, reason)) = preprocess.defect() {
            return Err(DataError::Preprocess { field, reason });
        }
        let [height, width] = preprocess.size.ok_or_else(|| missing("is missing: images need [height, width]"))?;
        let size = [height as usize, width as usize];
        let sorted = sort(entries)?;
        let mut folder = Self {
            archive,
            labels: sorted.samples.iter().map(|(label, _)| *label).collect(),
            entries: sorted.samples.into_iter().map(|(_, entry)| entry).collect(),
            class_names: sorted.class_names,
            skipped: sorted.skipped,
            preprocess: preprocess.clone(),
            size,
            pixels: limits.image_pixels,
            kept: None,
        };
        for (field, values) in [("mean", &preprocess.mean), ("std", &preprocess.std)] {
            if values.len() > 1 && values.len() != folder.channels() {
                let reason = format!("has {} values for {} channels", values.len(), folder.channels());
                return Err(DataError::Preprocess { field, reason });
            }
        }
        let total = folder.sample_shape().iter().product::<usize>().checked_mul(folder.entries.len());
        if total.is_some_and(|bytes| bytes <= KEPT_BYTES) {
            folder.kept = Some((0..folder.entries.len()).map(|_| OnceLock::new()).collect());
        }
        Ok(folder)
    }

    /// Shape of a sample in the wanted layout.
    pub(super) fn sample_shape(&self) -> [usize; 3] {
        let [height, width] = self.size;
        match self.preprocess.layout {
            Layout::Nchw => [self.channels(), height, width],
            Layout::Nhwc => [height, width, self.channels()],
        }
    }

    fn channels(&self) -> usize {
        if self.preprocess.channels == Channels::Gray { 1 } else { 3 }
    }

    /// Unpacks every file and reads its header, within the limits.
    pub(super) fn verify(&mut self, budget: &mut Budget) -> Result<(), DataError> {
        let most = self.file_bytes();
        for entry in &self.entries {
            let bytes = self.archive.read(entry, most, budget)?;
            decoder(entry, &bytes, self.pixels)?;
        }
        Ok(())
    }

    fn file_bytes(&self) -> u64 {
        self.pixels.saturating_mul(FILE_BYTES_PER_PIXEL).saturating_add(HEADER_BYTES)
    }

    /// The bytes of a sample in the wanted layout.
    pub(super) fn sample(&self, index: usize) -> Result<Cow<'_, [u8]>, DataError> {
        let Some(place) = self.kept.as_ref().map(|kept| &kept[index]) else {
            return Ok(Cow::Owned(self.decode(index)?));
        };
        if place.get().is_none() {
            // Two threads may decode the same image; the first one's is kept, and both are the same.
            let _ = place.set(self.decode(index)?.into_boxed_slice());
        }
        Ok(Cow::Borrowed(place.get().map_or(&[], |bytes| bytes)))
    }

    fn decode(&self, index: usize) -> Result<Vec<u8>, DataError> {
        let entry = &self.entries[index];
        let most = self.file_bytes();
        let bytes = self.archive.clone().read(entry, most, &mut Budget::new(most))?;
        let image = DynamicImage::from_decoder(decoder(entry, &bytes, self.pixels)?)
            .map_err(|error| DataError::entry(&entry.name, format!("cannot be decoded: {error}")))?;
        let [height, width] = self.size;
        let mut pixels = in_channels(image, self.preprocess.channels);
        if self.preprocess.crop == Crop::Center {
            pixels = resample::crop_to_aspect(pixels, height, width);
        }
        let pixels = resample::resize(pixels, height, width, self.preprocess.resize);
        Ok(match self.preprocess.layout {
            Layout::Nhwc => pixels.bytes,
            Layout::Nchw => planar(&pixels),
        })
    }
}

/// A decoder whose header is read and within the limits.
fn decoder<'b>(entry: &Entry, bytes: &'b [u8], pixels: u64) -> Result<impl image::ImageDecoder + 'b, DataError> {
    let wrong = |reason: String| DataError::entry(&entry.name, reason);
    let format = image::guess_format(bytes).ok().filter(|f| matches!(f, ImageFormat::Jpeg | ImageFormat::Png));
    let format = format.ok_or_else(|| wrong("is neither a JPEG nor a PNG image".into()))?;
    let side = u32::try_from(pixels).unwrap_or(u32::MAX);
    let mut limits = image::Limits::no_limits();
    limits.max_image_width = Some(side);
    limits.max_image_height = Some(side);
    // Decoders need several copies of the pixels, of up to 8 bytes each.
    limits.max_alloc = Some(pixels.saturating_mul(32).saturating_add(HEADER_BYTES));
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| wrong(format!("has no sound image header: {error}")))?;
    let (width, height) = decoder.dimensions();
    match u64::from(width) * u64::from(height) {
        0 => Err(wrong("is an image without pixels".into())),
        count if count > pixels => Err(DataError::Limit {
            entry: entry.name.clone(),
            reason: format!("is an image of {width} × {height} pixels"),
            limit: pixels,
        }),
        _ => Ok(decoder),
    }
}

fn in_channels(image: DynamicImage, channels: Channels) -> Pixels {
    let (height, width) = (image.height() as usize, image.width() as usize);
    let gray = matches!(
        image,
        DynamicImage::ImageLuma8(_)
            | DynamicImage::ImageLumaA8(_)
            | DynamicImage::ImageLuma16(_)
            | DynamicImage::ImageLumaA16(_)
    );
    let (channels, bytes) = match channels {
        Channels::Gray if gray => (1, image.into_luma8().into_raw()),
        Channels::Gray => (1, image.into_rgb8().as_raw().as_chunks::<3>().0.iter().map(|pixel| luma(*pixel)).collect()),
        Channels::Rgb => (3, image.into_rgb8().into_raw()),
        Channels::Bgr => {
            let mut bytes = image.into_rgb8().into_raw();
            bytes.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| pixel.reverse());
            (3, bytes)
        }
    };
    Pixels { height, width, channels, bytes }
}

/// Pillow's grey: the weights of ITU-R BT.601 in 16 bits.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    ((u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471 + 0x8000) >> 16) as u8
}

fn planar(pixels: &Pixels) -> Vec<u8> {
    (0..pixels.channels)
        .flat_map(|channel| pixels.bytes.iter().skip(channel).step_by(pixels.channels).copied())
        .collect()
}

/// An archive's files by class.
struct Sorted {
    class_names: Vec<String>,
    samples: Vec<(i64, Entry)>,
    skipped: Vec<String>,
}

fn sort(entries: Vec<Entry>) -> Result<Sorted, DataError> {
    let (images, others): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| is_image(&entry.name));
    let skipped = others.into_iter().map(|entry| entry.name).collect();
    let Some(first) = images.first() else {
        let reason = "the archive holds neither .npy arrays nor .jpg, .jpeg or .png images".into();
        return Err(DataError::NotADataset { reason });
    };
    // A folder around everything is the one that every image lies in, at least one folder deeper.
    let top = first.name.split('/').next().unwrap_or_default().to_owned() + "/";
    let wrapped = images.iter().all(|entry| entry.name.strip_prefix(&top).is_some_and(|rest| rest.contains('/')));
    let mut classes: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in images {
        let path = if wrapped { &entry.name[top.len()..] } else { &entry.name };
        let class = match path.split_once('/') {
            Some((class, file)) if !file.contains('/') => class.to_owned(),
            Some(_) => {
                let reason =
                    "lies deeper than in a class folder; the layout is class/image, with one folder around it at most";
                return Err(DataError::entry(&entry.name, reason));
            }
            None => return Err(DataError::entry(&entry.name, "is an image outside of any class folder")),
        };
        classes.entry(class).or_default().push(entry);
    }
    let mut sorted = Sorted { class_names: Vec::new(), samples: Vec::new(), skipped };
    for (label, (class, mut entries)) in classes.into_iter().enumerate() {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        sorted.class_names.push(class);
        sorted.samples.extend(entries.into_iter().map(|entry| (label as i64, entry)));
    }
    Ok(sorted)
}

/// Whether a file counts as an image: by its ending, and not one of those that file managers leave behind.
fn is_image(name: &str) -> bool {
    let hidden = name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX");
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    !hidden && matches!(ending.as_deref(), Some("jpg" | "jpeg" | "png"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grey_has_the_weights_of_pillow() {
        // Image.new("RGB", (1, 1), c).convert("L").getpixel((0, 0))
        for (pixel, grey) in [([255, 0, 0], 76), ([0, 255, 0], 150), ([0, 0, 255], 29), ([10, 200, 77], 129)] {
            assert_eq!(luma(pixel), grey);
        }
    }

    #[test]
    fn what_file_managers_leave_behind_is_no_image() {
        for name in ["__MACOSX/cat/._1.jpg", "cat/.DS_Store", "cat/._1.png", "Thumbs.db", "cat/readme.txt", "cat/jpg"] {
            assert!(!is_image(name), "{name}");
        }
        assert!(is_image("cat/1.JPG") && is_image("a/b/2.jpeg") && is_image("3.png"));
    }
}
