//! Every block that graphs are composed of: one list.

use rand::RngExt as _;

use super::maker::{Maker, Value};
use super::{
    attention, bodies, elementwise, fused, images, norms, picking, planes, positions, quantized, rows, sequences,
    shapes,
};

/// Adds a block behind a value; nothing where it does not suit the value or the operator set.
pub type Block = fn(&mut Maker<'_>, &Value) -> Option<Value>;

/// Blocks of a kind, each with how often it is tried beside the others.
pub type Blocks = &'static [(u32, Block)];

const MENU: &[Blocks] = &[
    attention::BLOCKS,
    bodies::BLOCKS,
    elementwise::BLOCKS,
    fused::BLOCKS,
    images::BLOCKS,
    norms::BLOCKS,
    picking::BLOCKS,
    planes::BLOCKS,
    positions::BLOCKS,
    quantized::BLOCKS,
    rows::BLOCKS,
    sequences::BLOCKS,
    shapes::BLOCKS,
];

impl Maker<'_> {
    /// Another block behind a value.
    pub fn block(&mut self, value: &Value) -> Value {
        let all: u32 = MENU.iter().copied().flatten().map(|(weight, _)| weight).sum();
        loop {
            let mut drawn = self.rng.random_range(0..all);
            for (weight, block) in MENU.iter().copied().flatten() {
                if let Some(rest) = drawn.checked_sub(*weight) {
                    drawn = rest;
                } else {
                    if let Some(next) = block(self, value) {
                        return next;
                    }
                    break;
                }
            }
        }
    }
}
