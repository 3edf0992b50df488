//! When a token counts as expired, wherever its life was read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, advance};
use tower::service_fn;
use tower_refresh::{
    BoxError, Error, Session, Tokens,
    endpoint::{EndpointError, RefreshRequest, TokenResponse},
    testing::{GatedEndpoint, Issuer},
};

use crate::support::{World, expired};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Now by the wall clock, as a NumericDate.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn jwt(claims: Value) -> String {
    Issuer::new("key").sign(&claims)
}

impl World {
    /// A session that has just obtained this answer.
    async fn having_received(response: TokenResponse) -> Self {
        let world = Self::new(expired());
        world.endpoint.answer(response);
        assert_eq!(world.get().await.unwrap(), StatusCode::OK);
        assert_eq!(world.endpoint.calls(), 1);
        world
    }

    /// The token in use serves for `life`, give or take the margins before its end.
    async fn assert_lives(&self, life: Duration) {
        let calls = self.endpoint.calls();
        // Real time passes too, and a busy machine takes its time.
        let ahead = MINUTE.min(life / 5) + Duration::from_secs(5);
        advance(life - ahead).await;
        assert_eq!(self.get().await.unwrap(), StatusCode::OK);
        tokio::task::yield_now().await;
        assert_eq!(self.endpoint.calls(), calls, "refreshed too early");
        advance(ahead).await;
        let hold = self.endpoint.hold();
        assert!(self.get().now_or_never().is_none(), "sent with an expired token");
        hold.release();
        assert_eq!(self.get().await.unwrap(), StatusCode::OK);
        assert_eq!(self.endpoint.calls(), calls + 1);
    }

    /// Nothing says when the token in use expires: it serves until it is refused.
    async fn assert_lives_until_refused(&self) {
        let calls = self.endpoint.calls();
        advance(9 * YEAR).await;
        assert_eq!(self.get().await.unwrap(), StatusCode::OK);
        tokio::task::yield_now().await;
        assert_eq!(self.endpoint.calls(), calls);
        self.api.refuse(&self.api.tokens().pop().unwrap());
        assert_eq!(self.get().await.unwrap(), StatusCode::OK);
        assert_eq!(self.endpoint.calls(), calls + 1);
    }
}

fn received(claims: Value) -> TokenResponse {
    TokenResponse::new(jwt(claims)).unwrap()
}

// S4: a token expires to the nanosecond where the leeway begins
#[tokio::test(start_paused = true)]
async fn the_leeway_begins_to_the_nanosecond() {
    let life = Duration::from_secs(1000);
    let leeway = Duration::from_secs(10);
    let nanosecond = Duration::from_nanos(1);
    for (age, sent) in [
        (life - leeway - nanosecond, true),
        (life - leeway, false),
        (life - leeway + nanosecond, false),
    ] {
        // Issued by a clock that is ahead of ours, it has its whole life before it: how long it
        // took to get here by the wall clock, which no test can pause, does not count.
        let iat = now() as u64 + 3600;
        let seed = Tokens::new(jwt(json!({ "iat": iat, "exp": iat + 1000 }))).unwrap();
        let world = World::new(seed);
        let hold = world.endpoint.hold();
        advance(age).await;
        let answer = world.get().now_or_never();
        assert_eq!(answer.is_some(), sent, "{age:?}");
        assert_eq!(world.api.seen().len(), usize::from(sent), "{age:?}");
        hold.release();
    }
}

// S5: an opaque token without a stated end serves until it is refused
#[tokio::test(start_paused = true)]
async fn an_opaque_token_serves_until_it_is_refused() {
    let seed = Tokens::new("opaque").unwrap().with_refresh_token("refresh-0").unwrap();
    let world = World::new(seed);
    world.endpoint.set_life(None);
    world.assert_lives_until_refused().await;
    // The one that came from the endpoint as well.
    assert_eq!(world.api.tokens().pop().unwrap(), "access-1");
    world.assert_lives_until_refused().await;
}

// S6: a refresh token alone is enough to begin with; without one the grant decides
#[tokio::test(start_paused = true)]
async fn a_refresh_token_alone_buys_the_first_access_token() {
    let world = World::new(Tokens::from_refresh_token("refresh-0").unwrap());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["access-1"]);
    let presented = world.endpoint.presented().pop().unwrap();
    assert_eq!(presented.unwrap().expose(), "refresh-0");
}

