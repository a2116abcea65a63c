//! What an ended attempt process means: one pure function from what is known of its death to how the attempt ended.

use super::listener::Unheard;
use crate::spec::attempt::{AttemptOutcome, Finished};
use crate::spec::failure::{Failure, FailureCode};
use crate::spec::summary::Inspection;

/// How an attempt ended, as its worker or the upload that waits for it sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// The job is done; its files lie in `outputs/`.
    Finished(Box<Finished>),
    /// An upload is sound.
    Inspected(Inspection),
    /// It was asked to stop; the job goes on from its last checkpoint.
    Interrupted,
    /// It was killed because the one who started it said so; nothing that it left counts.
    Killed,
    /// It failed, and [`FailureCode::disposition`] says what comes next.
    Failed(Failure),
}

/// What the launcher did to the process, the last deed that ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// SIGTERM, and SIGKILL after the grace period.
    Drain,
    /// SIGKILL, because the running time was used up.
    Deadline,
    /// SIGKILL, by order.
    Kill,
}

/// How the process left, by the kernel's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

/// All that is known of an ended attempt.
#[derive(Debug)]
pub struct Death {
    pub outcome: Option<AttemptOutcome>,
    pub exit: Exit,
    pub sent: Option<Sent>,
    /// Why not all that it told was heard, where that is so.
    pub unheard: Option<Unheard>,
    /// The last lines of plain text on its standard error.
    pub tail: String,
    /// Whether the kernel killed any process for memory while this one ran.
    pub kernel_out_of_memory: bool,
}

/// Texts by which libraries tell that memory ran out: Rust's allocator, C++, ONNX Runtime's arena, glibc, and threads
/// that could not be made for want of stack.
const OUT_OF_MEMORY_TEXTS: [&str; 8] = [
    "memory allocation of",
    "std::bad_alloc",
    "bad allocation",
    "Failed to allocate memory",
    "Cannot allocate memory",
    "failed to spawn thread",
    "Resource temporarily unavailable",
    "failed to allocate",
];

/// Texts by which the system tells that no room is left (ENOSPC, EDQUOT).
const STORAGE_FULL_TEXTS: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

const SIGILL: i32 = 4;
const SIGTRAP: i32 = 5;
const SIGABRT: i32 = 6;
const SIGBUS: i32 = 7;
const SIGFPE: i32 = 8;
const SIGKILL: i32 = 9;
const SIGSEGV: i32 = 11;
const SIGXCPU: i32 = 24;
const SIGXFSZ: i32 = 25;
const SIGSYS: i32 = 31;

/// Reads a death. An order to kill has the last word; then whether its messages were heard; then what the process itself
/// wrote; then what was done to it; then its signal.
pub fn classify(death: Death) -> Ending {
    let Death { outcome, exit, sent, unheard, tail, kernel_out_of_memory } = death;
    if sent == Some(Sent::Kill) {
        return Ending::Killed;
    }
    if let Some(unheard) = unheard {
        // A line that was cut off is what a killed process leaves, and the next attempt tells it again; one that says it
        // has finished told more than was heard.
        if !matches!(unheard, Unheard::CutOff) || matches!(outcome, Some(AttemptOutcome::Finished(_))) {
            return fail(FailureCode::Internal, format!("a message of the attempt was lost: {unheard}"));
        }
    }
    if let Some(outcome) = outcome {
        return of_outcome(outcome);
    }
    match sent {
        Some(Sent::Deadline) => return fail(FailureCode::DeadlineExceeded, "the job used up its running time"),
        Some(Sent::Drain) => return Ending::Interrupted,
        Some(Sent::Kill) | None => {}
    }
    match exit {
        Exit::Signal(SIGXCPU) => fail(FailureCode::DeadlineExceeded, "the attempt used up its processor time"),
        Exit::Signal(SIGXFSZ) => {
            fail(FailureCode::StorageFull, "the attempt wrote a file larger than the server's limit for one file")
        }
        Exit::Signal(SIGKILL) if kernel_out_of_memory => {
            fail(FailureCode::OutOfMemory, "the machine ran out of memory and the kernel ended the attempt")
        }
        _ if let Some(code) = resource_of(&tail) => {
            let what = if code == FailureCode::OutOfMemory { "memory" } else { "room on the disk" };
            fail(code, with_tail(&format!("{what} ran out in the attempt"), &tail))
        }
        Exit::Signal(signal @ (SIGILL | SIGTRAP | SIGABRT | SIGBUS | SIGFPE | SIGSEGV | SIGSYS)) => fail(
            FailureCode::RuntimeCrash,
            with_tail(&format!("native code in the attempt crashed with {}", name(signal)), &tail),
        ),
        Exit::Signal(signal) => {
            fail(FailureCode::WorkerLost, format!("the attempt was ended from outside with {}", name(signal)))
        }
        Exit::Code(code) => fail(
            FailureCode::Internal,
            with_tail(&format!("the attempt ended with code {code} and without an outcome"), &tail),
        ),
    }
}

