//! Which multiple widths are rounded to, by measurement: that with which the cut model takes the least time for each of its
//! multiply-accumulates. A larger multiple mostly leaves less of a model, which is no merit of its widths.

use super::{Cut, Cutter};
use crate::cost;
use crate::prune::error::PruneError;
use crate::prune::latency::Clock;
use crate::spec::prune::Target;

/// Multiples that are tried: what blocks of ONNX Runtime's kernels are wide, and no rounding.
const MULTIPLES: [u32; 5] = [1, 4, 8, 16, 32];

/// A larger multiple has to be quicker by this share than a smaller one, which leaves more to choose from.
const BETTER: f64 = 0.02;

/// The target for which multiples are compared where the one that was asked for is a time itself.
const USUAL: Target = Target::MacsKept(0.5);

impl Cutter<'_> {
    /// Cuts with each multiple and keeps the quickest; a sentence about it.
    ///
    /// Errors: with no multiple can the target be reached; times cannot be had.
    pub(super) fn quickest_multiple(&mut self, clock: &Clock<'_>) -> Result<String, PruneError> {
        let asked = self.cloth.spec.target;
        let target = if asked.is_measured() { USUAL } else { asked };
        self.quickest_of(target, &mut |cut| Ok(clock.predict(&cut.model)?))
    }

    /// The same by what `time` says of a cut, in nanoseconds.
    pub(super) fn quickest_of(
        &mut self,
        target: Target,
        time: &mut dyn FnMut(&Cut) -> Result<f64, PruneError>,
    ) -> Result<String, PruneError> {
        let mut best: Option<(f64, u32)> = None;
        let mut tried = Vec::new();
        let mut failed = None;
        for multiple in MULTIPLES {
            self.multiple = multiple;
            match self.counted(target) {
                Ok(cut) => {
                    let nanoseconds = time(&cut)?;
                    let macs = cost::macs(&cut.model, &self.cloth.spec.example_shapes).map_or(1.0, |macs| macs as f64);
                    let each = nanoseconds / macs.max(1.0);
                    tried.push(format!("{:.3} ms for {:.3} million with {multiple}", nanoseconds / 1e6, macs / 1e6));
                    if best.is_none_or(|(least, _)| each < least * (1.0 - BETTER)) {
                        best = Some((each, multiple));
                    }
                }
                Err(PruneError::Allocate(error)) => {
                    tried.push(format!("too little to choose from with {multiple}"));
                    failed = Some(PruneError::Allocate(error));
                }
                Err(error) => return Err(error),
            }
        }
        match (best, failed) {
            (Some((_, multiple)), _) => {
                self.multiple = multiple;
                Ok(format!(
                    "widths are multiples of {multiple}, which is predicted to be quickest: {}",
                    tried.join(", ")
                ))
            }
            (None, Some(error)) => Err(error),
            (None, None) => unreachable!("each multiple has a time or an error"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Host;
    use crate::onnx::attribute::Attribute;
    use crate::onnx::builder::GraphBuilder;
    use crate::onnx::dtype::DataType;
    use crate::onnx::model::Model;
    use crate::onnx::tensor::Tensor;
    use crate::prune::importance::Scoring;
    use crate::prune::names::Excluded;
    use crate::prune::structured::{self, Cloth, Wishes};
    use crate::spec::prune::{PruneRequest, PruneSpec, RoundTo};

    /// Two convolutions with so many channels between them.
    fn model(channels: usize) -> Model {
        let mut b = GraphBuilder::new("net");
        let mut y = b.input("x", DataType::Float, &["n".into(), 3.into(), 6.into(), 6.into()]);
        for (name, shape) in [("a", [channels, 3, 3, 3]), ("b", [2, channels, 3, 3])] {
            let values: Vec<f32> = (0..shape.iter().product()).map(|at: usize| (at * 37 % 101) as f32 - 50.0).collect();
            let w = b.initializer(name, &Tensor::from_f32(&shape, &values));
            y = b.node("Conv", &[&y, &w], &[("pads", Attribute::Ints(vec![1; 4]))]);
        }
        b.output(&y, DataType::Float, &["n".into(), 2.into(), 6.into(), 6.into()]);
        b.build(17)
    }

    fn spec() -> PruneSpec {
        let target = Some(Target::ChannelsRemoved(0.5));
        PruneRequest { target, round_to: Some(RoundTo::MEASURED), ..PruneRequest::default() }.parse().unwrap()
    }

    fn width(cut: &Cut) -> i64 {
        cut.model.graph().initializer("a").unwrap().dims[0]
    }

    /// The multiple that is chosen where a cut of some width takes some time.
    fn chosen(channels: usize, time: fn(i64) -> f64) -> Result<(u32, String), PruneError> {
        let (model, spec, host) = (model(channels), spec(), Host::alone());
        let (graph, inferred) = (model.graph(), crate::onnx::shape::infer(&model));
        let exclude = Excluded::new(&[], &[], &graph).unwrap();
        let mut cutter = Cutter {
            cloth: Cloth {
                model: &model,
                graph: &graph,
                inferred: &inferred,
                spec: &spec,
                evidence: None,
                host: &host,
            },
            wishes: Wishes { exclude, holds: Vec::new(), keep_normalised: false },
            scoring: Scoring::of(&spec),
            multiple: 1,
            scores: None,
            held: Vec::new(),
        };
        let said = cutter.quickest_of(spec.target, &mut |cut| Ok(time(width(cut))))?;
        Ok((cutter.multiple, said))
    }

    #[test]
    fn the_smallest_multiple_that_is_as_quick_as_any_is_chosen() {
        assert_eq!(chosen(100, |width| width as f64 * 1e4).unwrap().0, 1);
        // Of 100 channels 50, 48, 48, 48 and 32 stay. Whole blocks of sixteen take a time, and so does each that is left over.
        let (multiple, said) = chosen(100, |width| (width / 16 + width % 16) as f64 * 1e6).unwrap();
        assert_eq!(multiple, 4, "{said}");
        assert!(said.contains("5.000 ms") && said.contains("3.000 ms") && said.contains("2.000 ms"), "{said}");
        let (multiple, said) = chosen(200, |width| (width / 16 + width % 16) as f64 * 1e6).unwrap();
        assert_eq!(multiple, 8, "100 stay, 100, 96, 96, 96: {said}");
    }

    #[test]
    fn multiples_that_leave_nothing_to_remove_are_named() {
        let (multiple, said) = chosen(20, |width| 1e9 - width as f64 * 1e7).unwrap();
        assert!(multiple < 32 && said.contains("too little to choose from with 32"), "{multiple}: {said}");
    }

    #[test]
    fn by_the_clock_of_this_machine_one_is_chosen_and_told() {
        let (model, spec, host) = (model(64), spec(), Host::alone());
        let (graph, inferred) = (model.graph(), crate::onnx::shape::infer(&model));
        let cloth =
            Cloth { model: &model, graph: &graph, inferred: &inferred, spec: &spec, evidence: None, host: &host };
        let cut = structured::cut(cloth).unwrap();
        let said = cut.notes.iter().find(|note| note.starts_with("widths are multiples of")).expect("a note");
        let multiple: i64 = said.split([' ', ',']).nth(4).unwrap().parse().unwrap();
        assert!(width(&cut) < 64 && width(&cut) % multiple == 0, "{} {said}", width(&cut));
    }
}
