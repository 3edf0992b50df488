//! What can happen to a session, and how often each thing does.

use std::time::Duration;

use proptest::prelude::*;

/// One step from outside.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// A request is sent through the layer.
    Request,
    /// Somebody asks for the next token by hand.
    Refresh,
    /// One of those who wait goes away.
    Drop(prop::sample::Index),
    /// Time passes, and every timer rings when it is due.
    Sleep(Duration),
    /// Time has passed before any timer rings, as on a busy machine.
    Jump(Duration),
    /// The API refuses the token in use from now on.
    RefuseCurrent,
    /// The API refuses everything, or only what it was told to.
    RefuseAll(bool),
    /// The API takes requests and answers none, or goes on.
    HoldApi(bool),
    /// The endpoint will answer one call like this.
    Answer(Reply),
    /// The endpoint takes calls and answers none.
    HoldEndpoint,
    /// It answers one of them.
    LetOneThrough,
    /// It answers all.
    ReleaseEndpoint,
    /// Somebody logs in.
    SetTokens(Life),
    /// Somebody hands over a refresh token alone.
    SetRefreshToken,
    /// Somebody logs out.
    Clear,
    Store(Health),
}

/// What the endpoint says to one call.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Tokens {
        life: Life,
        rotates: bool,
    },
    /// The access token that is in use already, with the next refresh token.
    SameToken,
    /// It did nothing, and may say for how long it wants to be left alone.
    Busy(Option<Duration>),
    /// Nobody knows what it did.
    Ambiguous,
    Misconfigured,
    InvalidGrant,
    Panic,
    /// The call is never answered.
    Silence,
    Late(Duration, Box<Reply>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Life {
    Unknown,
    Of(Duration),
}

/// How a store takes what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Well,
    /// Every call fails.
    Failing,
    /// No call is ever answered, and none has an effect.
    Hanging,
    /// Saves are done and never answered.
    Forgetful,
}

/// How a session begins.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// Draws the jitter.
    pub(crate) seed: u64,
    pub(crate) access: Option<Life>,
    pub(crate) refresh: bool,
    /// A store of its own that may fall ill: `Some(shared)`, or the default one.
    pub(crate) store: Option<bool>,
    pub(crate) keep_fresh: bool,
    /// Whether the program ends in the middle of it all.
    pub(crate) in_a_hurry: bool,
}

pub(crate) fn start() -> impl Strategy<Value = Start> {
    let access = prop_oneof![4 => life().prop_map(Some), 1 => Just(None)];
    let (often, seldom) = (prop::bool::weighted(0.9), prop::bool::weighted(0.2));
    (any::<u64>(), access, often, any::<Option<bool>>(), seldom, any::<bool>()).prop_map(
        |(seed, access, refresh, store, keep_fresh, in_a_hurry)| Start {
            seed,
            access,
            refresh,
            store,
            keep_fresh,
            in_a_hurry,
        },
    )
}

pub(crate) fn operations() -> impl Strategy<Value = Vec<Operation>> {
    use Operation::*;
    let operation = prop_oneof![
        20 => Just(Request),
        2 => Just(Refresh),
        4 => any::<prop::sample::Index>().prop_map(Drop),
        14 => time().prop_map(Sleep),
        3 => time().prop_map(Jump),
        5 => Just(RefuseCurrent),
        2 => any::<bool>().prop_map(RefuseAll),
        4 => any::<bool>().prop_map(HoldApi),
        14 => reply().prop_map(Answer),
        4 => Just(HoldEndpoint),
        3 => Just(LetOneThrough),
        4 => Just(ReleaseEndpoint),
        3 => life().prop_map(SetTokens),
        1 => Just(SetRefreshToken),
        2 => Just(Clear),
        4 => health().prop_map(Store),
    ];
    prop::collection::vec(operation, 1..80)
}

pub(crate) fn time() -> impl Strategy<Value = Duration> {
    let ms = prop_oneof![
        4 => 0..2_000u64,
        4 => 2_000..100_000u64,
        1 => 100_000..10_000_000u64,
    ];
    ms.prop_map(Duration::from_millis)
}

fn life() -> impl Strategy<Value = Life> {
    let of = |secs: std::ops::Range<u64>| secs.prop_map(|secs| Life::Of(Duration::from_secs(secs)));
    prop_oneof![1 => Just(Life::Unknown), 2 => of(0..1), 2 => of(1..100), 5 => of(100..10_000)]
}

fn health() -> impl Strategy<Value = Health> {
    const ILL: [Health; 3] = [Health::Failing, Health::Hanging, Health::Forgetful];
    prop_oneof![2 => Just(Health::Well), 1 => prop::sample::select(&ILL[..])]
}

fn reply() -> impl Strategy<Value = Reply> {
    let tokens =
        || (life(), any::<bool>()).prop_map(|(life, rotates)| Reply::Tokens { life, rotates });
    let wait = (0..400u64).prop_map(Duration::from_secs);
    let now = prop_oneof![
        5 => tokens(),
        1 => Just(Reply::SameToken),
        2 => prop::option::of(wait).prop_map(Reply::Busy),
        3 => Just(Reply::Ambiguous),
        1 => Just(Reply::Misconfigured),
        1 => Just(Reply::InvalidGrant),
        1 => Just(Reply::Panic),
        1 => Just(Reply::Silence),
    ];
    let late = (0..12_000u64).prop_map(Duration::from_millis);
    (now, prop::option::weighted(0.3, late)).prop_map(|(reply, late)| match late {
        Some(late) => Reply::Late(late, Box::new(reply)),
        None => reply,
    })
}
