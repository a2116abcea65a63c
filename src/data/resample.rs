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

#[cfg(test)]
mod tests {
    use super::*;

    /// A grey image with the value `37 y² + 91 x + 13 x y` modulo 256 at (x, y).
    fn image() -> Pixels {
        let bytes = (0..5).flat_map(|y| (0..7).map(move |x| (37 * y * y + 91 * x + 13 * x * y) as u8)).collect();
        Pixels { height: 5, width: 7, channels: 1, bytes }
    }

    /// The expected pixels are those of Pillow's `Image.fromarray(image).resize((width, height), method)`.
    #[test]
    fn pixels_are_those_of_pillow() {
        let expected: [(Resize, usize, usize, &[u8]); 9] = [
            (Resize::Nearest, 4, 3, &[0, 182, 108, 34, 148, 126, 104, 82, 80, 110, 140, 170]),
            (
                Resize::Nearest,
                9,
                6,
                &[
                    0, 91, 91, 182, 17, 108, 199, 199, 34, 37, 141, 141, 245, 93, 197, 45, 45, 149, 148, 9, 9, 126,
                    243, 104, 221, 221, 82, 148, 9, 9, 126, 243, 104, 221, 221, 82, 77, 207, 207, 81, 211, 85, 215,
                    215, 89, 80, 223, 223, 110, 253, 140, 27, 27, 170,
                ],
            ),
            (
                Resize::Nearest,
                3,
                8,
                &[
                    91, 17, 199, 91, 17, 199, 141, 93, 45, 9, 243, 221, 9, 243, 221, 207, 211, 215, 223, 253, 27, 223,
                    253, 27,
                ],
            ),
            (Resize::Bilinear, 4, 3, &[66, 145, 116, 108, 98, 147, 155, 135, 139, 160, 148, 122]),
            (
                Resize::Bilinear,
                9,
                6,
                &[
                    0, 61, 131, 145, 17, 88, 159, 144, 34, 28, 95, 173, 195, 74, 153, 125, 96, 120, 102, 76, 114, 177,
                    180, 151, 146, 135, 110, 118, 100, 99, 134, 230, 126, 164, 174, 85, 78, 167, 157, 118, 222, 126,
                    137, 149, 109, 80, 175, 173, 142, 253, 165, 77, 75, 170,
                ],
            ),
            (
                Resize::Bilinear,
                3,
                8,
                &[
                    78, 92, 121, 99, 119, 118, 123, 154, 117, 97, 163, 136, 100, 163, 145, 131, 152, 142, 142, 166,
                    120, 148, 178, 102,
                ],
            ),
            (Resize::Bicubic, 4, 3, &[62, 149, 114, 108, 94, 150, 162, 134, 138, 165, 150, 119]),
            (
                Resize::Bicubic,
                9,
                6,
                &[
                    0, 53, 143, 156, 14, 79, 178, 155, 21, 16, 94, 199, 214, 66, 168, 119, 79, 131, 114, 60, 101, 191,
                    190, 155, 145, 134, 112, 130, 92, 75, 127, 239, 106, 178, 199, 68, 66, 185, 167, 101, 218, 115,
                    138, 158, 104, 73, 185, 177, 130, 255, 173, 56, 61, 180,
                ],
            ),
            (
                Resize::Bicubic,
                3,
                8,
                &[
                    72, 94, 118, 96, 124, 112, 122, 166, 111, 91, 171, 137, 94, 163, 150, 132, 148, 144, 145, 166, 118,
                    149, 181, 99,
                ],
            ),
        ];
        for (method, width, height, pixels) in expected {
            let resized = resize(image(), height, width, method);
            assert_eq!(resized.bytes, pixels, "{method:?} to {width} × {height}");
            let three = Pixels { channels: 3, bytes: image().bytes.iter().flat_map(|v| [*v; 3]).collect(), ..image() };
            let three = resize(three, height, width, method);
            assert_eq!(three.bytes, pixels.iter().flat_map(|v| [*v; 3]).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_image_of_the_right_size_is_left_alone() {
        for method in [Resize::Nearest, Resize::Bilinear, Resize::Bicubic] {
            assert_eq!(resize(image(), 5, 7, method), image());
        }
    }

    #[test]
    fn the_largest_centred_rectangle_is_cut() {
        let shape = |height, width| {
            let cut = crop_to_aspect(image(), height, width);
            (cut.height, cut.width, cut.bytes[0])
        };
        assert_eq!(shape(1, 1), (5, 5, image().bytes[1]));
        assert_eq!(shape(5, 7), (5, 7, image().bytes[0]));
        assert_eq!(shape(1, 7), (1, 7, image().bytes[14]));
        assert_eq!(shape(100, 1), (5, 1, image().bytes[3]));
    }
}
