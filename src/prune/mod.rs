//! Structured and unstructured pruning: coupling, importance, allocation, surgery, certificate.