fn of_outcome(outcome: AttemptOutcome) -> Ending {
    match outcome {
        AttemptOutcome::Finished(finished) => Ending::Finished(finished),
        AttemptOutcome::Inspected { inspection } => Ending::Inspected(inspection),
        AttemptOutcome::Interrupted => Ending::Interrupted,
        AttemptOutcome::Failed { mut failure } => {
            // A library's own error that memory or room ran out arrives as a defect of whoever called it.
            if failure.code == FailureCode::Internal {
                failure.code = resource_of(&failure.message).unwrap_or(failure.code);
            }
            Ending::Failed(failure)
        }
    }
}

/// The resource that a text says has run out.
fn resource_of(text: &str) -> Option<FailureCode> {
    let tells = |texts: &[&str]| texts.iter().any(|known| text.contains(known));
    if tells(&OUT_OF_MEMORY_TEXTS) {
        Some(FailureCode::OutOfMemory)
    } else {
        tells(&STORAGE_FULL_TEXTS).then_some(FailureCode::StorageFull)
    }
}

fn fail(code: FailureCode, message: impl Into<String>) -> Ending {
    Ending::Failed(Failure::new(code, message))
}

/// The sentence, and the last line that the process printed, where it printed one.
fn with_tail(sentence: &str, tail: &str) -> String {
    match tail.lines().last() {
        Some(line) => format!("{sentence}; its last words: {line}"),
        None => sentence.to_owned(),
    }
}

