//! The ONNX model: protobuf messages, graph views, tensors, shapes, patches, the builder and the safety pre-scan.
