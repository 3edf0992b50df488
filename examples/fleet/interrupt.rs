//! What asks the fleet to end: Ctrl-C, a supervisor, or a terminal that is closed.

use std::future::pending;

use tokio::signal::ctrl_c;

/// What a shell makes of a program that SIGINT has ended.
pub(crate) const INTERRUPTED: u8 = 130;

pub(crate) async fn interrupted() {
    tokio::select! {
        _ = ctrl_c() => {}
        () = told() => {}
    }
}

#[cfg(unix)]
async fn told() {
    use tokio::signal::unix::{SignalKind, signal};

    let kinds = [SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [Ok(mut terminated), Ok(mut hung_up)] = kinds else {
        return pending().await;
    };
    tokio::select! {
        _ = terminated.recv() => {}
        _ = hung_up.recv() => {}
    }
}

#[cfg(not(unix))]
async fn told() {
    pending().await
}
