//! The window that convolutions and pools move over their input, in numbers.

use super::NoGradient;
use crate::onnx::proto::NodeProto;

/// Geometry of a window along each spatial axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    /// Spatial size of the input.
    pub input: Vec<usize>,
    /// Spatial size of the output.
    pub output: Vec<usize>,
    /// Zeros before the input.
    pub before: Vec<i64>,
    /// Zeros after the input so that it ends where the last window ends; negative where the last elements of the input
    /// are in no window.
    pub after: Vec<i64>,
}

impl Window {
    /// Reads the attributes of a node with the given kernel, spatial input size and spatial output size.
    pub fn new(node: &NodeProto, kernel: &[usize], input: &[usize], output: &[usize]) -> Result<Self, NoGradient> {
        let axes = kernel.len();
        if axes == 0 || input.len() != axes || output.len() != axes {
            return Err(NoGradient(format!("moves a window of {axes} axes over {} axes", input.len())));
        }
        let list = |name: &str| -> Result<Vec<usize>, NoGradient> {
            match node.ints(name) {
                None | Some([]) => Ok(vec![1; axes]),
                Some(values) if values.len() == axes && values.iter().all(|v| *v >= 1) => {
                    Ok(values.iter().map(|v| *v as usize).collect())
                }
                Some(values) => Err(NoGradient(format!("has the {name} {values:?}"))),
            }
        };
        let strides = list("strides")?;
        let dilations = list("dilations")?;
        let mut window = Self {
            kernel: kernel.to_vec(),
            strides,
            dilations,
            input: input.to_vec(),
            output: output.to_vec(),
            before: vec![0; axes],
            after: vec![0; axes],
        };
        for (axis, size) in input.iter().map(|size| *size as i64).enumerate() {
            let covered = window.covered(axis) as i64;
            let total = (covered - size).max(0);
            window.before[axis] = match node.text("auto_pad").unwrap_or("NOTSET") {
                "SAME_UPPER" => total / 2,
                "SAME_LOWER" => total - total / 2,
                "VALID" => 0,
                _ => node.ints("pads").and_then(|pads| pads.get(axis)).copied().unwrap_or(0),
            };
            window.after[axis] = covered - size - window.before[axis];
        }
        Ok(window)
    }

    /// Number of spatial axes.
    pub fn axes(&self) -> usize {
        self.kernel.len()
    }

    /// Number of positions in the kernel.
    pub fn kernel_len(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Number of positions of the output.
    pub fn output_len(&self) -> usize {
        self.output.iter().product()
    }

    /// Elements of the padded input from the first of the first window to the last of the last.
    pub fn covered(&self, axis: usize) -> usize {
        (self.output[axis].max(1) - 1) * self.strides[axis] + self.span(axis) + 1
    }

    /// Distance from the first to the last element of one window.
    pub fn span(&self, axis: usize) -> usize {
        self.dilations[axis] * (self.kernel[axis] - 1)
    }

    /// Every position in the kernel, row-major.
    pub fn offsets(&self) -> Vec<Vec<usize>> {
        let mut offsets = vec![Vec::new()];
        for size in &self.kernel {
            offsets = offsets
                .iter()
                .flat_map(|head: &Vec<usize>| (0..*size).map(move |at| [head.as_slice(), &[at]].concat()))
                .collect();
        }
        offsets
    }
}
