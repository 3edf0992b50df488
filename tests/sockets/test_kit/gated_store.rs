use std::time::Duration;

use futures::FutureExt;
use serde_json::json;
use tokio::{
    task::yield_now,
    time::{Instant, timeout},
};
use tower_refresh::{
    BoxError,
    store::{Record, SaveOutcome, TokenStore},
    testing::{GatedStore, StoreCalls, StoreFault, store_conformance},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn record(version: u64, turn: u64, owner: Option<&str>) -> Record {
    let mut record = json!({
        "format": "tower-refresh/1",
        "version": version,
        "turn": turn,
        "tokens": { "access_token": format!("access-{turn}"), "refresh_token": "refresh" },
    });
    if let Some(owner) = owner {
        record["lease"] = json!({ "owner": owner, "life": 5000 });
    }
    serde_json::from_value(record).unwrap()
}

fn tombstone(version: u64, turn: u64) -> Record {
    let record = json!({
        "format": "tower-refresh/1", "version": version, "turn": turn, "logged_out": true,
    });
    serde_json::from_value(record).unwrap()
}

/// The tokens of a grant that is over.
fn over(version: u64, turn: u64) -> Record {
    let mut record = serde_json::to_value(record(version, turn, None)).unwrap();
    record["ended"] = json!({ "at": 1_700_000_000_000_u64, "code": "invalid_grant" });
    serde_json::from_value(record).unwrap()
}

/// A store with one record in it.
fn filled() -> GatedStore {
    GatedStore::holding(record(1, 1, None))
}

fn version(store: &GatedStore) -> Option<u64> {
    store.record().map(|record| record.version())
}

async fn load(store: &GatedStore) -> Result<Option<u64>, BoxError> {
    Ok(store.load().await?.map(|record| record.version()))
}

/// Saves new tokens over the first record.
async fn save(store: &GatedStore) -> Result<SaveOutcome, BoxError> {
    store.save(record(2, 2, None), Some(1)).await
}

/// Leases the first record.
async fn lease(store: &GatedStore) -> Result<SaveOutcome, BoxError> {
    store.save(record(2, 1, Some("me")), Some(1)).await
}

/// Which of a load, a lease and a save are answered in a day; each on a store of its own.
async fn answered(faulty: impl Fn() -> GatedStore) -> [Option<bool>; 3] {
    let (one, two, three) = (faulty(), faulty(), faulty());
    let load = timeout(DAY, load(&one)).await.ok().map(|answer| answer.is_ok());
    let lease = timeout(DAY, lease(&two)).await.ok().map(|answer| answer.is_ok());
    let save = timeout(DAY, save(&three)).await.ok().map(|answer| answer.is_ok());
    [load, lease, save]
}

#[tokio::test(flavor = "multi_thread")]
async fn left_alone_it_keeps_the_promises() {
    store_conformance(|| async { GatedStore::new() }).await;
}

#[tokio::test(start_paused = true)]
async fn a_save_is_told_from_a_write_that_only_leases() {
    let store = GatedStore::new();
    let counts = || [StoreCalls::Saves, StoreCalls::Renewals].map(|calls| store.calls(calls));
    let mut expected = None;
    let lease = json!({ "owner": "me", "life": 5000 });
    let empty = json!({ "format": "tower-refresh/1", "version": 1, "turn": 1, "lease": lease });
    for (what, record, counted) in [
        ("a lease on an empty store", serde_json::from_value(empty).unwrap(), [0, 1]),
        ("the first tokens", record(2, 2, None), [1, 1]),
        ("a lease", record(3, 2, Some("me")), [1, 2]),
        ("a renewal", record(4, 2, Some("me")), [1, 3]),
        ("the lease given back", record(5, 2, None), [1, 4]),
        ("new tokens, and a lease", record(6, 3, Some("me")), [2, 4]),
        ("the end of the grant", over(7, 3), [3, 4]),
        ("a log-out", tombstone(8, 4), [4, 4]),
        ("a log-out of another turn", tombstone(9, 5), [5, 4]),
    ] {
        let next = record.version();
        assert_eq!(store.save(record, expected).await.unwrap(), SaveOutcome::Stored, "{what}");
        assert_eq!(counts(), counted, "{what}");
        expected = Some(next);
    }
    assert_eq!((store.calls(StoreCalls::Writes), store.calls(StoreCalls::Loads)), (9, 0));
    assert_eq!(store.versions(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn held_calls_arrive_and_wait() {
    for (held, waits) in [
        (StoreCalls::All, [true, true, true]),
        (StoreCalls::Loads, [true, false, false]),
        (StoreCalls::Writes, [false, true, true]),
        (StoreCalls::Saves, [false, false, true]),
        (StoreCalls::Renewals, [false, true, false]),
    ] {
        let (one, two, three) = (filled(), filled(), filled());
        let holds = [&one, &two, &three].map(|store| store.hold(held));
        let (mut load, mut lease, mut save) =
            (load(&one).boxed(), lease(&two).boxed(), save(&three).boxed());
        let answers = [
            (&mut load).now_or_never().is_none(),
            (&mut lease).now_or_never().is_none(),
            (&mut save).now_or_never().is_none(),
        ];
        assert_eq!(answers, waits, "{held:?}");
        assert!([&one, &two, &three].iter().all(|store| store.calls(StoreCalls::All) == 1));
        drop(holds);
        if waits[0] {
            load.await.unwrap();
        }
        if waits[1] {
            lease.await.unwrap();
        }
        if waits[2] {
            save.await.unwrap();
            assert_eq!(version(&three), Some(2));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_can_be_let_through_one_by_one_and_waited_for() {
    let store = filled();
    let hold = store.hold(StoreCalls::All);
    let tasks = [(); 2].map(|()| {
        let store = store.clone();
        tokio::spawn(async move { load(&store).await })
    });
    store.calls_reached(StoreCalls::Loads, 2).await;
    hold.let_through(1);
    while tasks.iter().all(|task| !task.is_finished()) {
        yield_now().await;
    }
    assert_eq!(tasks.iter().filter(|task| task.is_finished()).count(), 1);
    hold.release();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), Some(1));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_fail_or_hang_by_their_kind_until_they_are_mended() {
    let (ok, failed, silent) = (Some(true), Some(false), None);
    for (calls, fault, expected) in [
        (StoreCalls::All, StoreFault::Fail, [failed; 3]),
        (StoreCalls::Writes, StoreFault::Fail, [ok, failed, failed]),
        (StoreCalls::Loads, StoreFault::Fail, [failed, ok, ok]),
        (StoreCalls::Saves, StoreFault::Fail, [ok, ok, failed]),
        (StoreCalls::Renewals, StoreFault::Fail, [ok, failed, ok]),
        (StoreCalls::All, StoreFault::Hang, [silent; 3]),
        (StoreCalls::Renewals, StoreFault::Hang, [ok, silent, ok]),
        (StoreCalls::Saves, StoreFault::LoseAnswer, [ok, ok, silent]),
    ] {
        let faulty = || {
            let store = filled();
            store.set_fault(calls, fault);
            store
        };
        assert_eq!(answered(faulty).await, expected, "{calls:?} {fault:?}");
        let mended = || {
            let store = faulty();
            store.set_fault(StoreCalls::All, None);
            store
        };
        assert_eq!(answered(mended).await, [ok; 3], "{calls:?} {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_or_hangs_writes_nothing_and_what_loses_its_answer_does() {
    for (fault, stored) in
        [(StoreFault::Fail, 1), (StoreFault::Hang, 1), (StoreFault::LoseAnswer, 2)]
    {
        let (saved, leased) = (filled(), filled());
        saved.set_fault(StoreCalls::Saves, fault);
        leased.set_fault(StoreCalls::Renewals, fault);
        let _ = timeout(DAY, save(&saved)).await;
        let _ = timeout(DAY, lease(&leased)).await;
        assert_eq!((version(&saved), version(&leased)), (Some(stored), Some(stored)), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_next_call_is_of_one_alone_and_comes_first() {
    let store = filled();
    store.set_fault(StoreCalls::Loads, StoreFault::Hang);
    store.fault_next(StoreCalls::Renewals, StoreFault::LoseAnswer);
    store.fault_next(StoreCalls::Loads, StoreFault::Fail);
    assert!(timeout(DAY, load(&store)).await.expect("it fails at once").is_err());
    assert!(timeout(DAY, load(&store)).await.is_err());
    timeout(DAY, lease(&store)).await.unwrap_err();
    assert_eq!(lease(&store).await.unwrap(), SaveOutcome::Conflict, "the first was carried out");
}

#[tokio::test(start_paused = true)]
async fn calls_panic() {
    let store = filled();
    store.set_fault(StoreCalls::All, StoreFault::Panic);
    let panics = |call: fn(GatedStore)| {
        let store = store.clone();
        std::thread::spawn(move || call(store)).join().is_err()
    };
    assert!(panics(|store| drop(store.load())), "a load before there is a future");
    assert!(panics(|store| drop(store.changed())));
    assert!(!panics(|store| drop(store.save(record(2, 2, None), Some(1)))));
    assert!(panics(|store| drop(save(&store).now_or_never())), "a write in its future");
    assert_eq!(version(&store), Some(1));
}

#[tokio::test(start_paused = true)]
async fn calls_take_their_time_by_their_kind() {
    let took = async |store: &GatedStore, call: StoreCalls| {
        let start = Instant::now();
        match call {
            StoreCalls::Loads => drop(load(store).await.unwrap()),
            StoreCalls::Saves => drop(save(store).await.unwrap()),
            _ => drop(lease(store).await.unwrap()),
        }
        start.elapsed().as_secs()
    };
    let store = filled();
    store.set_delay(StoreCalls::Loads, Duration::from_secs(3));
    store.set_delay(StoreCalls::Writes, Duration::from_secs(5));
    store.set_delay(StoreCalls::Saves, Duration::from_secs(7));
    assert_eq!(took(&store, StoreCalls::Loads).await, 3);
    assert_eq!(took(&store, StoreCalls::Renewals).await, 5);
    assert_eq!(took(&store, StoreCalls::Saves).await, 7);
    assert_eq!(took(&store.other(), StoreCalls::Saves).await, 0);
}

#[tokio::test(start_paused = true)]
async fn another_view_has_the_record_and_none_of_the_faults() {
    let store = filled();
    store.set_fault(StoreCalls::All, StoreFault::Fail);
    store.set_shared(false);
    let _hold = store.hold(StoreCalls::All);
    let other = store.other();
    assert_eq!(save(&other).await.unwrap(), SaveOutcome::Stored);
    assert_eq!(version(&store), Some(2));
    assert_eq!((store.calls(StoreCalls::All), other.calls(StoreCalls::All)), (0, 1));
    assert!(!other.is_shared());
    other.set_shared(true);
    assert!(other.is_shared() && !store.is_shared() && GatedStore::new().is_shared());
}

#[tokio::test(start_paused = true)]
async fn a_gated_store_loses_what_it_held() {
    let store = filled();
    lease(&store).await.unwrap();
    store.save(record(3, 2, None), Some(2)).await.unwrap();
    store.lose_writes(1);
    assert!(store.record().unwrap().lease().is_some());
    assert_eq!(load(&store.other()).await.unwrap(), Some(2));
    store.save(record(9, 3, None), Some(2)).await.unwrap();
    store.lose_writes(2);
    assert_eq!(version(&store), Some(1));
    assert_eq!(store.versions(), [1, 2, 3, 9]);
    store.lose_writes(5);
    assert_eq!(version(&store), None);

    store.put(record(20, 5, None));
    store.put(record(30, 4, None));
    assert_eq!(version(&store), Some(30), "whatever was there");
    store.wipe();
    assert_eq!(load(&store).await.unwrap(), None);
    assert_eq!(store.save(record(1, 1, None), None).await.unwrap(), SaveOutcome::Stored);
}

#[tokio::test(start_paused = true)]
async fn a_gated_store_tells_of_changes_or_keeps_silent() {
    let (silent, told) = (filled(), filled());
    told.set_tells(true);
    let heard = async |store: &GatedStore, record: Record| {
        let changed = store.changed();
        let expected = store.record().map(|stored| stored.version());
        store.other().save(record, expected).await.unwrap();
        changed.now_or_never().is_some()
    };
    for (record, news) in [
        (record(2, 1, Some("them")), false),
        (record(3, 1, Some("them")), false),
        (record(4, 1, None), true),
        (record(5, 2, None), true),
        (tombstone(6, 3), true),
    ] {
        assert_eq!(heard(&told, record.clone()).await, news, "{record:?}");
        assert!(!heard(&silent, record).await);
    }
    let changed = silent.changed();
    let another = silent.other();
    let of_another = another.changed();
    silent.tell();
    assert!(changed.now_or_never().is_some() && of_another.now_or_never().is_none());
    let changed = told.changed();
    told.wipe();
    assert!(changed.now_or_never().is_none(), "what is lost is no news");
}

#[test]
fn no_token_is_shown() {
    let shown = format!("{:?}", filled());
    assert!(shown.contains("GatedStore") && !shown.contains("access-1"), "{shown}");
}
