//! Settling the relations that move indices: on which factor of an axis an offset acts.
//!
//! `to[at + i] = from[source(i)]` over axes that are products acts on the outermost factors when what lies inside them
//! is the same on both sides and the offsets are whole multiples of it. Splitting one axis may split others, so that all
//! picks are visited until nothing changes.

use super::factor::FactorId;
use super::relations::{Pick, Relations, Sources};

/// A pick between leaf factors. A side without a leaf has one index only, which is the whole part.
#[derive(Clone, Debug)]
pub struct LeafPick {
    pub from: Option<FactorId>,
    pub to: Option<FactorId>,
    pub sources: Sources,
    pub at: usize,
    pub operator: String,
}

/// Splits axes until every pick acts on outermost factors; picks that cannot are frozen and left out.
pub fn settle(relations: &mut Relations<'_>) -> Vec<LeafPick> {
    let mut picks = std::mem::take(&mut relations.picks);
    loop {
        let before = relations.factors.changes();
        picks.retain(|pick| match fit(relations, pick) {
            Ok(_) => true,
            Err(reason) => {
                relations.freeze(pick.from, Some(&pick.operator), &reason);
                relations.freeze(pick.to, Some(&pick.operator), &reason);
                false
            }
        });
        if relations.factors.changes() == before {
            break;
        }
    }
    let settled = picks.iter().filter_map(|pick| fit(relations, pick).ok()).collect();
    relations.picks = picks;
    settled
}

/// One visit: chooses what lies inside, splits both axes there and aligns the insides.
fn fit(relations: &mut Relations<'_>, pick: &Pick) -> Result<LeafPick, String> {
    let (inside_from, inside_to) = (inside(relations, pick.from)?, inside(relations, pick.to)?);
    let inside = if inside_from % inside_to == 0 {
        inside_from
    } else if inside_to % inside_from == 0 {
        inside_to
    } else {
        return Err(format!("parts with inner sizes {inside_from} and {inside_to} are joined"));
    };
    let Some(sources) = pick.sources.outside(inside).filter(|_| pick.at.is_multiple_of(inside)) else {
        return Err(format!("an offset lies within a factor of {inside}"));
    };
    let (from, rest_from) = outermost(relations, pick.from, inside)?;
    let (to, rest_to) = outermost(relations, pick.to, inside)?;
    relations.align(&rest_from, &rest_to, &pick.operator);
    Ok(LeafPick { from, to, sources, at: pick.at / inside, operator: pick.operator.clone() })
}

fn known(relations: &Relations<'_>, factor: FactorId) -> Result<usize, String> {
    let size = relations.factors.size(factor);
    size.as_known()
        .and_then(|size| usize::try_from(size).ok())
        .ok_or_else(|| format!("a part of size {size} is joined"))
}

/// The product of all leaves but the outermost.
fn inside(relations: &Relations<'_>, axis: FactorId) -> Result<usize, String> {
    let leaves = relations.factors.leaves(&[axis]);
    leaves.iter().skip(1).try_fold(1, |product, leaf| Ok(product * known(relations, *leaf)?))
}

/// The factor outside of `inside`, and the leaves that make `inside`. The first leaf is split where it reaches in.
fn outermost(
    relations: &mut Relations<'_>,
    axis: FactorId,
    inside: usize,
) -> Result<(Option<FactorId>, Vec<FactorId>), String> {
    let leaves = relations.factors.leaves(&[axis]);
    let Some((first, rest)) = leaves.split_first() else { return Ok((None, Vec::new())) };
    let rest_size = rest.iter().try_fold(1, |product, leaf| Ok::<_, String>(product * known(relations, *leaf)?))?;
    let first_size = known(relations, *first)?;
    if first_size * rest_size == inside {
        return Ok((None, leaves));
    }
    if rest_size == inside {
        return Ok((Some(*first), rest.to_vec()));
    }
    let reach = inside / rest_size;
    if !inside.is_multiple_of(rest_size) || !first_size.is_multiple_of(reach) {
        return Err(format!("a factor of {first_size} does not divide by {reach}"));
    }
    let (outer, inner) = relations.factors.split(*first, ((first_size / reach) as i64).into(), (reach as i64).into());
    Ok((Some(outer), [&[inner], rest].concat()))
}
