//! What can happen to a fleet, and how often each thing does.

use std::time::Duration;

use proptest::{prelude::*, sample::Index};

/// One step from outside. An index says which process it happens to.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// A request is sent through the layer.
    Ask(Index),
    /// The next token is asked for by hand.
    Refresh(Index),
    /// One of the waiting callers goes away.
    Cancel(Index),
    /// The API refuses the token in use from now on.
    Refuse(Index),
    /// The API refuses everything, or only what it was told to.
    RefuseAll(bool),
    /// The API takes requests and answers none, or goes on.
    HoldApi(bool),
    /// A user logs in, with an access token of this life or with none.
    LogIn(Index, Option<Life>),
    LogOut(Index),
    Start,
    /// The program ends as it should.
    Close(Index),
    /// The program drops its session without closing it.
    Leave(Index),
    /// The program is gone, and what it has sent is not.
    Kill(Index),
    /// How the store takes calls from now on: of one process, or of all.
    Store(Option<Index>, Weather),
    /// A process hangs between two awaits: nothing that it sends to this peer leaves, and no answer
    /// arrives.
    Stall(Index, Option<Peer>, Duration),
    /// The store forgets its last writes, as in a failover. All connections break if it is noticed.
    Lose {
        writes: usize,
        noticed: bool,
    },
    /// What the token endpoint says to one call.
    Answer(Reply),
    /// Time passes, and every timer fires when it is due.
    Sleep(Duration),
    /// Time has passed before any timer fires, as on a busy machine.
    Jump(Duration),
}

/// To whom a process speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Store,
    Endpoint,
}

/// What the server says of an access token's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Unknown,
    Of(Duration),
}

/// How a store takes the calls of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Well,
    /// It takes its time, and less than any time-out.
    Slow,
    /// Up to two seconds in each direction, which may be more than the time-out of a call.
    Far,
    Failing,
    /// No call arrives.
    Deaf,
    /// Calls are carried out and not answered.
    Mute,
    /// Calls are carried out long after their time-out.
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
    /// Writes of other tokens.
    Saves,
    /// Writes that change the lease alone.
    Leases,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It takes this many milliseconds.
    Slow(u64),
    /// Tokens, and something else about the access token's life than usual.
    Life(Life),
    /// The access token that it has issued last, with the next refresh token.
    SameToken,
    /// It has done nothing, and may say for how long it wants to be left alone.
    Busy(Option<Duration>),
    /// The connection breaks before the call has arrived.
    LostThere,
    /// The connection breaks after the call is carried out.
    LostBack,
    /// It carries the call out and never answers.
    Silence,
    Misconfigured,
    /// It ends the grant.
    InvalidGrant,
    /// The call panics before it is sent.
    Panic,
}

impl Reply {
    pub(crate) fn is_trouble(self) -> bool {
        match self {
            Self::Slow(_) | Self::Life(_) | Self::SameToken | Self::Busy(_) => false,
            Self::Misconfigured | Self::InvalidGrant => false,
            Self::LostThere | Self::LostBack | Self::Silence | Self::Panic => true,
        }
    }
}

impl Operation {
    /// Whether it may cost a refresh token, whatever the processes do.
    pub(crate) fn is_trouble(&self) -> bool {
        match self {
            Self::Kill(_) | Self::Stall(..) | Self::Lose { .. } => true,
            Self::Store(_, weather) => weather.health.is_trouble(),
            Self::Answer(Reply::Slow(most)) => *most > 58_000,
            Self::Answer(reply) => reply.is_trouble(),
            Self::Jump(time) => *time > Duration::from_millis(200),
            _ => false,
        }
    }
}

/// What a server does with a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// It rotates it. One that was used already brings the same successor for this long; after that
    /// it ends the grant.
    Rotates { grace: Duration },
    /// As a strict one, but it takes its time, and says so to another call meanwhile.
    AtWork,
    /// It keeps it.
    Keeps,
    /// There is none: the grant is client_credentials.
    Credentials,
}

/// Where a fleet keeps its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// In the memory of its one process.
    None,
    /// In a store that no other process uses.
    Own,
    Shared {
        /// Whether the store tells of changes.
        news: bool,
    },
}

/// How a fleet begins.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// Draws the delays and the jitter.
    pub(crate) seed: u64,
    pub(crate) processes: usize,
    pub(crate) keeper: Keeper,
    pub(crate) server: Server,
    /// How long the server's access tokens live.
    pub(crate) life: Duration,
    /// Whether the first login brings an access token.
    pub(crate) access: Option<Life>,
    pub(crate) keep_fresh: bool,
    /// The lease of each process that is started, over and over.
    pub(crate) leases: [Duration; 3],
    /// How many seconds each one's wall clock is ahead.
    pub(crate) skews: [i64; 3],
    /// Whether the programs end in the middle of it all.
    pub(crate) in_a_hurry: bool,
}

fn seconds(all: &'static [u64]) -> impl Strategy<Value = Duration> {
    prop::sample::select(all).prop_map(Duration::from_secs)
}

