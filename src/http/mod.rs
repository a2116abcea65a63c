//! The HTTP API: router, one file a resource, errors, OpenAPI.
