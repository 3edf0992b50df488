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
    fn replay(self) -> (Self, Spare<Self>) {
        let spare = Spare::ready(self.clone());
        (self, spare)
    }
}

impl<D> Replay for Empty<D> {
    fn replay(self) -> (Self, Spare<Self>) {
        (self, Spare::ready(Self::new()))
    }
}

impl Replay for String {
    fn replay(self) -> (Self, Spare<Self>) {
        let spare = Spare::ready(self.clone());
        (self, spare)
    }
}

impl<L: Replay, R: Replay> Replay for Either<L, R> {
    fn replay(self) -> (Self, Spare<Self>) {
        match self {
            Self::Left(body) => {
                let (body, spare) = body.replay();
                (Self::Left(body), spare.map(Self::Left))
            }
            Self::Right(body) => {
                let (body, spare) = body.replay();
                (Self::Right(body), spare.map(Self::Right))
            }
        }
    }
}

// Without the attribute an error would be about `From` and not say what it is for.
#[diagnostic::do_not_recommend]
impl<E: From<Superseded> + 'static> Replay for BoxBody<Bytes, E> {
    fn replay(self) -> (Self, Spare<Self>) {
        rewrap::<_, Boxable<_, E>>(self, Self::new)
    }
}

#[diagnostic::do_not_recommend]
impl<E: From<Superseded> + 'static> Replay for UnsyncBoxBody<Bytes, E> {
    fn replay(self) -> (Self, Spare<Self>) {
        rewrap::<_, Boxable<_, E>>(self, Self::new)
    }
}
