//! How a session is set up.

/// Settings of a session. What an engine does not know it ignores: tract has one thread and always optimises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// Threads that work on one operator.
    pub threads: usize,
    /// How far the engine may rewrite the graph.
    pub optimization: Optimization,
    /// Constants larger than this many bytes are not computed ahead of time; bounds what a small file can grow to.
    pub folded_constant_bytes: u64,
}

/// How far an engine may rewrite a graph before it runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optimization {
    /// Runs the nodes as they stand: for training graphs, where rewriting costs time and gains none.
    Disabled,
    /// Removes what is redundant, keeps the operators.
    Basic,
    /// Everything, fused and layout-changing operators included: for inference.
    All,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { threads: 1, optimization: Optimization::All, folded_constant_bytes: 64 << 20 }
    }
}

impl SessionOptions {
    /// The defaults with a number of threads.
    pub fn with_threads(threads: usize) -> Self {
        Self { threads, ..Self::default() }
    }
}
