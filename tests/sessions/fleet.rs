//! Sets of several processes with one store.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::sleep;
use tower::ServiceExt;
use tower_refresh::{
    BoxError, ErrorKind, Sessions, Tokens,
    endpoint::RefreshRequest,
    store::{Record, SaveOutcome, keyed_fn},
    testing::GatedEndpoint,
};

use crate::support::{Counted, Endpoints, login, secs, settle};

fn set(endpoints: &Endpoints, store: Counted) -> Sessions<String> {
    endpoints.sessions().store(store).idle(secs(36_000)).build()
}

async fn token(sessions: &Sessions<String>) -> String {
    sessions.get(&"ann".to_owned()).token().await.unwrap().expose().to_owned()
}

// S235: a refresh of one process is used by the others after one load
#[tokio::test(start_paused = true)]
async fn a_refresh_of_one_process_is_used_by_the_other_after_one_load() {
    let (endpoints, store) = (Endpoints::default(), Counted::new());
    let [one, other] = [(); 2].map(|()| set(&endpoints, store.telling()));
    one.get(&"ann".to_owned()).set_tokens(login("ann")).await.unwrap();
    let both = join_all([&one, &other].map(token)).await;
    assert_eq!((both, endpoints.calls()), (vec!["ann.access-1".to_owned(); 2], 1));

    sleep(secs(10)).await;
    one.get(&"ann".to_owned()).refresh().await.unwrap();
    settle().await;
    let loads = store.loads();
    assert_eq!(token(&other).await, "ann.access-2", "its next use");
    assert_eq!((store.loads() - loads, endpoints.calls()), (1, 2));
    assert_eq!(token(&other).await, "ann.access-2");
    assert_eq!(store.loads() - loads, 1);
}

// S236: a log-out of one process is followed by the next request in another
#[tokio::test(start_paused = true)]
async fn a_log_out_of_one_process_is_followed_by_the_next_request_of_the_other() {
    let (endpoints, store) = (Endpoints::default(), Counted::new());
    let [one, other] = [(); 2].map(|()| set(&endpoints, store.telling()));
    one.get(&"ann".to_owned()).set_tokens(login("ann")).await.unwrap();
    token(&one).await;
    token(&other).await;
    sleep(secs(3000)).await;
    one.get(&"ann".to_owned()).log_out().await.unwrap();
    settle().await;
    let error = other.get(&"ann".to_owned()).token().await.unwrap_err();
    assert!(error.is_login_required(), "{error:?}");
    // And the next log-in.
    one.get(&"ann".to_owned()).set_tokens(login("ann")).await.unwrap();
    settle().await;
    assert_eq!(token(&other).await, "ann.access-2");
}

// S238: without a stream of changes a log-out is followed within 30 s of use
#[tokio::test(start_paused = true)]
async fn without_a_stream_of_changes_a_log_out_is_followed_within_half_a_minute_of_use() {
    let (endpoints, store) = (Endpoints::default(), Counted::new());
    let [one, other] = [(); 2].map(|()| set(&endpoints, store.clone()));
    one.get(&"ann".to_owned()).set_tokens(login("ann")).await.unwrap();
    token(&one).await;
    token(&other).await;
    one.get(&"ann".to_owned()).log_out().await.unwrap();
    for _ in 0..30 {
        sleep(secs(1)).await;
        let _ = other.get(&"ann".to_owned()).token().await;
        settle().await;
    }
    let error = other.get(&"ann".to_owned()).token().await.unwrap_err();
    assert!(error.is_login_required(), "{error:?}");
}

// S239: a process's own saves cost it no load
#[tokio::test(start_paused = true)]
async fn what_a_process_has_saved_itself_costs_it_no_load() {
    let (endpoints, store) = (Endpoints::default(), Counted::new());
    let one = set(&endpoints, store.telling());
    one.get(&"ann".to_owned()).set_tokens(login("ann")).await.unwrap();
    token(&one).await;
    settle().await;
    let loads = store.loads();
    for _ in 0..10 {
        token(&one).await;
        settle().await;
    }
    assert_eq!(store.loads(), loads);
}

// S240: what the store has lost is put back before older tokens are spent
#[tokio::test(start_paused = true)]
async fn what_the_store_has_lost_is_put_back_before_older_tokens_are_spent() {
    let (endpoints, store) = (Endpoints::default(), Counted::new());
    let [one, other] = [(); 2].map(|()| set(&endpoints, store.telling()));
    one.get(&"ann".to_owned()).set_tokens(login("ann")).await.unwrap();
    token(&one).await;
    token(&other).await;
    let old = store.record("ann").await;
    sleep(secs(10)).await;
    one.get(&"ann".to_owned()).refresh().await.unwrap();
    // A failover: what is stored is older again, and the store tells of it.
    store.force("ann", old).await;
    settle().await;
    let record = store.record("ann").await;
    assert_eq!(record.tokens().unwrap().access_token().unwrap().expose(), "ann.access-2");
    assert_eq!(token(&other).await, "ann.access-2");
    assert_eq!(endpoints.calls(), 2);
}

// S208: a record of another key is an error that names both
#[tokio::test(start_paused = true)]
async fn a_record_that_names_another_user_is_an_error_that_names_both() {
    let rows = std::sync::Arc::new(std::sync::Mutex::new(None::<Record>));
    // A mistake in the queries: all users are in one row.
    let read = rows.clone();
    let load = move |_user: String| {
        let record = read.lock().unwrap().clone();
        async move { Ok(record) }
    };
    let save = move |_user: String, record: Record, expected: Option<u64>| {
        let mut rows = rows.lock().unwrap();
        let outcome = match rows.as_ref().map(Record::version) == expected {
            true => SaveOutcome::Stored,
            false => SaveOutcome::Conflict,
        };
        if outcome == SaveOutcome::Stored {
            *rows = Some(record);
        }
        async move { Ok::<_, BoxError>(outcome) }
    };
    let calls = GatedEndpoint::new();
    let endpoint = calls.clone();
    let sessions = Sessions::builder(move |_: &String| {
        endpoint.clone().map_request(|request: RefreshRequest| {
            assert!(request.issued_for().is_none(), "a key is no issuer");
            request
        })
    });
    let sessions = sessions.store(keyed_fn(load, save).key_name(String::clone)).build();
    let seed = Tokens::from_refresh_token("s3cret").unwrap();
    sessions.get(&"ann".to_owned()).set_tokens(seed).await.unwrap();
    sessions.get(&"ann".to_owned()).token().await.unwrap();
    sleep(Duration::from_secs(10)).await;
    sessions.get(&"ann".to_owned()).refresh().await.unwrap();

    let error = sessions.get(&"ben".to_owned()).token().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ForeignRecord);
    let said = format!("{error} {error:?}");
    assert!(said.contains("ann") && said.contains("ben"), "{said}");
    assert!(!said.contains("s3cret") && !said.contains("access-1"), "{said}");
    assert_eq!(calls.calls(), 2);
}
