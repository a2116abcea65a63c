//! How stored samples become a model's input.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Steps from a stored sample to the model's input tensor, applied in the order of the fields.
///
/// Kept with a dataset and overridable per job. Image folders require it; integer arrays use `divide_by`, `mean` and
/// `std`; float arrays are taken as they are. Numbers are computed with in 32-bit floats and kept as they were written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Preprocess {
    /// Target `[height, width]` in pixels; images must be given one, arrays keep their size.
    pub size: Option<[u32; 2]>,
    /// Interpolation where the size changes.
    pub resize: Resize,
    /// What is cut before resizing.
    pub crop: Crop,
    /// Every value is divided by this first. > 0.
    pub divide_by: f64,
    /// Subtracted per channel after the division; empty or one value per channel.
    pub mean: Vec<f64>,
    /// Divided by per channel after the subtraction; empty or one value per channel, none 0.
    pub std: Vec<f64>,
    /// Order of the axes of the model's input.
    pub layout: Layout,
    /// Order and number of the colour channels.
    pub channels: Channels,
}

impl Default for Preprocess {
    fn default() -> Self {
        Self {
            size: None,
            resize: Resize::Bilinear,
            crop: Crop::None,
            divide_by: 255.0,
            mean: Vec::new(),
            std: Vec::new(),
            layout: Layout::Nchw,
            channels: Channels::Rgb,
        }
    }
}

/// Interpolation of a resize.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    Nearest,
    Bilinear,
    Bicubic,
}

/// What is cut from an image before it is resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Crop {
    /// Nothing: the whole image is resized, its aspect ratio may change.
    None,
    /// The largest centred rectangle of the target's aspect ratio.
    Center,
}

/// Axes of an image batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    Nchw,
    Nhwc,
}

/// Colour channels of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channels {
    Rgb,
    Bgr,
    Gray,
}

impl Preprocess {
    /// Says what is wrong with the numbers, with the field's name; `None` where all is well.
    #[must_use]
    pub fn defect(&self) -> Option<(&'static str, String)> {
        let divide_by = self.divide_by as f32;
        if !(divide_by.is_finite() && divide_by > 0.0) {
            return Some(("divide_by", format!("must be a positive number, is {}", self.divide_by)));
        }
        if let Some([height, width]) = self.size
            && (height == 0 || width == 0 || height > 16_384 || width > 16_384)
        {
            return Some(("size", format!("both sides must be 1 to 16384 pixels, are {height} and {width}")));
        }
        if self.mean.iter().any(|m| !(*m as f32).is_finite()) {
            return Some(("mean", "must hold finite numbers".into()));
        }
        if self.std.iter().any(|s| !(*s as f32).is_finite() || *s as f32 == 0.0) {
            return Some(("std", "must hold finite numbers other than 0".into()));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// 0.485 as a 32-bit float reads 0.48500001430511475 when it is written with all the digits of a 64-bit one.
    #[test]
    fn numbers_are_given_back_as_they_were_written() {
        let written = json!({"divide_by": 0.1, "mean": [0.485], "std": [0.229]});
        let preprocess: Preprocess = serde_json::from_value(written.clone()).unwrap();
        let kept = serde_json::to_value(&preprocess).unwrap();
        for field in ["divide_by", "mean", "std"] {
            assert_eq!(kept[field], written[field]);
        }
    }

    #[test]
    fn numbers_that_are_no_32_bit_floats_are_refused_by_name() {
        for (field, value) in [("divide_by", json!(1e-60)), ("mean", json!([1e60])), ("std", json!([1e-60]))] {
            let preprocess: Preprocess = serde_json::from_value(json!({ (field): value })).unwrap();
            assert_eq!(preprocess.defect().unwrap().0, field);
        }
    }
}
