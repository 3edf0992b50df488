//! Answers that are lost after the refresh token was spent.

use std::time::Duration;

use futures::FutureExt;
use tower_refresh::{
    Error, Event, Events,
    testing::{AuthServer, Fault},
};

use super::support::{BOTH, World, expired};

/// A world whose first answer is lost. Between attempts it would wait for hours, so whatever is
/// tried again within the test is tried at once.
async fn losing(grace: Duration) -> World {
    let server = AuthServer::builder().rotate(true).grace(grace).start().await.unwrap();
    server.fault(Fault::drop_connection().after_spending());
    World::with(server, BOTH[0], |builder, login| {
        // So long after a lost answer the end of the grant is asked for once more.
        builder.initial_tokens(expired(login)).attempt_timeout(Duration::from_secs(2))
    })
}

fn told(events: &mut Events) -> Vec<Event> {
    std::iter::from_fn(|| events.next().now_or_never().flatten()).collect()
}

// S67: a refresh token in doubt is presented once more, its end confirmed once, and then given up
#[tokio::test]
async fn a_lost_answer_is_asked_for_once_more_and_nobody_notices() {
    let world = losing(Duration::from_secs(60)).await;
    let mut events = world.session.events();
    assert_eq!(world.status().await, 200);
    let counts = world.server.counts();
    assert_eq!((counts.calls, counts.within_grace, counts.reuses), (2, 1, 0));
    assert!(matches!(told(&mut events)[..], [Event::Refreshed { .. }]));
}

// S67: a refresh token in doubt is presented once more, its end confirmed once, and then given up
#[tokio::test]
async fn a_strict_server_means_that_the_rotation_is_lost_and_somebody_has_to_log_in() {
    let world = losing(Duration::ZERO).await;
    let mut events = world.session.events();
    for _ in 0..3 {
        let error = world.send().await.unwrap_err();
        assert!(Error::find(&*error).unwrap().is_login_required());
    }
    let counts = world.server.counts();
    assert_eq!((counts.calls, counts.requests), (3, 0));
    assert!(counts.reuses > 0);
    let told = told(&mut events);
    assert!(matches!(told[..], [Event::RotationLost, Event::RefreshFailed { .. }]), "{told:?}");
    assert!(told[1].is_login_required());

    // A new login mends it at once.
    let login = world.server.log_in();
    world.session.set_tokens(login.tokens().unwrap()).await.unwrap();
    assert_eq!(world.status().await, 200);
    assert_eq!(world.server.counts().calls, 3);
}
