//! Attention as one operator: heads go as a whole, and with grouped queries a group of them with its key and value head.
//!
//! Positions within heads stay: their number sets the scale of the scores where none is given, and kernels want whole
//! multiples of it.

use super::super::factor::FactorId;
use super::super::site::{Refusal, Ruling, Site};
use super::Rule;
use crate::onnx::shape::Dim;

pub const RULES: &[(&str, Rule)] = &[("Attention", standard), ("RotaryEmbedding", rotary)];

/// Of the domain `com.microsoft`.
pub const FUSED: &[(&str, Rule)] = &[
    ("Attention", packed),
    ("GroupQueryAttention", grouped_query),
    ("MultiHeadAttention", multi_head),
    ("RotaryEmbedding", rotary),
];

const CACHE: &str = "it keeps keys and values from run to run";
const LENGTH: &str = "attention runs over the tokens";
const POSITION: &str = "the number of positions within a head sets the scale of attention";

/// Heads of keys and values, and how many query heads share each.
struct Heads {
    shared: FactorId,
    group: FactorId,
}

impl Heads {
    fn new(site: &mut Site<'_, '_>, queries: i64, keys: i64) -> Result<Self, Refusal> {
        if keys <= 0 || queries % keys != 0 {
            return Err(format!("{queries} query heads do not share {keys} key heads").into());
        }
        let heads = Self { shared: site.part(Dim::known(keys)), group: site.part(Dim::known(queries / keys)) };
        site.freeze(heads.group, "query heads that share a key head go together");
        Ok(heads)
    }

    /// An axis of query heads, or of query heads × positions.
    fn queries(&self, site: &mut Site<'_, '_>, axis: FactorId, position: Option<FactorId>) {
        let parts: Vec<FactorId> = [Some(self.shared), Some(self.group), position].into_iter().flatten().collect();
        site.regroup(&[axis], &parts);
    }

    /// An axis of key or value heads, or of those × positions.
    fn keys(&self, site: &mut Site<'_, '_>, axis: FactorId, position: Option<FactorId>) {
        let parts: Vec<FactorId> = [Some(self.shared), position].into_iter().flatten().collect();
        site.regroup(&[axis], &parts);
    }

    /// An attribute that counts the query heads.
    fn counted_by(&self, site: &mut Site<'_, '_>, attribute: &'static str) {
        let size = site.size(self.shared).mul(site.size(self.group));
        let all = site.part(size);
        site.regroup(&[all], &[self.shared, self.group]);
        site.counted_by(attribute, all);
    }
}

/// The positions within a head of an axis that holds so many heads; they stay.
fn position(site: &mut Site<'_, '_>, axis: FactorId, heads: i64) -> Result<FactorId, Refusal> {
    let size = site.size(axis).div_exact(&Dim::known(heads)).ok_or("its hidden size does not divide into the heads")?;
    let position = site.part(size);
    site.freeze(position, POSITION);
    Ok(position)
}

fn heads_in(site: &Site<'_, '_>, attribute: &str) -> Result<i64, Refusal> {
    site.node().int(attribute).filter(|heads| *heads > 0).ok_or_else(|| format!("`{attribute}` is missing").into())
}

/// Past keys and values, and what is handed on of them, have the heads as well; caches are no part of pruning.
fn without_cache(site: &Site<'_, '_>, slots: &[usize]) -> Ruling {
    if site.further_outputs(1) || slots.iter().any(|slot| site.has_input(*slot)) {
        return Err(CACHE.into());
    }
    Ok(())
}

/// A mask of two to four axes `[…, heads, length, total]`, each of which may be broadcast.
fn mask(site: &mut Site<'_, '_>, slot: usize, heads: &Heads) -> Ruling {
    if site.has_input(slot) {
        let mask = site.input(slot)?;
        if let Some(at) = mask.len().checked_sub(3)
            && !site.size(mask[at]).is(1)
        {
            heads.queries(site, mask[at], None);
        }
    }
    Ok(())
}

/// `ai.onnx` Attention: `[n, length, heads · size]` with the heads in attributes, or `[n, heads, length, size]`.
fn standard(site: &mut Site<'_, '_>) -> Ruling {
    without_cache(site, &[4, 5])?;
    let (q, k, v, y) = (site.input(0)?, site.input(1)?, site.input(2)?, site.output(0)?);
    if q.len() < 3 || [&k, &v, &y].iter().any(|axes| axes.len() != q.len()) {
        return Err("its query, key and value have too few axes, or not as many as each other".into());
    }
    site.same(q[0], y[0]);
    let length = q.len() - 2;
    site.freeze_all(&[q[length], k[length], v[length]], LENGTH);
    let heads = match q.len() {
        3 => {
            let (queries, keys) = (heads_in(site, "q_num_heads")?, heads_in(site, "kv_num_heads")?);
            let heads = Heads::new(site, queries, keys)?;
            let (of_key, of_value) = (position(site, k[2], keys)?, position(site, v[2], keys)?);
            heads.queries(site, q[2], Some(of_key));
            heads.keys(site, k[2], Some(of_key));
            heads.keys(site, v[2], Some(of_value));
            heads.queries(site, y[2], Some(of_value));
            site.counted_by("kv_num_heads", heads.shared);
            heads.counted_by(site, "q_num_heads");
            site.same(q[1], y[1]);
            heads
        }
        4 => {
            let count = |axis| site.size(axis).as_known().ok_or("the number of heads is not known");
            let (queries, keys) = (count(q[1])?, count(k[1])?);
            let heads = Heads::new(site, queries, keys)?;
            heads.queries(site, q[1], None);
            heads.keys(site, k[1], None);
            heads.keys(site, v[1], None);
            heads.queries(site, y[1], None);
            site.freeze_all(&[q[3], k[3], v[3], y[3]], POSITION);
            site.same(q[2], y[2]);
            heads
        }
        _ => return Err("its inputs have neither 3 nor 4 axes".into()),
    };
    mask(site, 3, &heads)
}