// S6: a refresh token alone is enough to begin with; without one the grant decides
#[tokio::test(start_paused = true)]
async fn no_tokens_are_a_login_required_for_a_grant_that_needs_one_and_fine_for_another() {
    let needy = service_fn(async |request: RefreshRequest| match request.refresh_token() {
        Some(_) => Ok(TokenResponse::new("access")?),
        None => {
            Err::<_, BoxError>(EndpointError::invalid_grant("there is no refresh token").into())
        }
    });
    let world = World::of(GatedEndpoint::new(), Session::builder(needy).build());
    for _ in 0..2 {
        let error = world.get().await.unwrap_err();
        assert!(Error::find(error.as_ref()).unwrap().is_login_required());
        assert!(world.api.seen().is_empty());
    }

    // `client_credentials`
    let world = World::new(Tokens::default());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.endpoint.presented().len(), 1);
    assert!(world.endpoint.presented()[0].is_none());
}

// S10: a life is read from numbers, strings and nonsense without harm
#[tokio::test(start_paused = true)]
async fn a_life_is_read_from_whatever_the_server_says() {
    let opaque = || TokenResponse::new("opaque").unwrap();
    let lives = [
        (opaque().with_expires_in(Duration::from_millis(600_500)), 10 * MINUTE),
        (received(json!({ "exp": now() + 600.5 })), 10 * MINUTE),
        (received(json!({ "iat": now(), "exp": now() + 600.0 })), 10 * MINUTE),
        (opaque().with_expires_in(Duration::from_secs(1_000_000_000_000_000_000)), 10 * YEAR),
        (opaque().with_expires_in(Duration::MAX), 10 * YEAR),
    ];
    for (response, life) in lives {
        World::having_received(response).await.assert_lives(life).await;
    }
    for claims in [json!({}), json!({ "exp": "soon" }), json!({ "exp": null }), json!(["exp"])] {
        World::having_received(received(claims)).await.assert_lives_until_refused().await;
    }
}

// S95: the shortest life that the server states counts
#[tokio::test(start_paused = true)]
async fn the_shortest_of_all_that_the_server_says_counts() {
    let in_minutes = |minutes: f64| now() + 60.0 * minutes;
    let date = || UNIX_EPOCH + Duration::from_secs_f64(now());
    for (response, life) in [
        (received(json!({ "exp": in_minutes(600.0) })).with_expires_in(HOUR), HOUR),
        (received(json!({ "exp": in_minutes(10.0) })).with_expires_in(HOUR), 10 * MINUTE),
        (received(json!({ "exp": in_minutes(10.0) })).with_date(date()), 10 * MINUTE),
        // Projected from a file, 50 minutes old.
        (received(json!({ "iat": in_minutes(-50.0), "exp": in_minutes(10.0) })), 10 * MINUTE),
        // Milliseconds, and digits in strings.
        (received(json!({ "iat": now() * 1e3, "exp": in_minutes(60.0) })), HOUR),
        (received(json!({ "exp": in_minutes(60.0) * 1e3 })), HOUR),
        (
            received(json!({ "iat": now().to_string(), "exp": in_minutes(15.0).to_string() })),
            15 * MINUTE,
        ),
        // A word of zero or less says nothing beside another.
        (received(json!({ "exp": now() - 1.0 })).with_date(date()).with_expires_in(HOUR), HOUR),
        (received(json!({ "exp": in_minutes(60.0), "iat": in_minutes(90.0) })), HOUR),
        (received(json!({ "exp": in_minutes(60.0) })).with_expires_in(Duration::ZERO), HOUR),
        // 9999-12-31, which is "never".
        (received(json!({ "exp": 253_402_300_799_u64 })).with_expires_in(HOUR), HOUR),
    ] {
        World::having_received(response).await.assert_lives(life).await;
    }
}

// S95: what says nothing leaves the end of a token to a refusal
#[tokio::test(start_paused = true)]
async fn a_token_of_which_nothing_is_known_serves_until_it_is_refused() {
    for response in [
        TokenResponse::new("zero").unwrap().with_expires_in(Duration::ZERO),
        received(json!({ "exp": now() - 1.0 })),
        received(json!({ "exp": -5 })),
        received(json!({ "iat": now(), "exp": now() - 60.0 })),
        received(json!({ "exp": 253_402_300_799_u64 })),
        received(json!({ "exp": 253_402_300_799_000_u64 })),
        received(json!({ "exp": now() + 9e9 })),
        received(json!({ "exp": 1e300 })),
    ] {
        World::having_received(response).await.assert_lives_until_refused().await;
    }
}

