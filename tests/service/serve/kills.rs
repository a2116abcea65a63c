//! `kill -9` at random moments: of an attempt, of the service, of the service with its database. Each time the job ends
//! with the same bytes as one that nobody disturbed.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;

use super::service::{DataDir, Service, signal};
use crate::support::eventually;

/// Kills in a run of the tests; `SECATEUR_TEST_KILLS` names another number.
const KILLS: u64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_whenever_the_job_ends_with_the_same_model() {
    let kills = std::env::var("SECATEUR_TEST_KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    let data = DataDir::new();
    let mut service = Service::start(&data.path());
    let digits = service.digits().await;
    let began = Instant::now();
    let job = service.retrain(&digits).await;
    let undisturbed = service.output(&service.ended(&job).await).await;
    let length = began.elapsed();

    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut disturbed = 0;
    for n in 0..kills {
        let job = service.retrain(&digits).await;
        let moment = length.mul_f64(random.random_range(0.05..0.95));
        tokio::time::sleep(moment).await;
        let what = ["attempt", "service", "service and database"][n as usize % 3];
        eprintln!("kill {n}: {what} after {moment:?}");
        match what {
            "attempt" => {
                if let Some(attempt) = service.attempt() {
                    signal(attempt, Signal::KILL);
                }
            }
            "service" => {
                let attempt = service.attempt();
                service.kill();
                if let Some(attempt) = attempt {
                    eventually("the orphan ends", || !super::service::lives(attempt)).await;
                }
                service = Service::start(&data.path());
            }
            _ => {
                let postmaster = data.postmaster().expect("PostgreSQL runs");
                service.kill();
                signal(postmaster, Signal::KILL);
                service = Service::start(&data.path());
            }
        }
        let restarted = Instant::now();
        let ended = service.ended(&job).await;
        assert_eq!(service.output(&ended).await, undisturbed, "kill {n}: {what} after {moment:?}: {ended:#}");
        let lost = service.history(&job).await.contains(&"worker_lost".to_owned());
        eprintln!("kill {n}: the job {}", if lost { "went on in another attempt" } else { "had ended" });
        disturbed += u64::from(lost);
        // The lease would have lasted for a minute.
        assert!(restarted.elapsed() < Duration::from_secs(50), "{:?}", restarted.elapsed());
    }
    assert!(disturbed * 2 > kills, "only {disturbed} of {kills} kills came while the job ran");
    service.stop();
}
