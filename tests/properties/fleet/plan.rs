//! What can happen to a fleet, and how often each thing does.

use std::time::Duration;

use proptest::{prelude::*, sample::Index};

/// One step from outside. An index says which process it happens to.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// A request is sent, and if the API refuses it, once more.
    Ask(Index),
    /// Somebody asks for the next token by hand.
    Refresh(Index),
    /// One of those who wait goes away.
    Cancel(Index),
    /// The API refuses the token in use from now on.
    Refuse(Index),
    LogIn(Index),
    LogOut(Index),
    Start,
    /// The program ends as it should.
    Close(Index),
    /// The program lets go of its session without closing it.
    Leave(Index),
    /// The program is gone, and what it has sent is not.
    Kill(Index),
    /// How the store takes calls from now on: of one process, or of all.
    Store(Option<Index>, Weather),
    /// What the token endpoint says to one call.
    Answer(Reply),
    Sleep(Duration),
}

/// How a store takes the calls of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Well,
    /// It takes its time, and less than anybody loses patience.
    Slow,
    Failing,
    /// No call arrives.
    Deaf,
    /// Calls are carried out and not answered.
    Mute,
    /// Calls are carried out long after everybody has lost patience.
    Late,
}

impl Health {
    /// Whether a call may fail for it, or seem to.
    pub(crate) fn is_trouble(self) -> bool {
        !matches!(self, Self::Well | Self::Slow)
    }
}

/// How a store takes some calls of a process, and how all others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) health: Health,
    pub(crate) calls: Calls,
    /// The others are as slow as can be, or not.
    pub(crate) slow: bool,
}

impl Weather {
    pub(crate) const FINE: Self = Self { health: Health::Well, calls: Calls::All, slow: false };

    pub(crate) fn of(self, calls: Calls) -> Health {
        match self {
            Self { health, .. } if self.calls == Calls::All || self.calls == calls => health,
            Self { slow: true, .. } => Health::Slow,
            _ => Health::Well,
        }
    }
}

/// Which calls to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    All,
    Loads,
    Saves,
    Leases,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It takes so many milliseconds, and less than anybody loses patience.
    Slow(u64),
    /// It has done nothing, and says so.
    Busy,
    /// The connection breaks before it has heard of the call.
    LostThere,
    /// The connection breaks after it has carried it out.
    LostBack,
    /// It carries the call out and never answers.
    Silence,
}

impl Reply {
    pub(crate) fn is_trouble(self) -> bool {
        !matches!(self, Self::Slow(_) | Self::Busy)
    }
}

impl Operation {
    /// Whether it may cost a refresh token, whatever the processes do.
    pub(crate) fn is_trouble(&self) -> bool {
        match self {
            Self::Kill(_) => true,
            Self::Store(_, weather) => weather.health.is_trouble(),
            Self::Answer(reply) => reply.is_trouble(),
            _ => false,
        }
    }
}

/// How a fleet begins.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// Draws the delays and the jitter.
    pub(crate) seed: u64,
    pub(crate) processes: usize,
    /// How long the server's access tokens live.
    pub(crate) life: Duration,
    /// How long a refresh token that was spent buys the same successor again.
    pub(crate) grace: Duration,
    /// Whether the store tells of changes.
    pub(crate) news: bool,
    pub(crate) keep_fresh: bool,
}

pub(crate) fn start() -> impl Strategy<Value = Start> {
    let seconds = |all: &'static [u64]| prop::sample::select(all).prop_map(Duration::from_secs);
    let flags = (any::<bool>(), prop::bool::weighted(0.3));
    let times = (seconds(&[15, 40, 600]), seconds(&[0, 0, 30]));
    (any::<u64>(), 2..=4usize, times, flags).prop_map(
        |(seed, processes, (life, grace), (news, keep_fresh))| Start {
            seed,
            processes,
            life,
            grace,
            news,
            keep_fresh,
        },
    )
}

pub(crate) fn operations() -> impl Strategy<Value = Vec<Operation>> {
    use Operation::*;
    let process = any::<Index>;
    let operation = prop_oneof![
        20 => process().prop_map(Ask),
        6 => process().prop_map(Refresh),
        2 => process().prop_map(Cancel),
        6 => process().prop_map(Refuse),
        2 => process().prop_map(LogIn),
        1 => process().prop_map(LogOut),
        2 => Just(Start),
        1 => process().prop_map(Close),
        1 => process().prop_map(Leave),
        2 => process().prop_map(Kill),
        8 => (prop::option::weighted(0.8, process()), weather())
            .prop_map(|(process, weather)| Store(process, weather)),
        6 => reply().prop_map(Answer),
        30 => time().prop_map(Sleep),
    ];
    prop::collection::vec(operation, 1..100)
}

fn time() -> impl Strategy<Value = Duration> {
    let ms = prop_oneof![5 => 0..100u64, 4 => 100..4_000u64, 1 => 4_000..40_000u64];
    ms.prop_map(Duration::from_millis)
}

fn weather() -> impl Strategy<Value = Weather> {
    (health(), calls(), any::<bool>()).prop_map(|(health, calls, slow)| Weather {
        health,
        calls,
        slow,
    })
}

fn health() -> impl Strategy<Value = Health> {
    use Health::*;
    const ILL: [Health; 4] = [Failing, Deaf, Mute, Late];
    prop_oneof![3 => Just(Well), 2 => Just(Slow), 3 => prop::sample::select(&ILL[..])]
}

fn calls() -> impl Strategy<Value = Calls> {
    use Calls::*;
    prop_oneof![2 => Just(All), 1 => Just(Loads), 2 => Just(Saves), 1 => Just(Leases)]
}

fn reply() -> impl Strategy<Value = Reply> {
    use Reply::*;
    const LOST: [Reply; 3] = [LostThere, LostBack, Silence];
    prop_oneof![4 => (0..9_000u64).prop_map(Slow), 2 => Just(Busy), 2 => prop::sample::select(&LOST[..])]
}
