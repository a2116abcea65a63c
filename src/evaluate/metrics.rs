//! Figures of a classifier from scores and labels.

use super::scores::{Meaning, Scores};
use crate::spec::report::{ClassQuality, Quality};

/// Probability that a class is taken to have at least, so that one wrong certainty does not make the mean loss infinite.
const SMALLEST_PROBABILITY: f64 = f32::MIN_POSITIVE as f64;

/// Classes up to which the report holds a confusion matrix: beyond, its square would be most of the report and more than
/// anybody reads.
pub(super) const LARGEST_MATRIX: usize = 200;

/// Sums over samples, from which the figures follow.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    k: usize,
    meaning: Meaning,
    loss: f64,
    among_best: u64,
    /// For each class: samples of it that were found, samples of it, samples taken for it.
    hits: Vec<u64>,
    support: Vec<u64>,
    predicted: Vec<u64>,
    /// Row = label, column = prediction; empty above [`LARGEST_MATRIX`] classes.
    confusion: Vec<Vec<u64>>,
    /// The class that each sample is taken for.
    pub(super) predictions: Vec<u32>,
}

impl Tally {
    /// For a number of classes; no more than all of them can be among the best.
    pub(super) fn new(classes: usize, top_k: u32, meaning: Meaning) -> Self {
        Self {
            k: (top_k as usize).min(classes),
            meaning,
            loss: 0.0,
            among_best: 0,
            hits: vec![0; classes],
            support: vec![0; classes],
            predicted: vec![0; classes],
            confusion: if classes <= LARGEST_MATRIX { vec![vec![0; classes]; classes] } else { Vec::new() },
            predictions: Vec::new(),
        }
    }

    /// Adds samples. Labels are below the number of classes.
    pub(super) fn add(&mut self, scores: &Scores, labels: &[i64]) {
        for (row, label) in scores.values.chunks_exact(scores.classes).zip(labels) {
            let label = *label as usize;
            let prediction = best(row);
            self.support[label] += 1;
            self.predicted[prediction] += 1;
            self.hits[label] += u64::from(label == prediction);
            if let Some(row) = self.confusion.get_mut(label) {
                row[prediction] += 1;
            }
            self.among_best += u64::from(rank(row, label) < self.k);
            self.loss += loss(row, label, self.meaning);
            self.predictions.push(prediction as u32);
        }
    }

    /// All figures. Classes without a name go by their number.
    pub(super) fn quality(&self, names: &[String]) -> Quality {
        let classes = self.hits.len();
        let name = |class: usize| names.get(class).cloned().unwrap_or_else(|| class.to_string());
        let samples = self.predictions.len() as u64;
        let share = |count: u64| ratio(count, samples);
        let per_class: Vec<ClassQuality> = (0..classes)
            .map(|class| {
                let [hits, support, predicted] = [&self.hits, &self.support, &self.predicted].map(|count| count[class]);
                ClassQuality {
                    class: name(class),
                    support,
                    precision: ratio(hits, predicted),
                    recall: ratio(hits, support),
                    f1: ratio(2 * hits, support + predicted),
                }
            })
            .collect();
        let occurs = |class: usize| self.support[class] > 0 || self.predicted[class] > 0;
        let occurring: Vec<&ClassQuality> =
            (0..classes).filter(|class| occurs(*class)).map(|c| &per_class[c]).collect();
        let macro_mean = |figure: fn(&ClassQuality) -> f64| {
            occurring.iter().map(|class| figure(class)).sum::<f64>() / (occurring.len().max(1) as f64)
        };
        let weighted_mean = |figure: fn(&ClassQuality) -> f64| {
            per_class.iter().map(|class| figure(class) * share(class.support)).sum::<f64>()
        };
        Quality {
            samples,
            accuracy: share(self.hits.iter().sum()),
            top_k_accuracy: share(self.among_best),
            k: self.k as u32,
            precision_macro: macro_mean(|class| class.precision),
            recall_macro: macro_mean(|class| class.recall),
            f1_macro: macro_mean(|class| class.f1),
            precision_weighted: weighted_mean(|class| class.precision),
            recall_weighted: weighted_mean(|class| class.recall),
            f1_weighted: weighted_mean(|class| class.f1),
            loss: self.loss / samples.max(1) as f64,
            agreement: None,
            per_class,
            confusion_matrix: self.confusion.clone(),
        }
    }
}

/// Share of the samples that both models take for the same class.
pub(super) fn agreement(a: &[u32], b: &[u32]) -> f64 {
    ratio(a.iter().zip(b).filter(|(a, b)| a == b).count() as u64, a.len() as u64)
}

/// 0 where there is nothing to count.
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The class with the highest score; of equal ones the first.
fn best(row: &[f32]) -> usize {
    row.iter().enumerate().fold(0, |best, (class, score)| if *score > row[best] { class } else { best })
}

/// How many classes come before this one: those of higher scores, and those of the same score and a lower number.
fn rank(row: &[f32], class: usize) -> usize {
    let before = |(other, score): (usize, &f32)| *score > row[class] || (*score == row[class] && other < class);
    row.iter().enumerate().filter(|pair| before(*pair)).count()
}

