//! Real processes on one file.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tokio::time::sleep;
use tower_refresh::{
    ErrorKind, Session,
    store::{FileStore, TokenStore},
    testing::GatedEndpoint,
};

use super::{child::Child, load, save};
use crate::support::{Folder, record, secrets, tombstone};

const LIFE: Duration = Duration::from_secs(30);

// S63
#[tokio::test]
async fn eight_processes_that_seed_at_once_agree() {
    for _ in 0..3 {
        let folder = Folder::new();
        let path = folder.join("tokens");
        let seeds: Vec<_> = (0..8).map(|number| format!("seed-{number}")).collect();
        let mut children: Vec<_> =
            seeds.iter().map(|seed| Child::start("seed", &path, seed)).collect();
        children.iter_mut().for_each(|child| assert_eq!(child.says().unwrap(), "ready"));
        children.iter_mut().for_each(Child::go);
        let used: HashSet<_> = children.iter_mut().map(|child| child.says().unwrap()).collect();
        assert_eq!(used.len(), 1, "{used:?}");

        let read = load(&FileStore::new(&path).unwrap()).await;
        let (access, refresh) = secrets(&read);
        assert!(used.contains(&format!("Bearer {access}")) && seeds.contains(&access));
        assert_eq!(refresh, format!("refresh-{access}"));
        assert_eq!(read.version(), 1, "nobody wrote over anybody");
    }
}

#[tokio::test]
async fn no_save_of_many_processes_is_lost() {
    const PROCESSES: u64 = 4;
    const EACH: u64 = 25;
    let folder = Folder::new();
    let store = FileStore::new(folder.join("tokens")).unwrap();
    save(&store, record(1, "0", "refresh"), None).await;
    let mut children: Vec<_> =
        (0..PROCESSES).map(|_| Child::start("count", store.path(), EACH)).collect();
    children.iter_mut().for_each(Child::go);
    children.iter_mut().for_each(|child| assert_eq!(child.says().unwrap(), "done"));
    let read = load(&store).await;
    assert_eq!(secrets(&read).0, (PROCESSES * EACH).to_string());
    assert_eq!(read.version(), PROCESSES * EACH + 1);
}

#[tokio::test]
async fn one_process_at_a_time_has_the_lease() {
    let folder = Folder::new();
    let path = folder.join("tokens");
    let mut children: Vec<_> = (0..4).map(|_| Child::start("take turns", &path, 20)).collect();
    children.iter_mut().for_each(Child::go);
    for child in &mut children {
        assert_eq!(child.says().as_deref(), Some("done"));
        assert!(child.wait().success());
    }
}

// S47
#[tokio::test]
async fn the_lease_of_a_process_that_was_killed_is_free_at_once() {
    let folder = Folder::new();
    let store = FileStore::new(folder.join("tokens")).unwrap();
    for _ in 0..5 {
        let mut child = Child::start("hold", store.path(), LIFE.as_millis());
        assert_eq!(child.says().unwrap(), "true");
        assert!(!store.lease("us", LIFE).await.unwrap());
        child.kill();
        assert!(store.lease("us", LIFE).await.unwrap());
        store.release("us").await.unwrap();
    }
}

// S47
#[tokio::test]
async fn the_lease_of_a_process_that_was_stopped_ends_and_it_notices_when_it_goes_on() {
    let folder = Folder::new();
    let store = FileStore::new(folder.join("tokens")).unwrap();
    let mut child = Child::start("hold", store.path(), 500);
    let start = Instant::now();
    assert_eq!(child.says().unwrap(), "true");
    child.signal(Signal::STOP);
    while !store.lease("us", LIFE).await.unwrap() {
        assert!(start.elapsed() < LIFE, "the lease does not end");
        sleep(Duration::from_millis(5)).await;
    }
    assert!(!store.lease("another", LIFE).await.unwrap());
    child.signal(Signal::CONT);
    child.go();
    assert_eq!(child.says().unwrap(), "false");
    assert!(store.lease("us", LIFE).await.unwrap());
    assert!(!store.lease("another", LIFE).await.unwrap(), "and ours is whole");
    child.kill();
    assert!(!store.lease("another", LIFE).await.unwrap(), "whoever has held it before");
}

// S66
#[tokio::test]
async fn a_log_out_by_another_outlasts_a_refresh_under_way() {
    let folder = Folder::new();
    let store = || FileStore::new(folder.join("tokens")).unwrap();
    let endpoint = GatedEndpoint::new();
    let session = Session::builder(endpoint.clone()).store(store()).build();
    save(&store(), record(1, "access-1", "refresh-1"), None).await;
    session.ready().await.unwrap();
    let hold = endpoint.hold();
    let (refreshed, ()) = futures::future::join(session.refresh(), async {
        endpoint.calls_reached(1).await;
        let version = load(&store()).await.version();
        save(&store(), tombstone(version + 1), Some(version)).await;
        hold.release();
    })
    .await;
    assert_eq!(refreshed.unwrap_err().kind(), ErrorKind::LoginRequired);
    assert!(load(&store()).await.is_logged_out());
}
