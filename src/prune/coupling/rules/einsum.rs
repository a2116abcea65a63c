//! Products by an equation: axes of one letter are the same.

use std::collections::HashMap;

use super::super::factor::FactorId;
use super::super::site::{Ruling, Site};
use super::Rule;

pub const RULES: &[(&str, Rule)] = &[("Einsum", einsum)];

/// `"bhid,bhjd->bhij"`: letters that the result does not have are summed over.
fn einsum(site: &mut Site<'_, '_>) -> Ruling {
    let equation: String = site.node().text("equation").unwrap_or_default().split_whitespace().collect();
    let (operands, result) = equation.split_once("->").ok_or("its equation does not say what comes out")?;
    if equation.contains('.') {
        return Err("its equation leaves axes open".into());
    }
    let mut letters: HashMap<char, FactorId> = HashMap::new();
    let terms: Vec<(&str, Vec<FactorId>)> = operands
        .split(',')
        .enumerate()
        .map(|(slot, term)| Ok((term, site.input(slot)?)))
        .chain([site.output(0).map(|axes| (result, axes))])
        .collect::<Result<_, super::super::site::Refusal>>()?;
    for (term, axes) in terms {
        if term.chars().count() != axes.len() {
            return Err(format!("its term `{term}` does not fit an operand of {} axes", axes.len()).into());
        }
        for (at, (letter, axis)) in term.chars().zip(axes).enumerate() {
            if term.chars().take(at).any(|other| other == letter) {
                return Err(format!("its term `{term}` takes a diagonal").into());
            }
            match letters.get(&letter) {
                Some(known) => site.same(*known, axis),
                None => drop(letters.insert(letter, axis)),
            }
        }
    }
    Ok(())
}