/// Cross-entropy of one sample in nats.
fn loss(row: &[f32], label: usize, meaning: Meaning) -> f64 {
    match meaning {
        Meaning::Probabilities => -f64::from(row[label]).max(SMALLEST_PROBABILITY).ln(),
        Meaning::Logits => {
            let highest = f64::from(row[best(row)]);
            let sum: f64 = row.iter().map(|score| (f64::from(*score) - highest).exp()).sum();
            // A score of −∞ is a probability of 0.
            (sum.ln() + highest - f64::from(row[label])).min(-SMALLEST_PROBABILITY.ln())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(classes: usize, k: u32, meaning: Meaning, rows: &[(&[f32], i64)]) -> Tally {
        let mut tally = Tally::new(classes, k, meaning);
        for (row, label) in rows {
            tally.add(&Scores { classes, values: row.to_vec() }, &[*label]);
        }
        tally
    }

    /// Labels 0 0 0 1 1 2, taken for 0 0 1 1 2 2; class 3 never occurs. Worked by hand:
    /// precision 2/2, 1/2, 1/2; recall 2/3, 1/2, 1/1; F1 4/5, 1/2, 2/3.
    #[test]
    fn figures_are_those_worked_by_hand() {
        let one = |class: usize| -> [f32; 4] { std::array::from_fn(|i| if i == class { 1.0 } else { 0.0 }) };
        let rows: Vec<([f32; 4], i64)> =
            [(0, 0), (0, 0), (1, 0), (1, 1), (2, 1), (2, 2)].map(|(guess, label)| (one(guess), label)).to_vec();
        let rows: Vec<(&[f32], i64)> = rows.iter().map(|(row, label)| (row.as_slice(), *label)).collect();
        let names = ["a".to_owned(), "b".to_owned(), "c".to_owned(), "d".to_owned()];
        let quality = tally(4, 1, Meaning::Logits, &rows).quality(&names);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        close(quality.accuracy, 4.0 / 6.0);
        close(quality.top_k_accuracy, 4.0 / 6.0);
        close(quality.precision_macro, (1.0 + 0.5 + 0.5) / 3.0);
        close(quality.recall_macro, (2.0 / 3.0 + 0.5 + 1.0) / 3.0);
        close(quality.f1_macro, (0.8 + 0.5 + 2.0 / 3.0) / 3.0);
        close(quality.precision_weighted, (3.0 * 1.0 + 2.0 * 0.5 + 0.5) / 6.0);
        close(quality.recall_weighted, 4.0 / 6.0);
        close(quality.f1_weighted, (3.0 * 0.8 + 2.0 * 0.5 + 2.0 / 3.0) / 6.0);
        assert_eq!(quality.confusion_matrix, [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]);
        assert_eq!(quality.per_class[0].class, "a");
        let absent = &quality.per_class[3];
        assert_eq!((absent.support, absent.precision, absent.recall, absent.f1), (0, 0.0, 0.0, 0.0));
        // A hit has the loss ln(e + 3) - 1, a miss ln(e + 3).
        close(quality.loss, (std::f64::consts::E + 3.0).ln() - 4.0 / 6.0);
    }

    #[test]
    fn a_class_that_is_only_predicted_counts_in_the_macro_mean() {
        let quality = tally(3, 1, Meaning::Logits, &[(&[1.0, 0.0, 0.0], 0), (&[0.0, 1.0, 0.0], 0)]).quality(&[]);
        assert!((quality.f1_macro - (2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert_eq!(quality.per_class[2].class, "2");
    }

    #[test]
    fn of_equal_scores_the_lower_class_comes_first() {
        let rows: [(&[f32], i64); 3] = [(&[1.0, 1.0, 1.0], 0), (&[1.0, 1.0, 1.0], 1), (&[1.0, 1.0, 1.0], 2)];
        let tally = tally(3, 2, Meaning::Logits, &rows);
        assert_eq!(tally.predictions, [0, 0, 0]);
        let quality = tally.quality(&[]);
        assert_eq!((quality.accuracy, quality.top_k_accuracy, quality.k), (1.0 / 3.0, 2.0 / 3.0, 2));
        assert!((quality.loss - 3.0_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn more_than_all_classes_are_never_asked_for() {
        let quality = tally(2, 5, Meaning::Logits, &[(&[0.0, 1.0], 0)]).quality(&[]);
        assert_eq!((quality.k, quality.top_k_accuracy), (2, 1.0));
    }

    #[test]
    fn a_wrong_certainty_has_a_finite_loss() {
        let probabilities = tally(2, 1, Meaning::Probabilities, &[(&[1.0, 0.0], 1)]).quality(&[]);
        let logits = tally(2, 1, Meaning::Logits, &[(&[0.0, f32::NEG_INFINITY], 1)]).quality(&[]);
        assert!((80.0..100.0).contains(&probabilities.loss), "{}", probabilities.loss);
        assert_eq!(probabilities.loss, logits.loss);
        let half = tally(2, 1, Meaning::Probabilities, &[(&[0.5, 0.5], 1)]).quality(&[]);
        assert!((half.loss - 2.0_f64.ln()).abs() < 1e-7);
    }

    #[test]
    fn agreement_is_the_share_of_equal_predictions() {
        assert_eq!(agreement(&[1, 2, 3, 4], &[1, 2, 0, 4]), 0.75);
        assert_eq!(agreement(&[], &[]), 0.0);
    }
}
