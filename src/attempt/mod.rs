//! The limited child process and its launcher.
