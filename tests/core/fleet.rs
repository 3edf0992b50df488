//! Sessions of several processes over one store, which is not always what it was.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use http::StatusCode;
use tokio::{
    runtime::Builder,
    time::{Instant, sleep},
};
use tower_refresh::{
    BoxError, Session, Tokens,
    endpoint::EndpointError,
    store::{MemoryStore, Record, Saved, TokenStore},
    testing::{Answer, GatedEndpoint},
};

use crate::{
    support::{World, error_of, expired, live},
    vault::{Fault, Vault, record, refresh_into},
};

/// A store that all sessions share and that can lose what it holds, leases and all.
#[derive(Clone, Debug, Default)]
struct Shelf {
    inner: Arc<Mutex<Arc<MemoryStore>>>,
}

impl Shelf {
    fn current(&self) -> Arc<MemoryStore> {
        self.inner.lock().unwrap().clone()
    }

    /// What was there is gone.
    fn wipe(&self) {
        *self.inner.lock().unwrap() = Arc::default();
    }

    /// The leases are gone, and the record is not.
    async fn forget_leases(&self) {
        let record = self.stored().await;
        self.wipe();
        self.current().save(record, None).await.unwrap();
    }

    async fn stored(&self) -> Record {
        self.current().load().await.unwrap().unwrap()
    }

    fn session(&self, endpoint: &GatedEndpoint) -> Session {
        Session::builder(endpoint.clone()).tokens(expired()).store(self.clone()).build()
    }

    fn world(&self, endpoint: &GatedEndpoint) -> World {
        World::of(endpoint.clone(), self.session(endpoint))
    }
}

impl TokenStore for Shelf {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        Box::pin(async { self.current().load().await })
    }

    fn save(&self, record: Record, old: Option<u64>) -> BoxFuture<'_, Result<Saved, BoxError>> {
        Box::pin(async move { self.current().save(record, old).await })
    }

    fn lease<'a>(
        &'a self,
        owner: &'a str,
        life: Duration,
    ) -> BoxFuture<'a, Result<bool, BoxError>> {
        Box::pin(async move { self.current().lease(owner, life).await })
    }

    fn release<'a>(&'a self, owner: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move { self.current().release(owner).await })
    }
}

/// A vault that takes its time.
#[derive(Debug)]
struct Slow {
    vault: Vault,
    load: Duration,
    save: Duration,
}

impl Slow {
    fn new(vault: &Vault, load: u64, save: u64) -> Self {
        let [load, save] = [load, save].map(Duration::from_millis);
        Self { vault: vault.clone(), load, save }
    }
}

impl TokenStore for Slow {
    fn load(&self) -> BoxFuture<'_, Result<Option<Record>, BoxError>> {
        Box::pin(sleep(self.load).then(|()| self.vault.load()))
    }

    fn save(&self, record: Record, old: Option<u64>) -> BoxFuture<'_, Result<Saved, BoxError>> {
        Box::pin(sleep(self.save).then(move |()| self.vault.save(record, old)))
    }

    fn lease<'a>(
        &'a self,
        owner: &'a str,
        life: Duration,
    ) -> BoxFuture<'a, Result<bool, BoxError>> {
        self.vault.lease(owner, life)
    }

    fn release<'a>(&'a self, owner: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        self.vault.release(owner)
    }
}

// S46
#[tokio::test(start_paused = true)]
async fn the_store_says_who_is_spending_the_token_while_it_is_spent() {
    let (shelf, endpoint) = (Shelf::default(), GatedEndpoint::new());
    let world = shelf.world(&endpoint);
    let hold = endpoint.hold();
    let request = world.start();
    endpoint.calls_reached(1).await;
    assert!(shelf.stored().await.spending().is_some());
    hold.release();
    assert_eq!(request.await.unwrap().unwrap(), StatusCode::OK);
    assert!(shelf.stored().await.spending().is_none());
}

