//! What the CIFAR networks in the folder of published models want of images, for the programs that feed them.

use serde::de::DeserializeOwned;
use serde_json::json;

/// The preprocessing that they were trained with, as a spec has it.
pub fn preprocess<T: DeserializeOwned>() -> T {
    let preprocess = json!({"size": [32, 32], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]});
    serde_json::from_value(preprocess).expect("a preprocessing")
}
