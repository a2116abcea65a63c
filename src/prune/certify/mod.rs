//! Proof that a cut model computes what it should.

/// Whether a reduction over an axis that loses indices has a masked form.
pub fn is_maskable_reduction(op_type: &str) -> bool {
    matches!(op_type, "ReduceL1" | "ReduceL2" | "ReduceMax" | "ReduceMean" | "ReduceMin" | "ReduceSum" | "ReduceSumSquare")
}