/// A fork hands random numbers on to the child, and a program may begin its own anew.
// S46
#[tokio::test(start_paused = true)]
async fn processes_that_draw_the_same_random_numbers_are_not_taken_for_one() {
    let (shelf, endpoint) = (Shelf::default(), GatedEndpoint::new());
    let process = || {
        fastrand::seed(7);
        shelf.world(&endpoint)
    };
    let (here, there) = (process(), process());
    let hold = endpoint.hold();
    let first = here.start();
    endpoint.calls_reached(1).await;
    let second = there.start();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(endpoint.calls(), 1, "both spend the token");
    hold.release();
    assert_eq!(first.await.unwrap().unwrap(), StatusCode::OK);
    assert_eq!(second.await.unwrap().unwrap(), StatusCode::OK);
    assert_eq!(endpoint.calls(), 1, "the second has the first's token");
}

// S46, S48
#[tokio::test(start_paused = true)]
async fn a_token_that_is_being_spent_is_left_alone_even_if_the_lease_is_gone() {
    let (shelf, endpoint) = (Shelf::default(), GatedEndpoint::new());
    let (here, there) = (shelf.world(&endpoint), shelf.world(&endpoint));
    let hold = endpoint.hold();
    let first = here.start();
    endpoint.calls_reached(1).await;
    shelf.forget_leases().await;
    let second = there.start();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(endpoint.calls(), 1);
    hold.release();
    assert_eq!(first.await.unwrap().unwrap(), StatusCode::OK);
    assert_eq!(second.await.unwrap().unwrap(), StatusCode::OK);
    assert_eq!(endpoint.calls(), 1, "the second has the first's token");
}

// S47
#[tokio::test(start_paused = true)]
async fn when_the_holder_dies_another_takes_over_within_two_leases() {
    let (shelf, endpoint) = (Shelf::default(), GatedEndpoint::new());
    let there = shelf.world(&endpoint);
    let hold = endpoint.hold();
    let dying = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let here = shelf.session(&endpoint);
    std::thread::spawn(move || {
        let call = async {
            tokio::select! {
                _ = here.token() => {}
                () = endpoint.calls_reached(1) => {}
            }
        };
        dying.block_on(call);
        drop(dying);
    })
    .join()
    .unwrap();
    drop(hold);
    let start = Instant::now();
    assert_eq!(there.get().await.unwrap(), StatusCode::OK);
    let took = start.elapsed();
    // The lease of the dead, and as long again for its word, which paused time never outdates.
    assert!(took <= Duration::from_secs(11), "{took:?}");
}

// S48
#[tokio::test(start_paused = true)]
async fn the_lease_of_a_slow_refresh_is_renewed() {
    let (shelf, endpoint) = (Shelf::default(), GatedEndpoint::new());
    let (here, there) = (shelf.world(&endpoint), shelf.world(&endpoint));
    endpoint.answer(Answer::Next.after(Duration::from_secs(9)));
    let (first, second) = futures::join!(here.get(), there.get());
    assert_eq!((first.unwrap(), second.unwrap()), (StatusCode::OK, StatusCode::OK));
    assert_eq!(endpoint.calls(), 1);
}

// S47
#[tokio::test(start_paused = true)]
async fn whoever_has_lost_the_lease_starts_no_further_attempt() {
    let (shelf, endpoint) = (Shelf::default(), GatedEndpoint::new());
    let world = shelf.world(&endpoint);
    let down = || EndpointError::transient("down").not_spent();
    endpoint.answer(Answer::from(down()).after(Duration::from_secs(4)));
    let request = world.start();
    endpoint.calls_reached(1).await;
    shelf.forget_leases().await;
    assert!(shelf.lease("another", Duration::from_secs(60)).await.unwrap());
    assert!(error_of(request.await.unwrap()).is_transient());
    assert_eq!(endpoint.calls(), 1);
}

