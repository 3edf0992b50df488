//! A login or a log-out whose saving nobody heard of, and what others have made of it meanwhile.

use std::time::Duration;

use tokio::time::sleep;
use tower_refresh::{
    Session, Tokens,
    testing::{GatedEndpoint, GatedStore, StoreCalls, StoreFault},
};

use crate::{stored::refresh_token, support::live};

fn session(store: &GatedStore) -> Session {
    Session::builder(GatedEndpoint::new()).initial_tokens(live()).store(store.clone()).build()
}

fn login(who: &str) -> Tokens {
    Tokens::new(who).unwrap().with_refresh_token(format!("refresh-{who}")).unwrap()
}

/// The refresh token that is in use, and the one that is stored, once all is saved.
async fn outcome(session: &Session, store: &GatedStore) -> (Option<String>, Option<String>) {
    session.close().await.unwrap();
    let in_use = session.tokens();
    let in_use = in_use.and_then(|tokens| Some(tokens.refresh_token()?.expose().to_owned()));
    (in_use, refresh_token(store))
}

/// Decides something, of which the store hears and the session does not hear that it has.
async fn decide_unheard(session: &Session, store: &GatedStore, login: Option<Tokens>) {
    store.set_fault(StoreCalls::Writes, StoreFault::LoseAnswer);
    let decided = match login {
        Some(login) => session.set_tokens(login).await,
        None => session.log_out().await,
    };
    assert!(decided.is_err());
    store.set_fault(StoreCalls::All, StoreFault::Fail);
}

// S40: what is set or cleared during a refresh wins
#[tokio::test(start_paused = true)]
async fn what_others_have_made_of_a_login_is_not_undone_by_who_never_heard_of_its_saving() {
    for ours in [Some(login("ours")), None] {
        for then in ["rotated", "a login", "a log-out", "both"] {
            let store = GatedStore::new();
            let (here, there) = (session(&store), session(&store.other()));
            here.ready().await.unwrap();
            there.ready().await.unwrap();
            decide_unheard(&here, &store, ours.clone()).await;
            there.load().await.unwrap();
            let expected = match then {
                "rotated" if ours.is_none() => continue,
                "rotated" => {
                    there.refresh().await.unwrap();
                    Some("refresh-1")
                }
                "a login" => {
                    there.set_tokens(login("theirs")).await.unwrap();
                    Some("refresh-theirs")
                }
                "a log-out" => {
                    there.log_out().await.unwrap();
                    None
                }
                _ => {
                    there.log_out().await.unwrap();
                    there.set_tokens(login("theirs")).await.unwrap();
                    there.refresh().await.unwrap();
                    Some("refresh-1")
                }
            };
            let expected = expected.map(str::to_owned);
            store.set_fault(StoreCalls::All, None);
            let what = format!("{then} after {ours:?}");
            assert_eq!(outcome(&here, &store).await, (expected.clone(), expected), "{what}");
        }
    }
}

// S40: what is set or cleared during a refresh wins
#[tokio::test(start_paused = true)]
async fn of_two_logins_that_did_not_know_of_each_other_the_one_that_was_saved_last_stays() {
    let store = GatedStore::new();
    let theirs = store.other();
    let (here, there) = (session(&store), session(&theirs));
    here.ready().await.unwrap();
    there.ready().await.unwrap();
    theirs.set_fault(StoreCalls::All, StoreFault::Fail);
    assert!(there.set_tokens(login("theirs")).await.is_err());
    decide_unheard(&here, &store, Some(login("ours"))).await;
    assert_eq!(refresh_token(&store).unwrap(), "refresh-ours");

    theirs.set_fault(StoreCalls::All, None);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(refresh_token(&store).unwrap(), "refresh-theirs");
    store.set_fault(StoreCalls::All, None);
    let expected = Some("refresh-theirs".to_owned());
    assert_eq!(outcome(&here, &store).await, (expected.clone(), expected));
}
