//! What a session that is not used costs, and what is done although no request comes.

use tokio::{runtime::Handle, time::sleep};
use tower_refresh::testing::Answer;

use crate::support::{Counted, Endpoints, login, secs, settle};

// S230: idle sessions cost one task for all and no look at the store
#[tokio::test(start_paused = true)]
async fn a_thousand_idle_sessions_cost_one_task_and_no_look_at_the_store() {
    let (endpoints, store) = (Endpoints::default(), Counted::new());
    let day = secs(24 * 3600);
    let sessions = endpoints.sessions().store(store.clone()).idle(day * 2).build();
    for user in 0..1_000 {
        let user = format!("user-{user}");
        let session = sessions.get(&user);
        session.set_tokens(login(&user)).await.unwrap();
    }
    sleep(secs(60)).await;
    let before = (endpoints.calls(), store.loads(), store.saves());
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 1);
    sleep(day).await;
    assert_eq!(sessions.len(), 1_000);
    assert_eq!((endpoints.calls(), store.loads(), store.saves()), before);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 1);
}

// S232: `keep_fresh` refreshes what is resident, a few at a time
#[tokio::test(start_paused = true)]
async fn what_is_in_memory_is_kept_fresh_a_few_at_a_time() {
    let endpoints = Endpoints::default();
    let users: Vec<_> = (0..50).map(|user| format!("user-{user}")).collect();
    let (busy, most) = (
        std::sync::Arc::new(std::sync::Mutex::new(0)),
        std::sync::Arc::new(std::sync::Mutex::new(0)),
    );
    for user in &users {
        let (name, busy, most, mut issued) = (user.clone(), busy.clone(), most.clone(), 0);
        endpoints.at(user).answer_always(move || {
            issued += 1;
            let mut busy = busy.lock().unwrap();
            *busy += 1;
            let mut most = most.lock().unwrap();
            *most = (*most).max(*busy);
            let response = tower_refresh::endpoint::TokenResponse::new(format!("{name}-{issued}"));
            let response = response.unwrap().with_expires_in(secs(600));
            Answer::Tokens(response).after(std::time::Duration::from_millis(100))
        });
    }
    let sessions = endpoints.sessions().keep_fresh(true).background(4).idle(secs(3600 * 10));
    let sessions = sessions.build();
    for user in &users {
        sessions.get(user).token().await.unwrap();
        *busy.lock().unwrap() = 0;
    }
    *most.lock().unwrap() = 0;
    assert_eq!(endpoints.calls(), 50);
    // The answers of one pass are over before the next pass.
    for _ in 0..1800 {
        sleep(secs(1)).await;
        *busy.lock().unwrap() = 0;
        for user in &users {
            assert!(sessions.get(user).status().is_live(), "{user}");
        }
    }
    let calls = endpoints.calls();
    assert!((50 * 3..=50 * 5).contains(&calls), "{calls}");
    assert!(*most.lock().unwrap() <= 4, "{}", most.lock().unwrap());
}

// S232: `keep_fresh` refreshes what is resident, a few at a time
#[tokio::test(start_paused = true)]
async fn what_is_not_to_be_kept_fresh_is_left_alone() {
    let endpoints = Endpoints::default();
    let sessions = endpoints.sessions().idle(secs(36_000)).build();
    sessions.get(&"ann".to_owned()).set_tokens(login("ann")).await.unwrap();
    sessions.get(&"ann".to_owned()).token().await.unwrap();
    sleep(secs(20_000)).await;
    settle().await;
    assert_eq!(endpoints.calls(), 1);
}