/// A fleet of one.
pub(crate) fn alone() -> impl Strategy<Value = Start> {
    let keeper = prop_oneof![
        Just(Keeper::None),
        Just(Keeper::Own),
        any::<bool>().prop_map(|news| Keeper::Shared { news })
    ];
    start(Just(1), keeper, 0.3)
}

pub(crate) fn several() -> impl Strategy<Value = Start> {
    start(2..=4usize, any::<bool>().prop_map(|news| Keeper::Shared { news }), 0.1)
}

fn start(
    processes: impl Strategy<Value = usize>,
    keeper: impl Strategy<Value = Keeper>,
    in_a_hurry: f64,
) -> impl Strategy<Value = Start> {
    let server = prop_oneof![
        5 => seconds(&[0, 0, 10, 30]).prop_map(|grace| Server::Rotates { grace }),
        1 => Just(Server::AtWork),
        1 => Just(Server::Keeps),
        2 => Just(Server::Credentials),
    ];
    let leases = prop::array::uniform3(seconds(&[4, 12]));
    let skew = prop_oneof![3 => Just(0), 2 => prop::sample::select(&[-3600, -6, 6, 3600][..])];
    let clocks = (leases, prop::array::uniform3(skew));
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(in_a_hurry));
    let access = prop::option::weighted(0.3, life());
    let times = (seconds(&[15, 40, 600]), access);
    (any::<u64>(), processes, keeper, server, times, clocks, flags).prop_map(
        |(seed, processes, keeper, server, (life, access), (leases, skews), flags)| {
            let (keep_fresh, in_a_hurry) = flags;
            Start {
                seed,
                processes,
                keeper,
                server,
                life,
                access,
                keep_fresh,
                leases,
                skews,
                in_a_hurry,
            }
        },
    )
}

pub(crate) fn operations() -> impl Strategy<Value = Vec<Operation>> {
    use Operation::*;
    let process = any::<Index>;
    let operation = prop_oneof![
        24 => process().prop_map(Ask),
        5 => process().prop_map(Refresh),
        2 => process().prop_map(Cancel),
        7 => process().prop_map(Refuse),
        1 => any::<bool>().prop_map(RefuseAll),
        2 => any::<bool>().prop_map(HoldApi),
        3 => (process(), prop::option::of(life())).prop_map(|(process, life)| LogIn(process, life)),
        2 => process().prop_map(LogOut),
        2 => Just(Start),
        1 => process().prop_map(Close),
        1 => process().prop_map(Leave),
        2 => process().prop_map(Kill),
        8 => (prop::option::weighted(0.8, process()), weather())
            .prop_map(|(process, weather)| Store(process, weather)),
        3 => (process(), peer(), (500..20_000u64).prop_map(Duration::from_millis))
            .prop_map(|(process, peer, time)| Stall(process, peer, time)),
        3 => lose(),
        10 => reply().prop_map(Answer),
        30 => time().prop_map(Sleep),
        2 => time().prop_map(Jump),
    ];
    prop::collection::vec(operation, 1..100)
}

fn lose() -> impl Strategy<Value = Operation> {
    // All of them, once in a while.
    let writes = prop_oneof![5 => 1..4usize, 1 => Just(usize::MAX)];
    (writes, prop::bool::weighted(0.7))
        .prop_map(|(writes, noticed)| Operation::Lose { writes, noticed })
}

fn peer() -> impl Strategy<Value = Option<Peer>> {
    prop::sample::select(&[None, Some(Peer::Store), Some(Peer::Endpoint)][..])
}

pub(crate) fn time() -> impl Strategy<Value = Duration> {
    let ms = prop_oneof![
        20 => 0..100u64,
        16 => 100..4_000u64,
        4 => 4_000..40_000u64,
        1 => 40_000..1_000_000u64
    ];
    ms.prop_map(Duration::from_millis)
}

fn life() -> impl Strategy<Value = Life> {
    let of = |secs: std::ops::Range<u64>| secs.prop_map(|secs| Life::Of(Duration::from_secs(secs)));
    prop_oneof![2 => Just(Life::Unknown), 1 => of(0..1), 2 => of(1..100), 2 => of(100..10_000)]
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
    const ILL: [Health; 5] = [Far, Failing, Deaf, Mute, Late];
    prop_oneof![3 => Just(Well), 2 => Just(Slow), 4 => prop::sample::select(&ILL[..])]
}

fn calls() -> impl Strategy<Value = Calls> {
    use Calls::*;
    prop_oneof![2 => Just(All), 1 => Just(Loads), 2 => Just(Saves), 1 => Just(Leases)]
}

fn reply() -> impl Strategy<Value = Reply> {
    use Reply::*;
    const LOST: [Reply; 3] = [LostThere, LostBack, Silence];
    let wait = (0..300u64).prop_map(Duration::from_secs);
    prop_oneof![
        5 => (0..9_000u64).prop_map(Slow),
        3 => (9_000..70_000u64).prop_map(Slow),
        2 => life().prop_map(Life),
        1 => Just(SameToken),
        2 => prop::option::weighted(0.3, wait).prop_map(Busy),
        3 => prop::sample::select(&LOST[..]),
        1 => Just(Misconfigured),
        1 => Just(InvalidGrant),
        1 => Just(Panic),
    ]
}
