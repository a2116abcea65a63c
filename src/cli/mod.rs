//! The command line: `serve`, `worker`, `migrate`, `openapi`.
