//! Datasets: npz and image folders, preprocessing, batching, splits.
