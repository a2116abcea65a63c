//! Running a graph: ONNX Runtime and tract behind one small trait.
