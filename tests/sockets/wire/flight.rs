//! One refresh, whoever needs it.

use std::pin::pin;

use futures::{FutureExt, future::join_all};

use super::support::{BOTH, Version, World, in_time};

// S13: any number of callers on an expired token cost one call
#[tokio::test]
async fn a_thousand_requests_on_an_expired_token_cost_one_call() {
    crate::room::for_many();
    for (version, requests) in [(Version::One, 200), (Version::Two, 1_000)] {
        let world = World::expired(version).await;
        let hold = world.server.hold();
        let mut waiting: Vec<_> = (0..requests).map(|_| Box::pin(world.send())).collect();
        for request in &mut waiting {
            assert!(request.now_or_never().is_none());
        }
        in_time(world.server.calls_reached(1)).await;
        assert_eq!(world.server.counts().requests, 0, "nobody goes out with an expired token");
        hold.release();
        for answer in join_all(waiting).await {
            assert_eq!(answer.unwrap().status, 200);
        }
        let counts = world.server.counts();
        assert_eq!((counts.calls, counts.requests, counts.refused), (1, requests, 0));
    }
}

// S16: wherever the caller that started a refresh gives up, the others are served and it is saved
#[tokio::test]
async fn a_caller_that_is_dropped_takes_no_rotated_token_with_it() {
    for version in BOTH {
        for refused in [false, true] {
            let world = match refused {
                false => World::expired(version).await,
                true => World::new(version).await,
            };
            world.server.revoke_access_tokens();
            let hold = world.server.hold();
            {
                let mut caller = pin!(world.send());
                tokio::select! {
                    _ = &mut caller => panic!("the refresh is held"),
                    _ = in_time(world.server.calls_reached(1)) => {}
                }
            }
            hold.release();
            // The flight has nobody left to wait for it.
            in_time(async {
                while world.session.status().generation() < 2 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            let kept = world.session.tokens().unwrap().refresh_token().cloned().unwrap();
            assert_ne!(kept.expose(), world.login.refresh_token);
            in_time(world.session.refresh()).await.unwrap();
            assert_eq!(world.status().await, 200);
            let counts = world.server.counts();
            assert_eq!((counts.calls, counts.refreshes, counts.reuses), (2, 2, 0));
        }
    }
}
