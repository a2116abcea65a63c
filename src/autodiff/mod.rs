//! Reverse-mode differentiation as a graph transformation: a model and a loss become one training graph.
