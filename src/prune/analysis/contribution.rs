//! How large the weights of groups and channels are, beside each other.

use super::slices::Slices;
use crate::prune::coupling::Coupling;

/// Channels below this share of their group's root mean square are weak.
const WEAK: f64 = 0.1;

/// What the weights of a group say of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Contribution {
    /// Root mean square of the group's contracted weights ÷ the median over the groups. Range: ≥ 0; higher = keep. `None`
    /// where there is no such weight or one is not finite.
    pub relative: Option<f64>,
    pub weak_channels: u64,
}

/// By group. Root mean squares, so that wide layers do not win by number.
pub fn contributions(coupling: &Coupling, slices: &[Slices]) -> Vec<Contribution> {
    let indices = coupling.unit_of.len();
    let (mut squares, mut counts) = (vec![0.0; indices], vec![0_u64; indices]);
    for slices in slices.iter().filter(|slices| slices.contracted) {
        let first = coupling.leaves[slices.leaf as usize].first;
        for (offset, sum) in slices.squares.iter().enumerate() {
            squares[first + offset] += sum;
            counts[first + offset] += slices.each;
        }
    }
    let mut weak = Vec::new();
    let groups: Vec<Option<f64>> = coupling
        .groups
        .iter()
        .map(|group| {
            let units: Vec<(f64, u64)> = group
                .units
                .clone()
                .map(|unit| {
                    coupling.units[unit].indices.iter().fold((0.0, 0), |(sum, count), (leaf, offset)| {
                        let at = coupling.leaves[*leaf as usize].first + *offset as usize;
                        (sum + squares[at], count + counts[at])
                    })
                })
                .collect();
            let (sum, count) = units.iter().fold((0.0, 0), |(sum, count), (s, c)| (sum + s, count + c));
            let mean = sum / count.max(1) as f64;
            weak.push(units.iter().filter(|(s, c)| *c > 0 && (s / *c as f64) < WEAK * WEAK * mean).count() as u64);
            (count > 0 && mean.is_finite()).then(|| mean.sqrt())
        })
        .collect();
    let median = median(groups.iter().copied().flatten().collect());
    let relative = |group: Option<f64>| group.zip(median).map(|(group, median)| group / median);
    groups
        .into_iter()
        .zip(weak)
        .map(|(group, weak_channels)| Contribution { relative: relative(group), weak_channels })
        .collect()
}

/// The middle of the numbers; `None` where there is none or it is 0.
pub fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let middle = *numbers.get(numbers.len() / 2)?;
    (middle > 0.0).then_some(middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_a_number_that_can_be_divided_by() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![0.0, 0.0]), None);
        assert_eq!(median(Vec::new()), None);
    }
}
