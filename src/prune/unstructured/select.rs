//! Which single weights become zero. Knows only numbers: higher stays, ties are broken by position, the first goes.

use std::collections::BTreeMap;

use crate::spec::prune::NOfM;

/// Marks at least the given share of the weights, those of the lowest keys.
pub fn lowest(keys: &[f64], share: f64) -> Vec<bool> {
    let wanted = ((share * keys.len() as f64 - 1e-6).ceil().max(0.0) as usize).min(keys.len());
    let mut order: Vec<usize> = (0..keys.len()).collect();
    if wanted > 0 && wanted < keys.len() {
        order.select_nth_unstable_by(wanted - 1, |a, b| keys[*a].total_cmp(&keys[*b]).then(a.cmp(b)));
    }
    let mut goes = vec![false; keys.len()];
    order[..wanted].iter().for_each(|at| goes[*at] = true);
    goes
}

/// Marks at least the given share of the weights of each output, those of the lowest keys.
pub fn lowest_of_each(keys: &[f64], outputs: &[usize], share: f64) -> Vec<bool> {
    let mut of_output: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, output) in outputs.iter().enumerate() {
        of_output.entry(*output).or_default().push(at);
    }
    let mut goes = vec![false; keys.len()];
    for places in of_output.values() {
        let own: Vec<f64> = places.iter().map(|at| keys[*at]).collect();
        places.iter().zip(lowest(&own, share)).for_each(|(at, gone)| goes[*at] = gone);
    }
    goes
}

/// Marks all but the `n` highest of each run of `m` along an axis of a row-major tensor, whose size is a multiple of `m`.
pub fn pattern(keys: &[f64], shape: &[usize], axis: usize, pattern: NOfM) -> Vec<bool> {
    let (m, gone) = (pattern.run(), pattern.run() - pattern.kept());
    let (size, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let mut goes = vec![false; keys.len()];
    let mut run = Vec::with_capacity(m);
    for slice in (0..keys.len()).step_by(inner.max(1) * size.max(1)) {
        for first in (0..size).step_by(m) {
            for lane in 0..inner {
                run.clear();
                run.extend((first..first + m).map(|at| slice + at * inner + lane));
                run.sort_by(|a, b| keys[*a].total_cmp(&keys[*b]));
                run[..gone].iter().for_each(|at| goes[*at] = true);
            }
        }
    }
    goes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_broken_by_position_and_a_share_is_rounded_up() {
        assert_eq!(lowest(&[1.0, 1.0, 1.0], 0.4), [true, true, false]);
        assert_eq!(lowest(&[2.0, 1.0], 0.0), [false, false]);
        assert_eq!(lowest(&[], 0.5), Vec::<bool>::new());
    }

    #[test]
    fn each_output_gives_its_share() {
        let keys = [5.0, 6.0, 7.0, 8.0, 1.0, 2.0];
        assert_eq!(lowest_of_each(&keys, &[0, 0, 0, 0, 1, 1], 0.5), [true, true, false, false, true, false]);
        assert_eq!(lowest_of_each(&keys, &[0, 1, 0, 1, 0, 1], 0.5), [true, true, false, false, true, true]);
    }

    #[test]
    fn runs_lie_along_their_axis() {
        let one_of_two = NOfM::try_from("1:2".to_owned()).unwrap();
        let keys = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(pattern(&keys, &[2, 2], 1, one_of_two), [false, true, false, true]);
        assert_eq!(pattern(&keys, &[2, 2], 0, one_of_two), [false, true, true, false]);
        assert_eq!(pattern(&[1.0, 1.0], &[2], 0, one_of_two), [true, false]);
    }
}
