use tower_refresh::ErrorKind;

use super::support::{World, live};

// S69
#[tokio::test(start_paused = true)]
async fn a_token_of_another_session_replaces_nothing() {
    let (a, b) = (World::new(live()), World::new(live()));
    let (of_a, of_b) = (a.session.token().await.unwrap(), b.session.token().await.unwrap());
    // Alike in all but the session, as are the first tokens of any two users.
    assert_eq!(of_a.generation(), of_b.generation());
    assert_ne!(of_a.id(), of_b.id());

    let error = b.session.replace(of_a.id()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("another session"), "{error}");
    assert_eq!(b.session.token().await.unwrap().id(), of_b.id(), "it stays in use");
    assert_eq!((a.endpoint.calls(), b.endpoint.calls()), (0, 0));
    // And not even a late one that would be an older generation here.
    b.session.refresh().await.unwrap();
    b.session.replace(of_a.id()).await.unwrap_err();
    assert_eq!(b.endpoint.calls(), 1);
    // Its own session replaces it.
    let next = a.session.replace(of_a.id()).await.unwrap();
    assert_eq!(next.expose(), "access-1");
}