fn name(signal: i32) -> String {
    match signal {
        SIGILL => "SIGILL".into(),
        SIGTRAP => "SIGTRAP".into(),
        SIGABRT => "SIGABRT".into(),
        SIGBUS => "SIGBUS".into(),
        SIGFPE => "SIGFPE".into(),
        SIGKILL => "SIGKILL".into(),
        SIGSEGV => "SIGSEGV".into(),
        SIGSYS => "SIGSYS".into(),
        other => format!("signal {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death(exit: Exit) -> Death {
        Death { outcome: None, exit, sent: None, unheard: None, tail: String::new(), kernel_out_of_memory: false }
    }

    fn code(death: Death) -> FailureCode {
        match classify(death) {
            Ending::Failed(failure) => failure.code,
            other => panic!("not a failure: {other:?}"),
        }
    }

    fn failed(code: FailureCode, message: &str) -> AttemptOutcome {
        AttemptOutcome::Failed { failure: Failure::new(code, message) }
    }

    #[test]
    fn each_signal_has_its_meaning() {
        let table = [
            (SIGSEGV, FailureCode::RuntimeCrash),
            (SIGABRT, FailureCode::RuntimeCrash),
            (SIGBUS, FailureCode::RuntimeCrash),
            (SIGILL, FailureCode::RuntimeCrash),
            (SIGFPE, FailureCode::RuntimeCrash),
            (SIGTRAP, FailureCode::RuntimeCrash),
            (SIGSYS, FailureCode::RuntimeCrash),
            (SIGKILL, FailureCode::WorkerLost),
            (15, FailureCode::WorkerLost),
            (1, FailureCode::WorkerLost),
            (2, FailureCode::WorkerLost),
            (SIGXCPU, FailureCode::DeadlineExceeded),
            (SIGXFSZ, FailureCode::StorageFull),
        ];
        for (signal, expected) in table {
            assert_eq!(code(death(Exit::Signal(signal))), expected, "signal {signal}");
        }
    }

    #[test]
    fn memory_has_many_faces_and_one_code() {
        let faces = [
            (Exit::Signal(SIGABRT), "memory allocation of 17179869184 bytes failed"),
            (
                Exit::Signal(SIGABRT),
                "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc",
            ),
            (Exit::Code(101), "failed to spawn thread: Os { code: 11, kind: WouldBlock }"),
            (Exit::Signal(SIGSEGV), "Failed to allocate memory for requested buffer of size 4294967296"),
        ];
        for (exit, tail) in faces {
            assert_eq!(code(Death { tail: tail.into(), ..death(exit) }), FailureCode::OutOfMemory, "{tail}");
        }
        let by_kernel = Death { kernel_out_of_memory: true, ..death(Exit::Signal(SIGKILL)) };
        assert_eq!(code(by_kernel), FailureCode::OutOfMemory);
        let by_engine = failed(
            FailureCode::Internal,
            "Non-zero status code returned while running Conv node: bfc_arena.cc Failed to allocate memory for requested \
             buffer of size 104857600",
        );
        assert_eq!(code(Death { outcome: Some(by_engine), ..death(Exit::Code(0)) }), FailureCode::OutOfMemory);
    }

    #[test]
    fn a_full_disk_is_told_apart_from_a_defect() {
        let in_words = failed(FailureCode::Internal, "writing weights: No space left on device (os error 28)");
        assert_eq!(code(Death { outcome: Some(in_words), ..death(Exit::Code(0)) }), FailureCode::StorageFull);
        let tail = "The attempt could not begin or end: No space left on device (os error 28)".into();
        assert_eq!(code(Death { tail, ..death(Exit::Code(1)) }), FailureCode::StorageFull);
    }

    #[test]
    fn a_segfault_elsewhere_on_the_machine_is_not_blamed_on_memory() {
        let crash = Death { kernel_out_of_memory: true, ..death(Exit::Signal(SIGSEGV)) };
        assert_eq!(code(crash), FailureCode::RuntimeCrash);
    }

    #[test]
    fn what_the_process_wrote_counts_more_than_how_it_left() {
        for exit in [Exit::Code(0), Exit::Signal(SIGSEGV), Exit::Signal(SIGKILL)] {
            let outcome = Some(failed(FailureCode::CertificateFailed, "no"));
            assert_eq!(code(Death { outcome, ..death(exit) }), FailureCode::CertificateFailed);
        }
        let late =
            Death { outcome: Some(AttemptOutcome::Interrupted), sent: Some(Sent::Deadline), ..death(Exit::Code(0)) };
        assert_eq!(classify(late), Ending::Interrupted);
    }

    #[test]
    fn an_order_to_kill_has_the_last_word() {
        let outcome = Some(failed(FailureCode::CertificateFailed, "no"));
        let killed = Death { outcome, sent: Some(Sent::Kill), ..death(Exit::Signal(SIGKILL)) };
        assert_eq!(classify(killed), Ending::Killed);
    }

    #[test]
    fn a_message_that_was_not_heard_fails_what_would_have_finished() {
        let finished = || {
            let finished = Finished { model: None, earlier: vec![0], report: "report.json".into(), plan: None };
            Some(AttemptOutcome::Finished(Box::new(finished)))
        };
        for unheard in [Unheard::CutOff, Unheard::TooLong] {
            let death = Death { outcome: finished(), unheard: Some(unheard), ..death(Exit::Code(0)) };
            assert_eq!(code(death), FailureCode::Internal);
        }
        let interrupted = Death {
            outcome: Some(AttemptOutcome::Interrupted),
            unheard: Some(Unheard::TooLong),
            ..death(Exit::Code(0))
        };
        assert_eq!(code(interrupted), FailureCode::Internal, "what it told of its checkpoint may be what is missing");
    }

    #[test]
    fn a_process_that_is_killed_while_it_tells_something_is_lost_and_not_at_fault() {
        let killed = Death { unheard: Some(Unheard::CutOff), ..death(Exit::Signal(SIGKILL)) };
        assert_eq!(code(killed), FailureCode::WorkerLost);
        let by_order =
            Death { unheard: Some(Unheard::TooLong), sent: Some(Sent::Kill), ..death(Exit::Signal(SIGKILL)) };
        assert_eq!(classify(by_order), Ending::Killed);
    }

    #[test]
    fn our_own_signals_are_not_taken_for_a_crash() {
        let deadline = Death { sent: Some(Sent::Deadline), ..death(Exit::Signal(SIGKILL)) };
        assert_eq!(code(deadline), FailureCode::DeadlineExceeded);
        for signal in [15, SIGKILL] {
            let drained = Death { sent: Some(Sent::Drain), ..death(Exit::Signal(signal)) };
            assert_eq!(classify(drained), Ending::Interrupted);
        }
    }

    #[test]
    fn an_end_without_an_outcome_is_a_defect_and_quotes_the_last_words() {
        let Ending::Failed(failure) = classify(Death { tail: "one\ntwo".into(), ..death(Exit::Code(3)) }) else {
            panic!("not a failure")
        };
        assert_eq!(failure.code, FailureCode::Internal);
        assert!(failure.message.contains("code 3") && failure.message.ends_with("two"), "{failure}");
    }
}