// S95: a server that writes zero for "I do not say" is asked once
#[tokio::test(start_paused = true)]
async fn a_life_of_zero_holds_no_request_up() {
    let world = World::new(Tokens::default());
    world.endpoint.set_life(Duration::ZERO);
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(world.get().await.unwrap(), StatusCode::OK);
        advance(Duration::from_millis(250)).await;
    }
    assert_eq!(world.endpoint.calls(), 1);
    assert_eq!(began.elapsed(), Duration::from_secs(5), "nothing but the time between requests");
}

// S95: `Tokens::expires_at` and the session say the same of one life
#[tokio::test(start_paused = true)]
async fn tokens_and_their_session_agree_on_the_end() {
    let (iat, exp) = (now() * 1e3, now() + 3600.0);
    let jwt = jwt(json!({ "iat": iat, "exp": exp }));
    let ends_at = UNIX_EPOCH + Duration::from_secs_f64(exp);
    let is_near = |at: Option<SystemTime>| {
        let at = at.expect("an end");
        let off = at.duration_since(ends_at).or_else(|_| ends_at.duration_since(at)).unwrap();
        assert!(off < Duration::from_secs(11), "{at:?} is not near {ends_at:?}");
    };

    let seed = Tokens::new(jwt.clone()).unwrap().with_refresh_token("refresh-0").unwrap();
    is_near(seed.expires_at());
    let world = World::new(seed);
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), [jwt.as_str()], "the seed is sent");
    assert_eq!(world.endpoint.calls(), 0);
    is_near(world.session.status().expires_at());
    is_near(world.session.tokens().unwrap().expires_at());
    world.assert_lives(HOUR).await;

    let world = World::having_received(TokenResponse::new(jwt.clone()).unwrap()).await;
    is_near(world.session.status().expires_at());
    is_near(world.session.tokens().unwrap().expires_at());
    is_near(Tokens::from(TokenResponse::new(jwt).unwrap()).expires_at());
}

// S11: a wrong clock on either side does not change how long a token lives
#[tokio::test(start_paused = true)]
async fn a_token_lives_its_real_life_whatever_the_clocks_say() {
    for wrong in [-3600.0, 3600.0] {
        let server = now() + wrong;
        let date = UNIX_EPOCH + Duration::from_secs_f64(server);

        let issued_now = json!({ "iat": server, "exp": server + 600.0 });
        World::having_received(received(issued_now)).await.assert_lives(10 * MINUTE).await;

        let without_iat = received(json!({ "exp": server + 600.0 })).with_date(date);
        World::having_received(without_iat).await.assert_lives(10 * MINUTE).await;

        // Handed out from a cache, half of its life is over.
        let cached = received(json!({ "iat": server - 300.0, "exp": server + 300.0 }));
        let cached = cached.with_date(date);
        World::having_received(cached).await.assert_lives(5 * MINUTE).await;
    }
}

// S12: a token that lives shorter than the leeway costs one refresh a life
#[tokio::test(start_paused = true)]
async fn a_life_shorter_than_the_leeway_costs_one_refresh_a_life() {
    let world = World::new(expired());
    world.endpoint.set_life(Duration::from_secs(5));
    let started = Instant::now();
    while started.elapsed() < MINUTE {
        assert_eq!(world.get().await.unwrap(), StatusCode::OK);
        advance(Duration::from_millis(100)).await;
    }
    let lives = 60 / 5;
    assert!((lives..=lives * 5 / 4 + 1).contains(&world.endpoint.calls()));
}

// S64: a token that is found has only the rest of its life
#[tokio::test(start_paused = true)]
async fn a_seed_has_only_the_rest_of_its_life_left() {
    let (iat, exp) = (now() - 50.0 * 60.0, now() + 10.0 * 60.0);
    let seed = Tokens::new(jwt(json!({ "iat": iat, "exp": exp }))).unwrap();
    World::new(seed.with_refresh_token("r").unwrap()).assert_lives(10 * MINUTE).await;

    let seed = Tokens::new(jwt(json!({ "exp": exp }))).unwrap();
    World::new(seed.with_refresh_token("r").unwrap()).assert_lives(10 * MINUTE).await;

    let over = Tokens::new(jwt(json!({ "iat": iat - 3600.0, "exp": iat }))).unwrap();
    let world = World::new(over.with_refresh_token("r").unwrap());
    assert_eq!(world.get().await.unwrap(), StatusCode::OK);
    assert_eq!(world.api.tokens(), ["access-1"]);
}
