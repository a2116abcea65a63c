//! Trained numbers on their way back into the model they came from.
//!
//! Nothing but elements changes: names, shapes, element types, operator sets and every node stay as they were.

use std::collections::HashMap;

use crate::onnx::model::Model;
use crate::onnx::proto::TensorProto;
use crate::onnx::tensor::{Tensor, TensorError};

/// Why trained numbers could not be written back.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("`{name}` cannot be written back: {reason}")]
    Tensor { name: String, reason: TensorError },
    /// Nothing that was trained may be lost.
    #[error("`{name}` cannot be written back: the model has no constant of this name")]
    Missing { name: String },
}

/// The model with new elements in the named constants, be they initializers or `Constant` nodes. Elements are rounded where
/// the model keeps them in a narrower type. Every name must be one of a constant.
pub fn with_elements(model: &Model, elements: &HashMap<&str, &[f32]>) -> Result<Model, ExportError> {
    let mut model = model.clone();
    let mut missing: HashMap<&str, &[f32]> = elements.clone();
    let graph = model.graph_proto_mut();
    for tensor in &mut graph.initializer {
        if let Some((name, values)) = missing.remove_entry(tensor.name()) {
            replace(tensor, name, values)?;
        }
    }
    for node in graph.node.iter_mut().filter(|node| node.is("Constant")) {
        let Some((name, values)) = node.output.first().and_then(|name| missing.remove_entry(name.as_str())) else {
            continue;
        };
        for attribute in &mut node.attribute {
            match attribute.name() {
                "value_floats" => attribute.floats = values.to_vec(),
                "value_float" => attribute.f = values.first().copied(),
                _ => {
                    if let Some(tensor) = &mut attribute.t {
                        replace(tensor, name, values)?;
                    }
                }
            }
        }
    }
    match missing.into_keys().min() {
        Some(name) => Err(ExportError::Missing { name: name.to_owned() }),
        None => Ok(model),
    }
}

fn replace(proto: &mut TensorProto, name: &str, values: &[f32]) -> Result<(), ExportError> {
    let new = Tensor::from_proto(proto)
        .and_then(|tensor| tensor.with_f32(&tensor.shape, values))
        .map_err(|reason| ExportError::Tensor { name: name.to_owned(), reason })?;
    proto.raw_data = Some(new.data);
    proto.float_data.clear();
    proto.double_data.clear();
    proto.int32_data.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::attribute::Attribute;
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

    #[test]
    fn numbers_in_an_attribute_are_written_back_and_an_unknown_name_is_an_error() {
        let mut b = GraphBuilder::new("attribute");
        let x = b.input("x", DataType::Float, &[2.into()]);
        let bias = b.node("Constant", &[], &[("value_floats", Attribute::Floats(vec![1.0, 2.0]))]);
        let y = b.node("Add", &[&x, &bias], &[]);
        b.output(&y, DataType::Float, &[2.into()]);
        let model = b.build(17);
        let changed = with_elements(&model, &HashMap::from([(bias.as_str(), &[3.0, 4.0][..])])).unwrap();
        assert_eq!(changed.graph().constant(&bias).unwrap().unwrap(), Tensor::from_f32(&[2], &[3.0, 4.0]));
        let lost = with_elements(&model, &HashMap::from([("nowhere", &[1.0][..])]));
        assert!(matches!(lost, Err(ExportError::Missing { .. })), "{lost:?}");
    }
}