/// `x [n, length, c]`, packed weights `[c, 3 · heads · size]`, bias, an attention bias at slot 5; `y [n, length, heads · size]`.
fn packed(site: &mut Site<'_, '_>) -> Ruling {
    without_cache(site, &[4])?;
    if site.node().find_attribute("qkv_hidden_sizes").is_some() {
        return Err("its query, key and value differ in size".into());
    }
    let (x, w, y) = (site.input(0)?, site.input(1)?, site.output(0)?);
    if x.len() != 3 || w.len() != 2 || y.len() != 3 {
        return Err("its input, weight or output has another rank than 3, 2 and 3".into());
    }
    let count = heads_in(site, "num_heads")?;
    let heads = Heads::new(site, count, count)?;
    let position = position(site, y[2], count)?;
    site.all_same(&x[..2], &y[..2]);
    site.freeze(x[1], LENGTH);
    site.same(x[2], w[0]);
    heads.queries(site, y[2], Some(position));
    let parts = site.part(Dim::known(3));
    site.freeze(parts, "each index of this part is query, key or value");
    site.regroup(&[w[1]], &[parts, y[2]]);
    if site.has_input(2) {
        let bias = site.input(2)?;
        site.regroup(&bias, &[parts, y[2]]);
    }
    site.counted_by("num_heads", heads.shared);
    mask(site, 5, &heads)
}

/// `query`, `key`, `value` `[n, length, heads · size]`, an attention bias at slot 5.
fn multi_head(site: &mut Site<'_, '_>) -> Ruling {
    without_cache(site, &[3, 6, 7])?;
    let (q, k, v, y) = (site.input(0)?, site.input(1)?, site.input(2)?, site.output(0)?);
    if [&q, &k, &v, &y].iter().any(|axes| axes.len() != 3) {
        return Err("its query, key or value is packed".into());
    }
    let count = heads_in(site, "num_heads")?;
    let heads = Heads::new(site, count, count)?;
    let (of_key, of_value) = (position(site, k[2], count)?, position(site, v[2], count)?);
    site.all_same(&q[..2], &y[..2]);
    site.freeze_all(&[q[1], k[1], v[1]], LENGTH);
    heads.queries(site, q[2], Some(of_key));
    heads.keys(site, k[2], Some(of_key));
    heads.keys(site, v[2], Some(of_value));
    heads.queries(site, y[2], Some(of_value));
    site.counted_by("num_heads", heads.shared);
    mask(site, 5, &heads)
}

/// The same with fewer heads of keys and values than of queries. What it hands on of those has their heads.
fn grouped_query(site: &mut Site<'_, '_>) -> Ruling {
    if site.has_input(3) || site.has_input(4) {
        return Err(CACHE.into());
    }
    let (q, k, v, y) = (site.input(0)?, site.input(1)?, site.input(2)?, site.output(0)?);
    let (queries, keys) = (heads_in(site, "num_heads")?, heads_in(site, "kv_num_heads")?);
    let heads = Heads::new(site, queries, keys)?;
    let position = position(site, k[2], keys)?;
    site.all_same(&q[..2], &y[..2]);
    site.freeze_all(&[q[1], k[1], v[1]], LENGTH);
    heads.queries(site, q[2], Some(position));
    heads.keys(site, k[2], Some(position));
    heads.keys(site, v[2], Some(position));
    heads.queries(site, y[2], Some(position));
    for slot in [1, 2] {
        if site.node().output.get(slot).is_some_and(|name| !name.is_empty()) {
            let kept = site.output(slot)?;
            let [_, of_heads, _, of_position] = kept[..] else { return Err(CACHE.into()) };
            heads.keys(site, of_heads, None);
            site.same(of_position, position);
        }
    }
    site.counted_by("kv_num_heads", heads.shared);
    heads.counted_by(site, "num_heads");
    Ok(())
}

/// Pairs of positions within each head are rotated: heads pass, positions stay.
fn rotary(site: &mut Site<'_, '_>) -> Ruling {
    let (x, y) = (site.input(0)?, site.output(0)?);
    site.all_same(&x, &y);
    let stays = "pairs of positions within a head are rotated";
    match (x.as_slice(), site.node().int("num_heads").unwrap_or(0)) {
        ([_, _, _, size], _) => site.freeze(*size, stays),
        ([_, _, hidden], heads) if heads > 0 => {
            let size = site.size(*hidden).div_exact(&Dim::known(heads)).ok_or("the heads do not divide its input")?;
            let (heads, position) = (site.part(Dim::known(heads)), site.part(size));
            site.regroup(&[*hidden], &[heads, position]);
            site.freeze(position, stays);
            site.counted_by("num_heads", heads);
        }
        ([.., hidden], _) => site.freeze(*hidden, stays),
        _ => {}
    }
    Ok(())
}
