//! How a session gets its first tokens: from the store, or from what the program gives.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::join_all;
use tokio::{
    sync::Semaphore,
    task::yield_now,
    time::{Instant, sleep, timeout},
};
use tower_refresh::{BoxError, ErrorKind, Sessions, Tokens};

use crate::support::{Counted, Endpoints, login, secs, settle};

type Given = Result<Option<Tokens>, BoxError>;

/// Counts how often it is asked, and gives what `given` does.
fn asked<F>(
    endpoints: &Endpoints,
    store: Option<&Counted>,
    given: F,
) -> (Sessions<String>, Arc<AtomicUsize>)
where
    F: Fn(&str) -> Given + Clone + Send + Sync + 'static,
{
    let count = Arc::new(AtomicUsize::new(0));
    let asked = count.clone();
    let sessions = endpoints.sessions().initial_tokens(move |user| {
        asked.fetch_add(1, SeqCst);
        let given = given.clone();
        async move {
            sleep(Duration::from_millis(50)).await;
            given(&user)
        }
    });
    let sessions = match store {
        Some(store) => sessions.store(store.clone()),
        None => sessions,
    };
    (sessions.build(), count)
}

fn of_all(user: &str) -> Given {
    Ok(Some(login(user)))
}

// S210: ten thousand first requests for one key load, ask and call once
#[tokio::test(start_paused = true)]
async fn ten_thousand_first_requests_of_one_user_load_ask_and_call_once() {
    let (endpoints, store) = (Endpoints::default(), Counted::new());
    let (sessions, asked) = asked(&endpoints, Some(&store), of_all);
    let callers = (0..10_000).map(|_| {
        let session = sessions.get(&"ann".to_owned());
        tokio::spawn(async move { session.token().await })
    });
    for token in join_all(callers).await {
        assert_eq!(token.unwrap().unwrap().expose(), "ann.access-1");
    }
    assert_eq!((asked.load(SeqCst), endpoints.calls(), sessions.len()), (1, 1, 1));
    assert!(store.loads() < 5, "{}", store.loads());
}

// S211: a first caller that gives up takes nothing from the others
#[tokio::test(start_paused = true)]
async fn wherever_the_first_caller_gives_up_the_others_are_served() {
    for polls in 0..12 {
        let endpoints = Endpoints::default();
        let (sessions, asked) = asked(&endpoints, None, of_all);
        let session = sessions.get(&"ann".to_owned());
        let first = tokio::spawn({
            let session = session.clone();
            async move { session.token().await }
        });
        for _ in 0..polls {
            yield_now().await;
        }
        first.abort();
        drop(session);
        let token = sessions.get(&"ann".to_owned()).token().await.unwrap();
        assert_eq!(token.expose(), "ann.access-1");
        assert_eq!((asked.load(SeqCst), endpoints.calls()), (1, 1), "after {polls} polls");
    }
}

// S212: callers with less time than a load takes fill the set all the same
#[tokio::test(start_paused = true)]
async fn callers_with_less_time_than_a_load_takes_fill_the_set_all_the_same() {
    let endpoints = Endpoints::default();
    let (sessions, asked) = asked(&endpoints, None, of_all);
    let ann = "ann".to_owned();
    for _ in 0..2 {
        timeout(Duration::from_millis(20), sessions.get(&ann).token()).await.unwrap_err();
    }
    sleep(Duration::from_millis(10)).await;
    let token = timeout(Duration::from_millis(1), sessions.get(&ann).token()).await;
    assert_eq!(token.unwrap().unwrap().expose(), "ann.access-1");
    assert_eq!(asked.load(SeqCst), 1);
}

// S213: a failure to give first tokens is shared, and is followed by a pause
#[tokio::test(start_paused = true)]
async fn what_fails_to_give_tokens_fails_all_callers_once_and_then_works() {
    let endpoints = Endpoints::default();
    let fails = Arc::new(AtomicUsize::new(1));
    let (sessions, asked) = asked(&endpoints, None, move |user| {
        match fails.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Err("the database is down".into()),
            Err(_) => Ok(Some(login(user))),
        }
    });
    let session = sessions.get(&"ann".to_owned());
    for outcome in join_all((0..100).map(|_| session.token())).await {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Store);
        assert!(format!("{error:?}").contains("the database is down"));
    }
    assert_eq!(asked.load(SeqCst), 1);
    sleep(secs(1)).await;
    session.token().await.unwrap();
    assert_eq!((asked.load(SeqCst), endpoints.calls()), (2, 1));
}

