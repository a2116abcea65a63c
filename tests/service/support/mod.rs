//! What the tests of the service share: a database for each test, and the world of a test.

pub mod app;
pub mod digits;
pub mod postgres;
pub mod process;
pub mod service;
pub mod world;

/// Waits for something that happens in another task and tells nobody, for ten seconds at most.
pub async fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let waiting = async {
        while !happened() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await;
    assert!(waited.is_ok(), "it did not happen: {what}");
}
