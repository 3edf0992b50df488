//! What one process may make of another's call.

use std::time::Duration;

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use super::{
    open::Open,
    plan::{Health, Peer, Reply, Server as Kind, Weather},
    process::TICK,
    world::{CALM, World},
};

/// The longest time between two looks at a leased record, and a trip to the store and back.
const POLL: Duration = Duration::from_millis(1_600);

/// What can happen to the store during a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A renewal is carried out, and its answer is lost.
    LostAnswer,
    /// The lease is lost, and all connections break.
    Failover,
}

impl World {
    /// One fault during a call costs its process the lease in no case: the others leave its refresh
    /// token alone.
    pub(crate) async fn check_holder(&mut self, fault: Fault) {
        let Some((holder, other)) = self.two().await else { return };
        // Of a longer lease the other can know nothing once the record is lost.
        if fault == Fault::Failover && holder.process.lease > other.process.lease {
            return;
        }
        let (began, calling) = self.begin(&holder, Reply::Slow(30_000)).await;
        let before = self.server.last_call(&other.process);
        let waiting = refresh(&other);
        match fault {
            Fault::Failover => self.shelf.lose(1, true),
            Fault::LostAnswer => {
                let mute = Weather { health: Health::Mute, ..Weather::FINE };
                holder.process.lock().store = mute;
                // Until the next renewal has landed.
                sleep(holder.process.lease / 3).await;
                holder.process.lock().store = Weather::FINE;
            }
        }
        sleep_until(began + Duration::from_secs(29)).await;
        let (name, after) = (other.process.name, self.server.last_call(&other.process));
        self.violations.unless(before == after, || {
            format!("{name} calls during the call of {}, after {fault:?}", holder.process.name)
        });
        let _ = (calling.await, waiting.await);
        sleep(CALM).await;
    }

    /// A process that was overtaken while it was cut off from the store leaves the lease of the
    /// other alone, whatever becomes of its call: the store sees to that.
    pub(crate) async fn check_released(&mut self) {
        let Some((holder, other)) = self.two().await else { return };
        let (began, calling) = self.begin(&holder, Reply::Slow(40_000)).await;
        holder.process.stall(Peer::Store, Duration::from_secs(20));
        let _ = refresh(&other).await;
        sleep_until(began + Duration::from_secs(21)).await;
        self.server.answer(Reply::Slow(30_000));
        let _ = (refresh(&other).await, calling.await);
        sleep(CALM).await;
    }

    /// The answer to a call is saved also over the lease of another process, which dies with it.
    pub(crate) async fn check_late_save(&mut self) {
        let Some((holder, other)) = self.two().await else { return };
        let (began, calling) = self.begin(&holder, Reply::Slow(30_000)).await;
        holder.process.stall(Peer::Store, Duration::from_secs(20));
        other.process.stall(Peer::Endpoint, CALM);
        let caller = refresh(&other);
        sleep_until(began + Duration::from_secs(16)).await;
        self.kill(&other);
        caller.abort();
        let _ = calling.await;
        sleep_until(began + Duration::from_secs(35)).await;
        let (name, told) = (holder.process.name, holder.process.lock().told);
        let stored = self.shelf.place();
        self.violations.unless(self.is_over(self.login()) || stored >= told, || {
            format!("{name} was told of {told:?}, and {stored:?} is stored")
        });
        sleep(CALM).await;
        self.start_another();
    }

    /// A process dies over a call: another takes over once its lease has lapsed.
    pub(crate) async fn check_take_over(&mut self) {
        if self.open.len() < 2 || self.is_over(self.login()) || self.start.keep_fresh {
            return;
        }
        let all: Vec<_> = self.open.iter().collect();
        self.bring_up(&all).await;
        if self.is_over(self.login()) {
            return;
        }
        self.server.answer(Reply::LostThere);
        self.server.answer(Reply::Silence);
        let (dying, heir) = (self.open[0].clone(), self.open[self.open.len() - 1].clone());
        let caller = refresh(&dying);
        // The first attempt is lost, and the second is under way.
        sleep(Duration::from_millis(600)).await;
        self.kill(&dying);
        caller.abort();
        let Some((landed, life)) = self.shelf.last_landing(&dying.process) else { return };
        let asked = Instant::now();
        heir.process.lock().by_hand.0 = Some(Instant::now() + CALM);
        let asking = refresh(&heir);
        sleep(life + POLL * 2).await;
        let (name, last) = (heir.process.name, self.server.last_call(&heir.process));
        let called = last.filter(|&at| at > landed);
        let in_time = called.is_some_and(|at| at <= asked + life + POLL + TICK);
        self.violations.unless(in_time, || {
            let after = called.map(|at| at - asked);
            format!("{name} takes over after {after:?}, of a lease of {life:?}")
        });
        let _ = asking.await;
        self.server.heal();
        sleep(CALM).await;
    }

    /// Two processes that may ask by hand, if a call can cost them a refresh token.
    async fn two(&self) -> Option<(Open, Open)> {
        // Where nothing is used up, a call ends with its time-out, and the lease is a courtesy.
        if self.start.keep_fresh || matches!(self.start.server, Kind::Credentials | Kind::Keeps) {
            return None;
        }
        let (holder, other) = (self.open.first()?.clone(), self.open.get(1)?.clone());
        self.bring_up(&[&holder, &other]).await;
        (!self.is_over(self.login())).then_some((holder, other))
    }

    /// All have the newest tokens, may ask by hand, and know that their connection was broken.
    async fn bring_up(&self, all: &[&Open]) {
        for open in all {
            open.process.lock().by_hand.0 = Some(Instant::now() + CALM);
            let _ = open.session.refresh().await;
        }
        sleep(Duration::from_secs(70)).await;
        for open in all {
            let _ = open.session.load().await;
        }
    }

    /// The call of a refresh begins.
    async fn begin(&self, holder: &Open, reply: Reply) -> (Instant, JoinHandle<()>) {
        self.server.answer(reply);
        let calling = refresh(holder);
        sleep(Duration::from_millis(500)).await;
        (Instant::now(), calling)
    }

    fn kill(&mut self, dying: &Open) {
        dying.process.lock().dead = true;
        self.open.retain(|open| open.process.name != dying.process.name);
    }
}

fn refresh(open: &Open) -> JoinHandle<()> {
    let session = open.session.clone();
    tokio::spawn(async move { drop(session.refresh().await) })
}