// S46
#[tokio::test(start_paused = true)]
async fn a_store_that_was_wiped_gets_the_newest_tokens_back_before_older_ones_are_spent() {
    let (shelf, endpoint) = (Shelf::default(), GatedEndpoint::new());
    let (newest, older) = (shelf.world(&endpoint), shelf.world(&endpoint));
    assert_eq!(older.get().await.unwrap(), StatusCode::OK);
    assert_eq!(newest.get().await.unwrap(), StatusCode::OK);
    // The older one does not hear of the next refresh before the store is gone.
    newest.api.refuse("access-1");
    older.api.refuse("access-1");
    tokio::join!(async { assert_eq!(newest.get().await.unwrap(), StatusCode::OK) }, async {
        endpoint.calls_reached(2).await;
        endpoint.idle().await;
        tokio::task::yield_now().await;
        shelf.wipe();
    });
    assert_eq!(older.get().await.unwrap(), StatusCode::OK);
    let presented: Vec<_> =
        endpoint.presented().into_iter().map(|token| token.unwrap().expose().to_owned()).collect();
    let mut once = presented.clone();
    once.dedup();
    assert_eq!(presented, once, "no refresh token is spent twice");
    assert_eq!(endpoint.calls(), 2, "the older one got the newest token");
}

// S44
#[tokio::test(start_paused = true)]
async fn a_login_and_a_log_out_elsewhere_are_heard_of_without_a_request() {
    let (shelf, endpoint) = (Shelf::default(), GatedEndpoint::new());
    let (here, there) = (shelf.world(&endpoint), shelf.world(&endpoint));
    assert_eq!(here.get().await.unwrap(), StatusCode::OK);
    assert_eq!(there.get().await.unwrap(), StatusCode::OK);
    there.session.clear().await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert!(here.session.status().login_required);
    assert!(error_of(here.get().await).is_login_required());
    there.session.set_tokens(live()).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(here.get().await.unwrap(), StatusCode::OK);
    assert_eq!(here.api.tokens().pop().unwrap(), "seed");
}

// S44
#[tokio::test(start_paused = true)]
async fn a_log_out_elsewhere_is_heard_of_also_after_a_refresh_that_failed() {
    // In doubt the word that the token is being spent stays, and here it cannot be taken back.
    for (failure, fault) in [
        (EndpointError::transient("reset"), Fault::None),
        (EndpointError::transient("down").not_spent(), Fault::Down),
    ] {
        let (vault, endpoint) = (Vault::new(), GatedEndpoint::new());
        let builder = Session::builder(endpoint.clone()).tokens(live()).attempts(1);
        let here = builder.store(vault.clone()).build();
        here.load().await.unwrap();
        endpoint.answer(failure);
        let hold = endpoint.hold();
        let refresh = tokio::spawn({
            let here = here.clone();
            async move { here.refresh().await }
        });
        endpoint.calls_reached(1).await;
        vault.set(fault);
        hold.release();
        assert!(refresh.await.unwrap().unwrap_err().is_transient());
        vault.set(Fault::None);
        assert!(vault.stored().unwrap().spending().is_some());
        assert!(here.status().live);

        let there = Session::builder(endpoint).store(vault.other_view()).build();
        there.clear().await.unwrap();
        sleep(Duration::from_secs(3)).await;
        assert!(here.status().login_required);
    }
}

