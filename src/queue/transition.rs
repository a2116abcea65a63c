//! The table of transitions out of a running attempt, as a function without a database: what becomes of a job whose
//! attempt has ended. The database's trigger refuses whatever is not in the drawing of `docs/QUEUE.md`.

use std::time::Duration;

use crate::spec::failure::{Disposition, Failure, FailureCode};

/// Recoveries from lost workers before a job is given up as `worker_crashed`. Fewer would fail jobs on a bad day of their
/// machine, more would let a job that kills its worker do so for hours.
pub const CRASH_CAP: u32 = 3;

/// Tries after a failure of the [`Disposition::RetryOnce`] kind.
const RETRY_CAP: u32 = 1;

/// Pause before such a try: long enough for memory that other processes hold to become free.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Pause before the second recovery; it doubles with each further one. The first has none: after a restart a job goes on
/// at once.
const RECOVERY_DELAY: Duration = Duration::from_secs(2);

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// Its results are ready to be published.
    Succeeded,
    /// It failed, for a reason that says what comes next.
    Failed(Failure),
    /// It was interrupted because its worker is going away in order.
    Released,
    /// Its lease ran out: the worker, or its connection, is gone.
    Lost,
    /// It was stopped because a user cancelled the job.
    Cancelled,
    /// It has used up the job's running time, and its worker did not end it.
    Overdue,
}

/// Where the job stands as its attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether a user has asked to cancel it (`cancelling`; otherwise `running`).
    pub cancel_requested: bool,
    pub retries: u32,
    pub crash_count: u32,
    /// Running time left after this attempt.
    pub time_left: bool,
}

/// What becomes of the job.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    Succeeded,
    Failed(Failure),
    Cancelled,
    /// It waits for its next attempt.
    Queued(Requeue),
}

/// How a job goes back into the queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Requeue {
    pub delay: Duration,
    pub why: Why,
}

/// Why a job goes back into the queue, which says what is counted.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// Counted in `retries`.
    Retry(Failure),
    /// Counted in `crash_count`.
    Recovery(Failure),
    /// The attempt is given back, nothing is counted.
    Release,
}

/// What becomes of a job in `standing` whose attempt ended so.
///
/// A cancel that was requested wins over everything: where it came before the results were published, nothing is
/// published; where the worker is lost meanwhile, the job is cancelled all the same.
pub fn next(standing: Standing, ending: Ending) -> Next {
    if standing.cancel_requested {
        return Next::Cancelled;
    }
    match ending {
        Ending::Succeeded => Next::Succeeded,
        Ending::Cancelled => Next::Cancelled,
        Ending::Overdue => Next::Failed(deadline_exceeded()),
        Ending::Released => requeue(standing, Duration::ZERO, Why::Release),
        Ending::Lost => {
            recover(standing, Failure::new(FailureCode::WorkerLost, "the worker that ran this job vanished"))
        }
        Ending::Failed(failure) => match failure.code.disposition() {
            Disposition::Cancel => Next::Cancelled,
            Disposition::Resume => recover(standing, failure),
            Disposition::RetryOnce if standing.retries < RETRY_CAP => {
                requeue(standing, RETRY_DELAY, Why::Retry(failure))
            }
            Disposition::RetryOnce | Disposition::Fail => Next::Failed(failure),
        },
    }
}

fn recover(standing: Standing, failure: Failure) -> Next {
    if standing.crash_count >= CRASH_CAP {
        return Next::Failed(Failure::new(
            FailureCode::WorkerCrashed,
            format!("gave up after {CRASH_CAP} recoveries; the last attempt: {}", failure.message),
        ));
    }
    let delay = match standing.crash_count {
        0 => Duration::ZERO,
        n => RECOVERY_DELAY * 2_u32.pow(n - 1),
    };
    requeue(standing, delay, Why::Recovery(failure))
}

fn requeue(standing: Standing, delay: Duration, why: Why) -> Next {
    if standing.time_left { Next::Queued(Requeue { delay, why }) } else { Next::Failed(deadline_exceeded()) }
}

fn deadline_exceeded() -> Failure {
    Failure::new(
        FailureCode::DeadlineExceeded,
        "the job used up its running time; raise `deadline_seconds` or ask for less work",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Standing = Standing { cancel_requested: false, retries: 0, crash_count: 0, time_left: true };

    fn failed(code: FailureCode) -> Ending {
        Ending::Failed(Failure::new(code, "why"))
    }

    fn code(next: Next) -> Option<FailureCode> {
        if let Next::Failed(failure) = next { Some(failure.code) } else { None }
    }

    #[test]
    fn a_requested_cancel_wins_over_every_ending() {
        let standing = Standing { cancel_requested: true, crash_count: CRASH_CAP, time_left: false, ..FRESH };
        for ending in [
            Ending::Succeeded,
            failed(FailureCode::Internal),
            failed(FailureCode::OutOfMemory),
            failed(FailureCode::WorkerLost),
            Ending::Released,
            Ending::Lost,
            Ending::Cancelled,
            Ending::Overdue,
        ] {
            assert_eq!(next(standing, ending.clone()), Next::Cancelled, "{ending:?}");
        }
    }

    #[test]
    fn memory_and_native_crashes_get_one_more_try() {
        for failure in [FailureCode::OutOfMemory, FailureCode::RuntimeCrash] {
            let first = next(FRESH, failed(failure));
            assert!(matches!(first, Next::Queued(Requeue { why: Why::Retry(_), .. })), "{first:?}");
            assert_eq!(code(next(Standing { retries: 1, ..FRESH }, failed(failure))), Some(failure));
        }
    }

    #[test]
    fn a_retry_does_not_use_up_a_recovery_nor_the_other_way_round() {
        let crashed_often = Standing { crash_count: CRASH_CAP, ..FRESH };
        assert!(matches!(next(crashed_often, failed(FailureCode::OutOfMemory)), Next::Queued(_)));
        assert!(matches!(next(Standing { retries: 1, ..FRESH }, Ending::Lost), Next::Queued(_)));
    }

    #[test]
    fn recoveries_pause_longer_each_time_and_end_at_the_cap() {
        let pauses: Vec<u64> = (0..CRASH_CAP)
            .map(|crash_count| match next(Standing { crash_count, ..FRESH }, Ending::Lost) {
                Next::Queued(Requeue { delay, why: Why::Recovery(_) }) => delay.as_secs(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(pauses, [0, 2, 4]);
        let capped = next(Standing { crash_count: CRASH_CAP, ..FRESH }, Ending::Lost);
        assert_eq!(code(capped), Some(FailureCode::WorkerCrashed));
    }

    #[test]
    fn nothing_is_queued_again_without_running_time() {
        let standing = Standing { time_left: false, ..FRESH };
        for ending in [Ending::Lost, Ending::Released, failed(FailureCode::OutOfMemory), Ending::Overdue] {
            assert_eq!(code(next(standing, ending.clone())), Some(FailureCode::DeadlineExceeded), "{ending:?}");
        }
        assert_eq!(next(standing, Ending::Succeeded), Next::Succeeded);
    }

    #[test]
    fn a_refusal_fails_at_once_with_its_own_reason() {
        for failure in [FailureCode::TargetUnreachable, FailureCode::CertificateFailed, FailureCode::Internal] {
            assert_eq!(code(next(FRESH, failed(failure))), Some(failure));
        }
    }
}
