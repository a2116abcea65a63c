//! Resizing of 8-bit images, bit for bit as Pillow does it: the filter is widened where an image shrinks, weights are
//! rounded to 22 bits, rows are resampled before columns, and each pass is rounded to 8 bits.

use crate::spec::preprocess::Resize;

/// Bits behind the point of a weight.
const PRECISION: u32 = 22;

/// Pixels of an image, channels side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pixels {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    pub(super) bytes: Vec<u8>,
}

/// The image in another size; the same image where the size is the same.
pub(super) fn resize(image: Pixels, height: usize, width: usize, method: Resize) -> Pixels {
    match method {
        _ if (image.height, image.width) == (height, width) => image,
        Resize::Nearest => nearest(&image, height, width),
        Resize::Bilinear | Resize::Bicubic => {
            let wide = if image.width == width { image } else { across(&image, &weights(image.width, width, method)) };
            if wide.height == height { wide } else { down(&wide, &weights(wide.height, height, method)) }
        }
    }
}

/// The largest centred rectangle of the proportions `height : width`.
pub(super) fn crop_to_aspect(image: Pixels, height: usize, width: usize) -> Pixels {
    let rounded = |a: usize, b: usize, c: usize| ((a * b + c / 2) / c).max(1);
    let (tall, wide) = match (image.width * height).cmp(&(image.height * width)) {
        std::cmp::Ordering::Equal => return image,
        std::cmp::Ordering::Greater => (image.height, rounded(image.height, width, height).min(image.width)),
        std::cmp::Ordering::Less => (rounded(image.width, height, width).min(image.height), image.width),
    };
    let (top, left) = ((image.height - tall) / 2, (image.width - wide) / 2);
    let mut bytes = Vec::with_capacity(tall * wide * image.channels);
    for row in top..top + tall {
        let start = (row * image.width + left) * image.channels;
        bytes.extend_from_slice(&image.bytes[start..start + wide * image.channels]);
    }
    Pixels { height: tall, width: wide, channels: image.channels, bytes }
}

fn nearest(image: &Pixels, height: usize, width: usize) -> Pixels {
    let source = |to: usize, from: usize, target: usize| {
        (((to as f64 + 0.5) * from as f64 / target as f64) as usize).min(from - 1)
    };
    let columns: Vec<usize> = (0..width).map(|x| source(x, image.width, width)).collect();
    let mut bytes = Vec::with_capacity(height * width * image.channels);
    for y in 0..height {
        let row = source(y, image.height, height) * image.width;
        for x in &columns {
            let start = (row + x) * image.channels;
            bytes.extend_from_slice(&image.bytes[start..start + image.channels]);
        }
    }
    Pixels { height, width, channels: image.channels, bytes }
}

/// What one pixel is made of: the first pixel of the source and the weights from there.
struct Window {
    first: usize,
    weights: Vec<i32>,
}

fn weights(from: usize, to: usize, method: Resize) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let support = stretch * if method == Resize::Bicubic { 2.0 } else { 1.0 };
    (0..to)
        .map(|pixel| {
            let centre = (pixel as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let last = ((centre + support + 0.5) as usize).min(from);
            let raw: Vec<f64> =
                (first..last).map(|x| kernel((x as f64 - centre + 0.5) * (1.0 / stretch), method)).collect();
            let total: f64 = raw.iter().sum();
            let fixed = |weight: &f64| {
                let scaled = weight / total * f64::from(1_u32 << PRECISION);
                (scaled + 0.5_f64.copysign(scaled)) as i32
            };
            Window { first, weights: raw.iter().map(fixed).collect() }
        })
        .collect()
}

fn kernel(x: f64, method: Resize) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    match method {
        Resize::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        Resize::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        Resize::Bicubic => 0.0,
        _ => (1.0 - x).max(0.0),
    }
}

fn blend(weights: &[i32], source: impl Iterator<Item = u8>) -> u8 {
    let sum = source.zip(weights).fold(1_i32 << (PRECISION - 1), |sum, (byte, weight)| sum + i32::from(byte) * weight);
    (sum >> PRECISION).clamp(0, 255) as u8
}

fn across(image: &Pixels, windows: &[Window]) -> Pixels {
    let channels = image.channels;
    let mut bytes = Vec::with_capacity(image.height * windows.len() * channels);
    for row in image.bytes.chunks_exact(image.width * channels) {
        for window in windows {
            for channel in 0..channels {
                let source = row[window.first * channels + channel..].iter().step_by(channels).copied();
                bytes.push(blend(&window.weights, source));
            }
        }
    }
    Pixels { height: image.height, width: windows.len(), channels, bytes }
}

fn down(image: &Pixels, windows: &[Window]) -> Pixels {
    let row = image.width * image.channels;
    let mut bytes = Vec::with_capacity(windows.len() * row);
    for window in windows {
        for column in 0..row {
            let source = image.bytes[window.first * row + column..].iter().step_by(row).copied();
            bytes.push(blend(&window.weights, source));
        }
    }
    Pixels { height: windows.len(), width: image.width, channels: image.channels, bytes }
}
