use secateur::store::error::StoreError;

use crate::support::world::World;

#[tokio::test]
async fn a_migrated_database_is_ready_and_migrating_again_changes_nothing() {
    let world = World::new().await;
    world.database().ready().await.unwrap();
    world.database().migrate().await.unwrap();
    world.database().ready().await.unwrap();
}

#[tokio::test]
async fn a_database_that_lacks_a_migration_is_not_ready_and_says_which() {
    let world = World::new().await;
    sqlx::query("delete from _sqlx_migrations").execute(&mut *world.conn().await).await.unwrap();
    let error = world.database().ready().await.unwrap_err();
    assert!(matches!(error, StoreError::NotMigrated { found: None, needed: 1.. }), "{error}");
    sqlx::query("drop table _sqlx_migrations").execute(&mut *world.conn().await).await.unwrap();
    assert!(matches!(world.database().ready().await.unwrap_err(), StoreError::NotMigrated { found: None, .. }));
}

#[tokio::test]
async fn every_table_names_its_tenant() {
    let world = World::new().await;
    let without: Vec<String> = sqlx::query_scalar(
        "select t.tablename::text from pg_tables t where schemaname = 'public' and not exists (
             select from pg_attribute a where a.attrelid = format('public.%I', t.tablename)::regclass
                 and a.attname = 'tenant_id' and a.attnotnull)
         order by 1",
    )
    .fetch_all(&mut *world.conn().await)
    .await
    .unwrap();
    // Content is shared by hash and reached through rows that do name their tenant.
    assert_eq!(without, ["_sqlx_migrations", "blobs", "tenants"]);
}
