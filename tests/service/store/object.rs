use futures_util::TryStreamExt;
use secateur::store::blob;
use secateur::store::error::StoreError;
use sha2::{Digest, Sha256};

use crate::support::world::World;

#[tokio::test]
async fn content_is_named_by_its_sha256_and_comes_back_whole_and_in_part() {
    let world = World::new().await;
    let content: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    let blob = world.blob(&content).await;
    assert_eq!(blob.sha256, hex::encode(Sha256::digest(&content)));
    assert_eq!(blob.size_bytes, 1_000_000);
    assert_eq!(world.objects.read(&blob.sha256).await.unwrap(), content);
    let part: Vec<_> =
        world.objects.get_range(&blob.sha256, 250_000..750_001).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(part.concat(), content[250_000..750_001]);
    assert_eq!(std::fs::read(world.objects.local_path(&blob.sha256)).unwrap(), content);
}

#[tokio::test]
async fn content_that_was_given_up_leaves_nothing() {
    let world = World::new().await;
    let mut spool = world.objects.spool().await.unwrap();
    spool.write(b"half of someth").await.unwrap();
    drop(spool);
    let mut spool = world.objects.spool().await.unwrap();
    spool.write(b"refused by the inspection").await.unwrap();
    let spooled = spool.finish().await.unwrap();
    assert!(spooled.path().is_file());
    drop(spooled);
    assert_eq!(files(&world, "spool"), 0);
    assert_eq!(files(&world, "blobs"), 0);
}

#[tokio::test]
async fn the_same_content_is_stored_once() {
    let world = World::new().await;
    let first = world.blob(b"the same").await;
    let path = world.folder.path().join("output.onnx");
    std::fs::write(&path, b"the same").unwrap();
    let second = blob::store_file(&mut *world.conn().await, &world.objects, &path).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(files(&world, "spool"), 0);
    assert_eq!(world.count("select count(*) from blobs").await, 1);
    std::fs::write(&path, b"another").unwrap();
    let third = blob::store_file(&mut *world.conn().await, &world.objects, &path).await.unwrap();
    assert_eq!(world.objects.read(&third.sha256).await.unwrap(), b"another".as_slice());
}

#[tokio::test]
async fn a_file_that_its_writer_holds_open_cannot_change_what_was_stored() {
    let world = World::new().await;
    let path = world.folder.path().join("checkpoint.bin");
    std::fs::write(&path, b"weights").unwrap();
    let blob = blob::store_file(&mut *world.conn().await, &world.objects, &path).await.unwrap();
    std::fs::write(&path, b"WEIGHTS").unwrap();
    assert_eq!(world.objects.read(&blob.sha256).await.unwrap(), b"weights".as_slice());
}

#[tokio::test]
async fn a_full_disk_is_told_apart_and_leaves_nothing() {
    let full = std::io::Error::from_raw_os_error(28);
    assert!(matches!(StoreError::io("/data".as_ref(), full), StoreError::StorageFull { .. }));
    let denied = std::io::Error::from_raw_os_error(13);
    assert!(matches!(StoreError::io("/data".as_ref(), denied), StoreError::Io { .. }));
}

#[tokio::test]
async fn an_object_that_is_not_there_is_missing_by_name() {
    let world = World::new().await;
    let nothing = "0".repeat(64);
    let error = world.objects.read(&nothing).await.unwrap_err();
    assert!(matches!(error, StoreError::ObjectMissing { sha256 } if sha256 == nothing));
    assert!(!world.objects.contains(&nothing).await.unwrap());
}

#[tokio::test]
async fn spool_files_of_dead_processes_are_swept_at_once_and_living_ones_never() {
    let world = World::new().await;
    std::fs::write(world.folder.path().join("objects/spool/orphan"), b"left behind").unwrap();
    let mut writing = world.objects.spool().await.unwrap();
    writing.write(b"half").await.unwrap();
    let finished = world.objects.spool().await.unwrap().finish().await.unwrap();
    assert_eq!(world.objects.sweep_spool().await.unwrap(), 1);
    assert_eq!(files(&world, "spool"), 2);
    assert_eq!(world.objects.sweep_spool().await.unwrap(), 0);
    assert!(finished.path().is_file());
    assert_eq!(writing.finish().await.unwrap().blob().size_bytes, 4);
}

/// Files below a folder of the object store.
fn files(world: &World, folder: &str) -> usize {
    fn count(folder: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
    }
    count(&world.folder.path().join("objects").join(folder))
}
