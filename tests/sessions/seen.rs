//! What operators see of a set.

use tokio::time::{Instant, sleep};
use tower_refresh::{ErrorKind, Event, SetEvent};

use crate::support::{Counted, Endpoints, login, secs, settle};

// S250: events carry their key, and a slow reader is told what it missed
#[tokio::test(start_paused = true)]
async fn events_carry_their_key_in_the_order_of_each_session() {
    let sessions = Endpoints::default().sessions().build();
    let mut events = sessions.events();
    let mut of_ben = sessions.get(&"ben".to_owned()).events();
    for user in ["ann", "ben"] {
        let session = sessions.get(&user.to_owned());
        session.set_tokens(login(user)).await.unwrap();
        session.token().await.unwrap();
        session.log_out().await.unwrap();
    }
    for user in ["ann", "ben"] {
        for expected in 0..3 {
            let Some(SetEvent::Session { key, event, .. }) = events.next().await else { panic!() };
            assert_eq!(key, user);
            assert_eq!(step(&event), Some(expected), "{event:?}");
        }
    }
    for expected in 0..3 {
        let event = of_ben.next().await.unwrap();
        assert_eq!(step(&event), Some(expected), "{event:?}");
    }
}

fn step(event: &Event) -> Option<u8> {
    match event {
        Event::TokensSet => Some(0),
        Event::Refreshed { generation: 1, adopted: false, .. } => Some(1),
        Event::LoggedOut => Some(2),
        _ => None,
    }
}

// S250: events carry their key, and a slow reader is told what it missed
#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_told_how_many_events_it_missed() {
    let sessions = Endpoints::default().sessions().build();
    let mut events = sessions.events();
    for user in 0..1030 {
        sessions.get(&format!("user-{user}")).log_out().await.unwrap();
    }
    assert!(matches!(events.next().await, Some(SetEvent::Lagged { skipped: 6, .. })));
    let Some(SetEvent::Session { key, .. }) = events.next().await else { panic!() };
    assert_eq!(key, "user-6");
}

// S252: no key and no token is printed
#[tokio::test(start_paused = true)]
async fn neither_keys_nor_tokens_are_printed() {
    let store = Counted::new();
    let builder = Endpoints::default().sessions().store(store).name("orders");
    let printed = format!("{builder:?}");
    let sessions = builder.build();
    let user = "ann@example.com".to_owned();
    sessions.get(&user).set_tokens(login("s3cret")).await.unwrap();
    let error = sessions.get(&user).token().await.map(|token| format!("{token:?}"));
    let printed = format!(
        "{printed} {sessions:?} {:?} {:?} {error:?} {:?}",
        sessions.get(&user),
        sessions.status(),
        sessions.get(&user).tokens(),
    );
    assert!(!printed.contains("example.com") && !printed.contains("s3cret"), "{printed}");
}

// S253: `close` waits for calls and saves, and says how many are left
#[tokio::test(start_paused = true)]
async fn close_waits_for_calls_and_saves_and_starts_no_more() {
    let (endpoints, store) = (Endpoints::default(), Counted::new());
    let sessions = endpoints.sessions().store(store.clone()).build();
    for user in ["ann", "ben", "cleo"] {
        sessions.get(&user.to_owned()).set_tokens(login(user)).await.unwrap();
    }
    sessions.get(&"cleo".to_owned()).token().await.unwrap();
    let hold = endpoints.at("ann").hold();
    let ann = sessions.get(&"ann".to_owned());
    let caller = tokio::spawn(async move { ann.token().await });
    endpoints.at("ann").calls_reached(1).await;
    assert_eq!(sessions.status().refreshing(), 1);

    let closing = tokio::spawn({
        let sessions = sessions.clone();
        async move { sessions.close().await }
    });
    sleep(secs(5)).await;
    assert!(!closing.is_finished());
    drop(hold);
    closing.await.unwrap().unwrap();
    assert_eq!(caller.await.unwrap().unwrap().expose(), "ann.access-1");
    assert_eq!(sessions.status().refreshing(), 0);

    for user in ["ben", "new"] {
        let error = sessions.get(&user.to_owned()).token().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{user}");
    }
    let live = sessions.get(&"cleo".to_owned()).token().await.unwrap();
    assert_eq!((live.expose(), endpoints.calls()), ("cleo.access-1", 2));
}

// S253: `close` waits for calls and saves, and says how many are left
#[tokio::test(start_paused = true)]
async fn close_says_how_many_sessions_are_left() {
    let (endpoints, store) = (Endpoints::default(), Counted::new());
    let sessions = endpoints.sessions().store(store.clone()).build();
    store.fail(true);
    for user in ["ann", "ben"] {
        sessions.get(&user.to_owned()).set_tokens(login(user)).await.unwrap_err();
    }
    settle().await;
    let began = Instant::now();
    let error = sessions.close().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.to_string().contains("2 sessions"), "{error}");
    assert!(began.elapsed() < secs(60));
}
