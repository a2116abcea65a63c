//! What became of the cases, by operator.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::onnx::model::Model;
use crate::onnx::proto::{GraphProto, NodeProto};
use crate::spec::report::Frozen;

/// Every operator of a model by domain and name, those of bodies and functions included.
pub fn operators(model: &Model) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let of_functions = model.proto.functions.iter().flat_map(|function| &function.node);
    of_functions.for_each(|node| note(node, &mut found));
    visit(model.graph_proto(), &mut found);
    found
}

fn visit(graph: &GraphProto, found: &mut BTreeSet<(String, String)>) {
    graph.node.iter().for_each(|node| note(node, found));
}

fn note(node: &NodeProto, found: &mut BTreeSet<(String, String)>) {
    found.insert((node.operator_domain().to_owned(), node.op_type().to_owned()));
    node.subgraphs().for_each(|body| visit(body, found));
}

/// The end of one case.
#[derive(Debug)]
pub enum Outcome {
    Certified(Vec<Frozen>),
    /// More was asked for than can be taken out; what stays, where anything at all can be taken out.
    Refused {
        stays: Vec<Frozen>,
        nothing_goes: bool,
    },
    /// The certificate failed where a number was rounded the other way; on other inputs it did not.
    Tipped,
    /// ONNX Runtime does not run the model as it was drawn, which pruning says.
    Unrunnable,
    Wrong(String),
}

/// What became of the cases with an operator.
#[derive(Default)]
struct Row {
    certified: usize,
    refused: usize,
    /// Cases in which the operator is the reason that something stays, by outcome.
    keeps: usize,
    keeps_and_refused: usize,
}

/// What became of all cases.
#[derive(Default)]
pub struct Outcomes {
    pub certified: usize,
    pub refused: usize,
    /// Of the refused: those of which nothing at all can be taken out.
    nothing_goes: usize,
    /// Of the refused: those in which an operator keeps something, not only the model's inputs and outputs.
    by_operators: usize,
    pub tipped: usize,
    pub unrunnable: usize,
    pub wrong: Vec<String>,
    rows: BTreeMap<String, Row>,
    /// In how many cases something stays for a reason, certified and refused.
    reasons: BTreeMap<String, [usize; 2]>,
}

impl Outcomes {
    pub fn add(&mut self, seed: u64, operators: &BTreeSet<(String, String)>, outcome: Outcome) {
        let (stays, refused) = match outcome {
            Outcome::Wrong(what) => {
                let names: Vec<&str> = operators.iter().map(|(_, name)| name.as_str()).collect();
                return self.wrong.push(format!("case {seed}: {what} ({})", names.join(" ")));
            }
            Outcome::Tipped => {
                self.tipped += 1;
                return;
            }
            Outcome::Unrunnable => {
                self.unrunnable += 1;
                return;
            }
            Outcome::Certified(stays) => (stays, false),
            Outcome::Refused { stays, nothing_goes } => {
                self.nothing_goes += usize::from(nothing_goes);
                (stays, true)
            }
        };
        *(if refused { &mut self.refused } else { &mut self.certified }) += 1;
        for (_, operator) in operators {
            let row = self.rows.entry(operator.clone()).or_default();
            *(if refused { &mut row.refused } else { &mut row.certified }) += 1;
        }
        let keepers: BTreeSet<&str> = stays.iter().filter_map(|frozen| keeper(frozen)).collect();
        self.by_operators += usize::from(refused && !keepers.is_empty());
        for operator in keepers {
            let row = self.rows.entry(operator.to_owned()).or_default();
            row.keeps += 1;
            row.keeps_and_refused += usize::from(refused);
        }
        let reasons: BTreeSet<String> = stays
            .iter()
            .map(|frozen| format!("{}: {}", keeper(frozen).unwrap_or("border"), plain(&frozen.reason)))
            .collect();
        for reason in reasons {
            self.reasons.entry(reason).or_default()[usize::from(refused)] += 1;
        }
    }
}

/// The type of the operator that keeps something, of `Conv Conv_12`.
fn keeper(frozen: &Frozen) -> Option<&str> {
    let operator = frozen.operator.as_deref()?.split(' ').next()?;
    Some(operator.split("__").next().unwrap_or(operator).rsplit_once('_').map_or(operator, |(name, number)| {
        if number.bytes().all(|byte| byte.is_ascii_digit()) { name } else { operator }
    }))
}

/// A reason without its numbers and names.
fn plain(reason: &str) -> String {
    let quoted = reason.split('`').enumerate().map(|(at, part)| if at % 2 == 1 { "…" } else { part });
    let text: String = quoted.collect();
    text.chars().map(|letter| if letter.is_ascii_digit() { '#' } else { letter }).collect::<String>().replace("##", "#")
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
        let all = self.certified + self.refused;
        writeln!(
            f,
            "{} certified, {} refused ({:.1} %): of {} nothing can go, in {} operators keep something; {} tipped over by rounding, {} do not run as they are, {} wrong",
            self.certified,
            self.refused,
            share(self.refused, all),
            self.nothing_goes,
            self.by_operators,
            self.tipped,
            self.unrunnable,
            self.wrong.len()
        )?;
        writeln!(
            f,
            "{:<36} {:>7} {:>9} {:>7} {:>9} {:>6} {:>8}",
            "operator", "cases", "certified", "refused", "refused %", "keeps", "…refused"
        )?;
        for (operator, row) in &self.rows {
            let cases = row.certified + row.refused;
            writeln!(
                f,
                "{operator:<36} {cases:>7} {:>9} {:>7} {:>9.1} {:>6} {:>8}",
                row.certified,
                row.refused,
                share(row.refused, cases),
                row.keeps,
                row.keeps_and_refused
            )?;
        }
        writeln!(f, "\n{:>7} {:>7}  what stays, and why", "cert.", "refused")?;
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, [certified, refused])| std::cmp::Reverse((*refused, *certified)));
        reasons
            .iter()
            .take(60)
            .try_for_each(|(reason, [certified, refused])| writeln!(f, "{certified:>7} {refused:>7}  {reason}"))
    }
}
