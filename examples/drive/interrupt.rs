//! Ctrl-C: the first asks for an end, the second takes it.

use std::{pin::pin, process::exit};

use futures::poll;
use tokio::{signal::ctrl_c, spawn};

/// What a shell makes of a program that SIGINT has ended.
pub(crate) const INTERRUPTED: u8 = 130;

pub(crate) async fn interrupted() {
    // Where there are no signals, none will come.
    if ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// From now on a Ctrl-C ends the program, whatever it is at.
pub(crate) fn end_at_the_next() {
    spawn(async {
        let mut next = pin!(interrupted());
        // It listens from the first poll on; only then is it promised.
        if poll!(&mut next).is_pending() {
            eprintln!("stopping; Ctrl-C again ends at once, and a token on its way may be lost");
            next.await;
        }
        exit(INTERRUPTED.into());
    });
}
