//! Connections of the pool.

use std::task::Poll;

use secateur::store::database::Database;
use sqlx::{Acquire, Executor};

use crate::support::world::World;

/// sqlx takes a transaction that was given up while it began for none at all: what the connection's next user wrote was
/// not seen by anybody else, and lost when the connection was.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_given_up_while_it_begins_swallows_nobody_elses_writes() {
    let world = World::new().await;
    // One connection, so that the next user gets the same.
    let database = Database::connect(&world.url(), 1).await.unwrap();
    let mut given_up = 0;
    for _ in 0..20 {
        let mut conn = database.pool().acquire().await.unwrap();
        {
            let mut begin = Box::pin(conn.begin());
            let polled = std::future::poll_fn(|context| Poll::Ready(begin.as_mut().poll(context))).await;
            given_up += usize::from(polled.is_pending());
        }
        drop(conn);
        let mut next = database.pool().acquire().await.unwrap();
        next.execute("insert into tenants (id, name) values (gen_random_uuid(), gen_random_uuid()::text)")
            .await
            .unwrap();
    }
    assert!(given_up > 0, "the server always answers at once, and this test shows nothing");
    assert_eq!(world.count("select count(*) from tenants").await, 21);
}
