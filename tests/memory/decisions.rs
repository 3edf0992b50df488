//! A login or a log-out whose saving nobody heard of, and what others have made of it meanwhile.

use std::time::Duration;

use tokio::time::sleep;
use tower_refresh::{Session, Tokens, testing::GatedEndpoint};

use crate::{
    support::live,
    vault::{Fault, Vault},
};

fn session(vault: &Vault) -> Session {
    Session::builder(GatedEndpoint::new()).initial_tokens(live()).store(vault.clone()).build()
}

fn login(who: &str) -> Tokens {
    Tokens::new(who).unwrap().with_refresh_token(format!("refresh-{who}")).unwrap()
}

/// The refresh token that is in use, and the one that is stored, once all is saved.
async fn outcome(session: &Session, vault: &Vault) -> (Option<String>, Option<String>) {
    session.close().await.unwrap();
    let in_use = session.tokens();
    let in_use = in_use.and_then(|tokens| Some(tokens.refresh_token()?.expose().to_owned()));
    (in_use, vault.refresh_token())
}

/// Decides something, of which the store hears and the session does not hear that it has.
async fn decide_unheard(session: &Session, vault: &Vault, login: Option<Tokens>) {
    vault.set(Fault::LosesAnswers);
    let decided = match login {
        Some(login) => session.set_tokens(login).await,
        None => session.log_out().await,
    };
    assert!(decided.is_err());
    vault.set(Fault::Down);
}

// S40: what is set or cleared during a refresh wins
#[tokio::test(start_paused = true)]
async fn what_others_have_made_of_a_login_is_not_undone_by_who_never_heard_of_its_saving() {
    for ours in [Some(login("ours")), None] {
        for then in ["rotated", "a login", "a log-out", "both"] {
            let vault = Vault::new();
            let (here, there) = (session(&vault), session(&vault.other_view()));
            here.ready().await.unwrap();
            there.ready().await.unwrap();
            decide_unheard(&here, &vault, ours.clone()).await;
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
            vault.set(Fault::None);
            let what = format!("{then} after {ours:?}");
            assert_eq!(outcome(&here, &vault).await, (expected.clone(), expected), "{what}");
        }
    }
}

// S40: what is set or cleared during a refresh wins
#[tokio::test(start_paused = true)]
async fn of_two_logins_that_did_not_know_of_each_other_the_one_that_was_saved_last_stays() {
    let vault = Vault::new();
    let theirs = vault.other_view();
    let (here, there) = (session(&vault), session(&theirs));
    here.ready().await.unwrap();
    there.ready().await.unwrap();
    theirs.set(Fault::Down);
    assert!(there.set_tokens(login("theirs")).await.is_err());
    decide_unheard(&here, &vault, Some(login("ours"))).await;
    assert_eq!(vault.refresh_token().unwrap(), "refresh-ours");

    theirs.set(Fault::None);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(vault.refresh_token().unwrap(), "refresh-theirs");
    vault.set(Fault::None);
    let expected = Some("refresh-theirs".to_owned());
    assert_eq!(outcome(&here, &vault).await, (expected.clone(), expected));
}
