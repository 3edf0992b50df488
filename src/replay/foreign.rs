//! The bodies of `http-body` and `http-body-util` that know how to be sent twice.

use bytes::{Buf, Bytes};
use http_body_util::{
    Either, Empty, Full,
    combinators::{BoxBody, UnsyncBoxBody},
};

use super::{
    Replay, Spare, Superseded,
    body::{Boxable, rewrap},
};

impl<D: Buf + Clone> Replay for Full<D> {
    fn keep(&mut self) -> Spare<Self> {
        Spare::ready(self.clone())
    }
}

impl<D> Replay for Empty<D> {
    fn keep(&mut self) -> Spare<Self> {
        Spare::ready(Self::new())
    }
}

impl Replay for String {
    fn keep(&mut self) -> Spare<Self> {
        Spare::ready(self.clone())
    }
}

impl<L: Replay, R: Replay> Replay for Either<L, R> {
    fn keep(&mut self) -> Spare<Self> {
        match self {
            Self::Left(body) => body.keep().map(Self::Left),
            Self::Right(body) => body.keep().map(Self::Right),
        }
    }
}

// Without the attribute an error would be about `From` and not say what it is for.
#[diagnostic::do_not_recommend]
impl<E: From<Superseded> + 'static> Replay for BoxBody<Bytes, E> {
    fn keep(&mut self) -> Spare<Self> {
        rewrap::<_, Boxable<_, E>>(self, Self::default, Self::new)
    }
}

#[diagnostic::do_not_recommend]
impl<E: From<Superseded> + 'static> Replay for UnsyncBoxBody<Bytes, E> {
    fn keep(&mut self) -> Spare<Self> {
        rewrap::<_, Boxable<_, E>>(self, Self::default, Self::new)
    }
}
