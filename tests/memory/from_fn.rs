//! A store of two functions, for a program that alone uses its tokens.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use http::StatusCode;
use tower_refresh::{
    BoxError, Session,
    store::{self, Record, TokenStore},
    testing::GatedEndpoint,
};

use crate::support::{World, expired};

fn world(file: &File) -> World {
    let endpoint = GatedEndpoint::new();
    let session =
        Session::builder(endpoint.clone()).initial_tokens(expired()).store(file.store()).build();
    World::of(endpoint, session)
}

/// A file of a program that alone uses its tokens: what it holds and whether it can be used.
#[derive(Clone, Default)]
struct File {
    bytes: Arc<Mutex<Option<Vec<u8>>>>,
    unreadable: Arc<AtomicBool>,
    full: Arc<AtomicBool>,
}

impl File {
    fn store(&self) -> impl TokenStore {
        let (reader, writer) = (self.clone(), self.clone());
        store::from_fn(
            move || {
                let file = reader.clone();
                async move { file.read() }
            },
            move |record| {
                let file = writer.clone();
                async move { file.write(&record) }
            },
        )
    }

    fn read(&self) -> Result<Option<Record>, BoxError> {
        if self.unreadable.load(Ordering::SeqCst) {
            return Err("cannot be read".into());
        }
        let bytes = self.bytes.lock().unwrap();
        Ok(bytes.as_deref().map(serde_json::from_slice).transpose()?)
    }

    fn write(&self, record: &Record) -> Result<(), BoxError> {
        if self.full.load(Ordering::SeqCst) {
            return Err("no space left on device".into());
        }
        *self.bytes.lock().unwrap() = Some(serde_json::to_vec(record)?);
        Ok(())
    }

    fn refresh_token(&self) -> String {
        let record = self.read().unwrap().unwrap();
        record.tokens().unwrap().refresh_token().unwrap().expose().to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn two_functions_are_a_store() {
    let file = File::default();
    let first = world(&file);
    assert_eq!(first.get().await.unwrap(), StatusCode::OK);
    assert_eq!(file.refresh_token(), "refresh-1");

    // The next start of the program: what was saved counts, and not the seed.
    let second = world(&file);
    assert_eq!(second.get().await.unwrap(), StatusCode::OK);
    assert_eq!(second.api.tokens(), ["access-1"]);
    assert_eq!(second.endpoint.calls(), 0);
    second.session.refresh().await.unwrap();
    assert_eq!(second.endpoint.presented()[0].as_ref().unwrap().expose(), "refresh-1");
}

// S43: tokens that cannot be saved are used, and saved later
#[tokio::test(start_paused = true)]
async fn two_functions_that_fail_do_not_stop_a_program_that_is_alone() {
    let file = File::default();
    let world = world(&file);
    world.session.ready().await.unwrap();
    file.full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        world.session.refresh().await.unwrap();
    }
    assert_eq!(file.refresh_token(), "refresh-1");
    file.full.store(false, Ordering::SeqCst);
    world.session.close().await.unwrap();
    assert_eq!(file.refresh_token(), "refresh-4");
}

// S43: tokens that cannot be saved are used, and saved later
#[tokio::test(start_paused = true)]
async fn a_store_that_comes_back_during_a_call_does_not_cost_the_new_token() {
    let file = File::default();
    let world = world(&file);
    world.session.ready().await.unwrap();
    file.full.store(true, Ordering::SeqCst);
    world.session.refresh().await.unwrap();
    file.unreadable.store(true, Ordering::SeqCst);

    let hold = world.endpoint.hold();
    let session = world.session.clone();
    let refresh = tokio::spawn(async move { session.refresh().await });
    world.endpoint.calls_reached(3).await;
    file.unreadable.store(false, Ordering::SeqCst);
    file.full.store(false, Ordering::SeqCst);
    hold.release();
    refresh.await.unwrap().unwrap();
    world.session.close().await.unwrap();
    assert_eq!(world.endpoint.calls(), 3, "what the call brought is not bought again");
    assert_eq!(file.refresh_token(), "refresh-3");
}
