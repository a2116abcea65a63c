//! What a model costs: MACs, parameters, bytes.
