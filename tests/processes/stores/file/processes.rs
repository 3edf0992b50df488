//! Real processes on one file.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tokio::time::sleep;
use tower_refresh::{
    ErrorKind, RefreshToken, Session,
    store::{FileStore, Lease},
    testing::GatedEndpoint,
};

use super::{child::Child, load, save};
use crate::stores::support::{Folder, record, secrets, tombstone};

/// The life of the other process's lease. Ours would be the default.
const LIFE: Duration = Duration::from_millis(700);
const DEFAULT: Duration = Duration::from_secs(5);

// S63: the store wins against the seed, and eight processes that seed at once agree
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
        assert_eq!(read.turn(), 1, "nobody wrote over anybody");
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

/// A file with tokens in it, and a process that is calling the token endpoint for the next.
async fn refreshing(folder: &Folder) -> (FileStore, Child) {
    let store = FileStore::new(folder.join("tokens")).unwrap();
    save(&store, record(1, "access-0", "refresh-0"), None).await;
    let mut child = Child::start("refresh", store.path(), LIFE.as_millis());
    assert_eq!(child.says().unwrap(), "calls");
    assert_eq!(load(&store).await.lease().map(Lease::life), Some(LIFE));
    (store, child)
}

/// Our own session over the store.
async fn session(store: &FileStore) -> (GatedEndpoint, Session) {
    let endpoint = GatedEndpoint::new();
    let session = Session::builder(endpoint.clone()).store(store.clone()).build();
    session.ready().await.unwrap();
    (endpoint, session)
}

// S47: when the holder of the lease dies, another takes over within its life
#[tokio::test]
async fn a_process_that_was_killed_over_its_refresh_is_followed_after_the_life_of_its_lease() {
    for _ in 0..3 {
        let folder = Folder::new();
        let (store, mut child) = refreshing(&folder).await;
        child.kill();
        let (endpoint, session) = session(&store).await;
        let start = Instant::now();
        let token = session.refresh().await.unwrap();
        let took = start.elapsed();
        assert!((LIFE..DEFAULT).contains(&took), "{took:?}");
        assert_eq!(token.expose(), "access-1");
        let presented = endpoint.presented();
        assert_eq!(presented[0].as_ref().map(RefreshToken::expose), Some("refresh-0"));
        let read = load(&store).await;
        assert_eq!(secrets(&read).1, "refresh-1");
        assert!(read.lease().is_none(), "the save has taken its place");
    }
}

// S47: when the holder of the lease dies, another takes over within its life
#[tokio::test]
async fn a_process_that_was_stopped_over_its_refresh_uses_what_its_successor_got() {
    let folder = Folder::new();
    let (store, mut child) = refreshing(&folder).await;
    child.signal(Signal::STOP);
    let (_, session) = session(&store).await;
    assert_eq!(session.refresh().await.unwrap().expose(), "access-1");
    child.signal(Signal::CONT);
    child.go();
    assert_eq!(child.says().unwrap(), "access-1");
    assert_eq!(secrets(&load(&store).await).1, "refresh-1", "it has written over nothing");
}

// S48: the lease of a slow refresh is renewed
#[tokio::test]
async fn a_process_whose_call_takes_long_keeps_its_lease_and_the_others_wait() {
    let folder = Folder::new();
    let (store, mut child) = refreshing(&folder).await;
    let leased = load(&store).await.version();
    let (endpoint, session) = session(&store).await;
    let refresh = tokio::spawn(async move { session.refresh().await });
    sleep(LIFE * 3).await;
    assert!(!refresh.is_finished());
    let renewed = load(&store).await;
    assert!(renewed.version() > leased && renewed.turn() == 1, "{renewed:?}");
    child.go();
    assert_eq!(child.says().unwrap(), "access-theirs");
    assert_eq!(refresh.await.unwrap().unwrap().expose(), "access-theirs");
    assert_eq!(endpoint.calls(), 0);
}

// S66: a log-out during a save ends in the tombstone, here and in other processes
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
