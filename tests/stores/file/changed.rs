//! Who waits for another's save hears of it.

use std::time::Duration;

use tokio::time::timeout;
use tower_refresh::{TokenStore, store::FileStore};

use super::{load, save};
use crate::support::{Folder, record};

const SOON: Duration = Duration::from_secs(5);
const A_WHILE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_save_of_another_is_heard_of_and_nothing_else() {
    let folder = Folder::new();
    let store = || FileStore::new(folder.join("tokens")).unwrap();
    let (ours, theirs) = (store(), store());

    assert!(ours.load().await.unwrap().is_none());
    let waits = ours.changed();
    save(&theirs, record(1, "access-1", "refresh-1"), None).await;
    timeout(SOON, waits).await.expect("the first save is a change");

    load(&ours).await;
    assert!(theirs.lease("another", SOON).await.unwrap());
    timeout(A_WHILE, ours.changed()).await.expect_err("a lease is no change");

    for version in 2..6 {
        let waits = ours.changed();
        save(&theirs, record(version, "access-1", "refresh-1"), Some(version - 1)).await;
        timeout(SOON, waits).await.expect("a save of the same length is a change");
        load(&ours).await;
    }
}

#[tokio::test]
async fn a_save_between_the_last_look_and_the_call_is_heard_of() {
    let folder = Folder::new();
    let store = || FileStore::new(folder.join("tokens")).unwrap();
    let (ours, theirs) = (store(), store());
    save(&ours, record(1, "access-1", "refresh-1"), None).await;
    save(&theirs, record(2, "access-2", "refresh-2"), Some(1)).await;
    timeout(SOON, ours.changed()).await.expect("it was missed");
}