// S44
#[tokio::test(start_paused = true)]
async fn a_store_that_panicked_is_still_watched() {
    let (vault, endpoint) = (Vault::new(), GatedEndpoint::new());
    let builder = Session::builder(endpoint.clone()).tokens(live()).store(vault.clone());
    let here = builder.build();
    here.load().await.unwrap();
    vault.set(Fault::Panics);
    sleep(Duration::from_secs(10)).await;
    vault.set(Fault::None);
    let there = Session::builder(endpoint).store(vault.other_view()).build();
    there.clear().await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert!(here.status().login_required);
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_no_time_is_one_all_the_same() {
    let (vault, endpoint) = (Vault::new(), GatedEndpoint::new());
    let session = |vault: Vault| {
        let builder = Session::builder(endpoint.clone()).tokens(expired()).store(vault);
        builder.lease(Duration::ZERO).build()
    };
    let (here, there) = (session(vault.clone()), session(vault.other_view()));
    let hold = endpoint.hold();
    let tokens = tokio::spawn(async move { futures::join!(here.token(), there.token()) });
    endpoint.calls_reached(1).await;
    // Time does not go on here while somebody looks at the store without a pause.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(endpoint.calls(), 1, "one of them waits for the other");
    hold.release();
    let (first, second) = tokens.await.unwrap();
    assert_eq!(first.unwrap().expose(), second.unwrap().expose());
}

// S44
#[tokio::test(start_paused = true)]
async fn who_was_used_for_nothing_but_a_log_out_hears_of_a_login_elsewhere() {
    let (shelf, endpoint) = (Shelf::default(), GatedEndpoint::new());
    let (here, there) = (shelf.world(&endpoint), shelf.world(&endpoint));
    here.session.clear().await.unwrap();
    there.session.set_tokens(live()).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(here.get().await.unwrap(), StatusCode::OK);
}

// S44, S65
#[test]
fn who_has_to_log_in_hears_of_a_login_elsewhere_on_another_runtime_too() {
    let runtime = || Builder::new_current_thread().enable_time().start_paused(true).build();
    let (shelf, endpoint) = (Shelf::default(), GatedEndpoint::new());
    let (here, there) = (shelf.world(&endpoint), shelf.world(&endpoint));
    runtime().unwrap().block_on(here.session.clear()).unwrap();
    runtime().unwrap().block_on(async {
        assert!(error_of(here.get().await).is_login_required());
        there.session.set_tokens(live()).await.unwrap();
        sleep(Duration::from_secs(3)).await;
        assert_eq!(here.get().await.unwrap(), StatusCode::OK);
    });
    runtime().unwrap().block_on(here.session.clear()).unwrap();
    runtime().unwrap().block_on(async {
        assert!(here.session.token().await.unwrap_err().is_login_required());
        there.session.set_tokens(live()).await.unwrap();
        sleep(Duration::from_secs(3)).await;
        here.session.token().await.unwrap();
    });
}

// S44, S67
#[tokio::test(start_paused = true)]
async fn who_has_lost_a_rotation_hears_of_a_login_elsewhere() {
    let (shelf, endpoint) = (Shelf::default(), GatedEndpoint::new());
    let (here, there) = (shelf.world(&endpoint), shelf.world(&endpoint));
    endpoint.answer(Answer::fail("connection reset"));
    endpoint.answer(EndpointError::grant("spent before"));
    assert!(error_of(here.get().await).is_login_required());
    let login = Tokens::new("login").unwrap().with_refresh_token("refresh-login").unwrap();
    there.session.set_tokens(login).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(here.get().await.unwrap(), StatusCode::OK);
    assert_eq!(here.api.tokens(), ["login"]);
}

// S40, S49
#[tokio::test(start_paused = true)]
async fn a_login_elsewhere_that_was_heard_of_during_a_call_outlasts_its_answer() {
    let (vault, endpoint) = (Vault::new(), GatedEndpoint::new());
    let builder =
        Session::builder(endpoint.clone()).tokens(live()).store(Slow::new(&vault, 700, 1900));
    let session = builder.build();
    session.load().await.unwrap();
    let hold = endpoint.hold();
    let refresh = tokio::spawn({
        let session = session.clone();
        async move { session.refresh().await }
    });
    // It has taken so long to say that the token is being spent that somebody waits to look.
    endpoint.calls_reached(1).await;
    vault.put(record(9, "login", "refresh-login"));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(session.token().await.unwrap().expose(), "login");
    vault.set(Fault::Down);
    hold.release();
    let _ = refresh.await.unwrap();
    assert_eq!(session.token().await.unwrap().expose(), "login");
}

// S34
#[tokio::test(start_paused = true)]
async fn the_end_of_a_grant_is_not_forgotten_when_another_process_asks_for_itself() {
    let (shelf, endpoint) = (Shelf::default(), GatedEndpoint::new());
    let world = || {
        let builder = Session::builder(endpoint.clone()).tokens(live()).store(shelf.clone());
        let world = World::of(endpoint.clone(), builder.build());
        world.api.refuse("seed");
        world
    };
    let (here, there) = (world(), world());
    endpoint.answer_always(|| EndpointError::grant("over").into());
    for world in [&here, &there] {
        assert_eq!(world.get().await.unwrap(), StatusCode::UNAUTHORIZED);
        assert!(error_of(world.get().await).is_login_required());
        sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(endpoint.calls(), 2, "each has asked once");
    assert!(error_of(here.get().await).is_login_required());
    assert_eq!((endpoint.calls(), here.api.seen().len()), (2, 1));
}

// S43, S46
#[tokio::test(start_paused = true)]
async fn a_rotation_that_is_not_saved_yet_outlives_the_mark_of_another_on_the_old_token() {
    let (vault, endpoint) = (Vault::new(), GatedEndpoint::new());
    let builder = Session::builder(endpoint.clone()).tokens(live());
    let here = builder.store(vault.clone()).build();
    here.load().await.unwrap();
    refresh_into(Fault::Down, &here, &endpoint, &vault).await;
    // Longer than the lease, which cannot be renewed.
    sleep(Duration::from_secs(11)).await;
    let down = GatedEndpoint::new();
    down.answer_always(|| EndpointError::transient("down").not_spent().into());
    let there = Session::builder(down).attempts(1).store(vault.other_view()).build();
    there.load().await.unwrap();
    assert!(there.refresh().await.is_err());
    vault.set(Fault::None);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(here.tokens().unwrap().refresh_token().unwrap().expose(), "refresh-1");
    assert_eq!(vault.refresh_token().unwrap(), "refresh-1");
}

// S43, S48
#[tokio::test(start_paused = true)]
async fn the_lease_is_kept_while_what_a_refresh_has_brought_is_saved_however_slowly() {
    let (vault, endpoint) = (Vault::new(), GatedEndpoint::new());
    let builder = Session::builder(endpoint.clone()).tokens(live());
    let session = builder.store(Slow::new(&vault, 1900, 0)).build();
    session.load().await.unwrap();
    let hold = endpoint.hold();
    let refresh = tokio::spawn(async move { session.refresh().await });
    endpoint.calls_reached(1).await;
    vault.hold_saves(true);
    hold.release();
    for _ in 0..600 {
        assert!(!vault.lease("another", Duration::from_millis(1)).await.unwrap());
        sleep(Duration::from_millis(100)).await;
    }
    vault.hold_saves(false);
    assert_eq!(refresh.await.unwrap().unwrap().expose(), "access-1");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(vault.refresh_token().unwrap(), "refresh-1");
    assert!(vault.lease("another", Duration::from_millis(1)).await.unwrap());
}

// S46
#[tokio::test(start_paused = true)]
async fn a_wiped_store_gets_the_newest_tokens_back_although_their_holder_waits_for_the_lease() {
    let (shelf, endpoint) = (Shelf::default(), GatedEndpoint::new());
    let (newest, older) = (shelf.world(&endpoint), shelf.world(&endpoint));
    assert_eq!(older.get().await.unwrap(), StatusCode::OK);
    assert_eq!(newest.get().await.unwrap(), StatusCode::OK);
    sleep(Duration::from_secs(1)).await;
    newest.api.refuse("access-1");
    older.api.refuse("access-1");
    assert_eq!(newest.get().await.unwrap(), StatusCode::OK);
    shelf.wipe();
    // The older one is first, and has the lease while it waits for newer tokens to come back.
    let first = older.start();
    while shelf.current().load().await.unwrap().is_none() {
        sleep(Duration::from_millis(10)).await;
    }
    newest.api.refuse("access-2");
    let second = newest.start();
    assert_eq!(first.await.unwrap().unwrap(), StatusCode::OK);
    assert_eq!(second.await.unwrap().unwrap(), StatusCode::OK);
    let mut presented: Vec<_> =
        endpoint.presented().into_iter().map(|token| token.unwrap().expose().to_owned()).collect();
    let calls = presented.len();
    presented.sort();
    presented.dedup();
    assert_eq!(presented.len(), calls, "no refresh token is spent twice: {presented:?}");
}
