//! Quality metrics and latency.
