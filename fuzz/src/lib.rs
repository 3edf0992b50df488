//! What the fuzz targets do with their bytes. Everything goes through the public interface, so that
//! the same bodies run on stable as seeded property tests: see `tests/properties/fuzz_bodies.rs`.

mod answers;
mod challenges;
mod jwt;
mod record;
mod replay;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

pub use self::{
    answers::{retry_after, token_response},
    challenges::challenges,
    jwt::jwt,
    record::record,
    replay::replay,
};

/// Runs a session's work to its end, in a time that passes at once.
fn run<F: Future>(work: F) -> F::Output {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(work))
}

/// An endpoint that always has a next token.
fn endpoint() -> impl tower::Service<
    tower_refresh::endpoint::RefreshRequest,
    Response = tower_refresh::endpoint::TokenResponse,
    Error = tower_refresh::BoxError,
    Future: Send + 'static,
> + Clone
+ Send
+ 'static {
    // Shared, as each call has a clone.
    let issued = Arc::new(AtomicU64::new(0));
    tower::service_fn(move |_| {
        let issued = issued.fetch_add(1, Ordering::Relaxed) + 1;
        let response = tower_refresh::endpoint::TokenResponse::new(format!("access-{issued}"));
        std::future::ready(response.map_err(Into::into))
    })
}
