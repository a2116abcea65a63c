//! Making the scores of a group comparable with those of others.

use crate::spec::prune::Normalizer;

/// Divides the scores of a group by what the normaliser says; a group whose divisor is 0 or not finite stays as it is.
pub fn normalize(scores: &mut [f64], normalizer: Normalizer) {
    let count = scores.len().max(1) as f64;
    let sum = scores.iter().sum::<f64>();
    let mean = sum / count;
    let (offset, divisor) = match normalizer {
        Normalizer::None => return,
        Normalizer::Mean => (0.0, mean),
        Normalizer::Sum => (0.0, sum),
        Normalizer::Max => (0.0, scores.iter().copied().fold(0.0, f64::max)),
        Normalizer::Standardize => {
            let variance = scores.iter().map(|score| (score - mean) * (score - mean)).sum::<f64>() / count;
            (mean, variance.sqrt())
        }
    };
    if divisor > 0.0 && divisor.is_finite() {
        for score in scores {
            *score = (*score - offset) / divisor;
        }
    } else if offset.is_finite() {
        for score in scores {
            *score -= offset;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(normalizer: Normalizer, scores: &[f64]) -> Vec<f64> {
        let mut scores = scores.to_vec();
        normalize(&mut scores, normalizer);
        scores
    }

    #[test]
    fn each_normalizer_divides_by_what_its_name_says() {
        let scores = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_eq!(of(Normalizer::Mean, &scores)[..2], [0.4, 0.8]);
        assert_eq!(of(Normalizer::Sum, &scores)[..2], [0.05, 0.1]);
        assert_eq!(of(Normalizer::Max, &scores)[..2], [2.0 / 9.0, 4.0 / 9.0]);
        // The textbook's example: mean 5, standard deviation 2.
        assert_eq!(of(Normalizer::Standardize, &scores), [-1.5, -0.5, -0.5, -0.5, 0.0, 0.0, 1.0, 2.0]);
        assert_eq!(of(Normalizer::None, &scores), scores);
    }

    #[test]
    fn a_group_of_equal_or_no_scores_gets_no_nan() {
        for normalizer in Normalizer::ALL {
            for scores in [&[0.0, 0.0][..], &[3.0, 3.0], &[1.0], &[]] {
                assert!(of(normalizer, scores).iter().all(|score| score.is_finite()), "{normalizer:?} of {scores:?}");
            }
        }
        assert_eq!(of(Normalizer::Standardize, &[3.0, 3.0]), [0.0, 0.0]);
    }
}
