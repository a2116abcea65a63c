//! Trained numbers on their way back into the model they came from.
//!
//! Nothing but elements changes: names, shapes, element types, operator sets and every node stay as they were.

use std::collections::HashMap;

use crate::onnx::model::Model;
use crate::onnx::proto::TensorProto;
use crate::onnx::tensor::{Tensor, TensorError};

/// Why a tensor could not be written back.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` cannot be written back: {reason}")]
pub struct ExportError {
    pub name: String,
    pub reason: TensorError,
}

/// The model with new elements in the named constants, be they initializers or `Constant` nodes. Elements are rounded where
/// the model keeps them in a narrower type.
pub fn with_elements(model: &Model, elements: &HashMap<&str, &[f32]>) -> Result<Model, ExportError> {
    let mut model = model.clone();
    let graph = model.graph_proto_mut();
    for tensor in &mut graph.initializer {
        replace(tensor, None, elements)?;
    }
    for node in &mut graph.node {
        if node.is("Constant") {
            let name = node.output.first().cloned();
            for attribute in &mut node.attribute {
                if let Some(tensor) = &mut attribute.t {
                    replace(tensor, name.as_deref(), elements)?;
                }
            }
        }
    }
    Ok(model)
}

fn replace(proto: &mut TensorProto, name: Option<&str>, elements: &HashMap<&str, &[f32]>) -> Result<(), ExportError> {
    let name = name.unwrap_or(proto.name());
    let Some(values) = elements.get(name) else { return Ok(()) };
    let new = Tensor::from_proto(proto)
        .and_then(|tensor| tensor.with_f32(&tensor.shape, values))
        .map_err(|reason| ExportError { name: name.to_owned(), reason })?;
    proto.raw_data = Some(new.data);
    proto.float_data.clear();
    proto.double_data.clear();
    proto.int32_data.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::builder::GraphBuilder;
    use crate::onnx::dtype::DataType;

    #[test]
    fn only_the_named_elements_change() {
        let mut b = GraphBuilder::new("export");
        let x = b.input("x", DataType::Float, &[2.into()]);
        let w = b.initializer("w", &Tensor::from_f32(&[2], &[1.0, 2.0]));
        let y = b.node("Mul", &[&x, &w], &[]);
        b.output(&y, DataType::Float, &[2.into()]);
        let mut model = b.build(17);
        // As older exporters store it.
        let tensor = &mut model.graph_proto_mut().initializer[0];
        tensor.raw_data = None;
        tensor.float_data = vec![1.0, 2.0];
        let changed = with_elements(&model, &HashMap::from([("w", &[3.0, 4.0][..])])).unwrap();
        let tensor = Tensor::from_proto(&changed.graph_proto().initializer[0]).unwrap();
        assert_eq!(tensor, Tensor::from_f32(&[2], &[3.0, 4.0]));
        let mut back = changed.clone();
        back.graph_proto_mut().initializer = model.graph_proto().initializer.clone();
        assert_eq!(back, model);
    }
}
