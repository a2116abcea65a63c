//! Rows and blobs: models, datasets, jobs as the API shows them, the object store and its collector.