// S214: a user without tokens is asked for again after 5 s, and a log-in counts at once
#[tokio::test(start_paused = true)]
async fn a_user_without_tokens_has_to_log_in_and_is_asked_for_again_after_five_seconds() {
    let endpoints = Endpoints::default();
    let (sessions, asked) = asked(&endpoints, None, |_| Ok(None));
    let session = sessions.get(&"ann".to_owned());
    let error = session.token().await.unwrap_err();
    assert!(error.is_login_required(), "{error:?}");
    let ended = Instant::now();
    sleep(Duration::from_millis(4_999)).await;
    assert!(session.token().await.unwrap_err().is_login_required());
    assert_eq!(asked.load(SeqCst), 1);
    sleep(Duration::from_millis(1)).await;
    session.token().await.unwrap_err();
    assert_eq!((asked.load(SeqCst), ended.elapsed() < secs(6)), (2, true));

    session.set_tokens(login("ann")).await.unwrap();
    assert_eq!(session.token().await.unwrap().expose(), "ann.access-1");
    assert_eq!((asked.load(SeqCst), endpoints.calls()), (2, 1));
}

// S215: what panics or hangs over first tokens is an error in time
#[tokio::test(start_paused = true)]
async fn what_panics_or_hangs_over_the_first_tokens_is_an_error_in_time() {
    let panics = Endpoints::default().sessions().initial_tokens(|user| async move {
        assert!(user.is_empty(), "it panics");
        Ok(None)
    });
    let error = panics.build().get(&"ann".to_owned()).token().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);

    let hangs = Endpoints::default().sessions().initial_tokens(|_| pending());
    let began = Instant::now();
    let error = hangs.build().get(&"ann".to_owned()).token().await.unwrap_err();
    assert_eq!((error.kind(), began.elapsed()), (ErrorKind::Store, secs(10)));
}

// S216: no first tokens are asked for once the user has logged out
#[tokio::test(start_paused = true)]
async fn a_user_who_is_logged_out_in_the_store_is_not_asked_for() {
    let (endpoints, store) = (Endpoints::default(), Counted::new());
    let (first, _) = asked(&endpoints, Some(&store), of_all);
    first.get(&"ann".to_owned()).token().await.unwrap();
    first.get(&"ann".to_owned()).log_out().await.unwrap();

    let (sessions, asked) = asked(&endpoints, Some(&store), of_all);
    let error = sessions.get(&"ann".to_owned()).token().await.unwrap_err();
    assert!(error.is_login_required(), "{error:?}");
    assert_eq!((asked.load(SeqCst), endpoints.calls()), (0, 1));
}

// S217: of different first tokens the stored ones win
#[tokio::test(start_paused = true)]
async fn of_two_processes_that_are_given_different_tokens_the_stored_one_wins() {
    let (endpoints, store) = (Endpoints::default(), Counted::new());
    let held = endpoints.at("ann").hold();
    let (first, _) = asked(&endpoints, Some(&store), of_all);
    let (second, _) =
        asked(&endpoints, Some(&store), |_| Ok(Some(Tokens::from_refresh_token("another")?)));
    let callers: Vec<_> = [&first, &second]
        .into_iter()
        .map(|sessions| {
            let session = sessions.get(&"ann".to_owned());
            tokio::spawn(async move { session.token().await })
        })
        .collect();
    endpoints.at("ann").calls_reached(1).await;
    drop(held);
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().expose(), "ann.access-1");
    }
    assert_eq!(endpoints.calls(), 1, "of one process");
}

// S231: what hangs for one key delays no other
#[tokio::test(start_paused = true)]
async fn what_hangs_for_one_user_delays_no_other() {
    let endpoints = Endpoints::default();
    let stuck = Arc::new(Semaphore::new(0));
    let waits = stuck.clone();
    let sessions = endpoints.sessions().initial_tokens(move |user| {
        let waits = waits.clone();
        async move {
            if user == "ann" {
                let _ = waits.acquire().await;
            }
            Ok(Some(login(&user)))
        }
    });
    let sessions = sessions.build();
    let _hold = endpoints.at("ben").hold();
    for user in ["ann", "ben"] {
        let session = sessions.get(&user.to_owned());
        tokio::spawn(async move { session.token().await });
    }
    settle().await;
    let began = Instant::now();
    let cleo = sessions.get(&"cleo".to_owned());
    cleo.token().await.unwrap();
    sleep(secs(1)).await;
    cleo.refresh().await.unwrap();
    cleo.log_out().await.unwrap();
    cleo.close().await.unwrap();
    assert!(began.elapsed() < secs(3), "{:?}", began.elapsed());
}
