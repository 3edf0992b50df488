use std::sync::Arc;

use tower_refresh::{Session, store::MemoryStore, testing::GatedEndpoint};

use super::support::{expired, live};

#[tokio::test(start_paused = true)]
async fn a_look_at_the_store_says_how_things_stand_and_calls_nothing() {
    let store = Arc::new(MemoryStore::new());
    let endpoint = GatedEndpoint::new();
    let session = |tokens| {
        Session::builder(endpoint.clone()).store(store.clone()).initial_tokens(tokens).build()
    };

    let first = session(expired());
    let status = first.load().await.unwrap();
    assert!(!status.is_live() && first.tokens().is_none(), "the store is empty");
    first.ready().await.unwrap();
    assert_eq!(endpoint.calls(), 1);

    // What is stored is in use after a look, whatever the other was to start with.
    let second = session(live());
    assert!(!second.status().is_live());
    assert!(second.load().await.unwrap().is_live());
    assert_eq!(second.token().await.unwrap().expose(), "access-1");

    first.log_out().await.unwrap();
    assert!(second.load().await.unwrap().is_login_required());
    assert!(session(live()).load().await.unwrap().is_login_required());
    assert_eq!(endpoint.calls(), 1);
}
