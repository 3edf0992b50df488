//! The bodies of `http-body` and `http-body-util` that know how to be sent twice.

use bytes::{Buf, Bytes};
use http_body_util::{
    Either, Empty, Full,
    combinators::{BoxBody, UnsyncBoxBody},
};

use super::{
    Backup, Replay, Superseded,
    rewrap::{Boxable, rewrap},
};

impl<D: Buf + Clone> Replay for Full<D> {
    fn backup(&mut self) -> Backup<Self> {
        Backup::ready(self.clone())
    }
}

impl<D> Replay for Empty<D> {
    fn backup(&mut self) -> Backup<Self> {
        Backup::ready(Self::new())
    }
}

impl Replay for String {
    fn backup(&mut self) -> Backup<Self> {
        Backup::ready(self.clone())
    }
}

impl<L: Replay, R: Replay> Replay for Either<L, R> {
    fn backup(&mut self) -> Backup<Self> {
        match self {
            Self::Left(body) => body.backup().map(Self::Left),
            Self::Right(body) => body.backup().map(Self::Right),
        }
    }
}

// Without the attribute an error would be about `From` and not say what it is for.
#[diagnostic::do_not_recommend]
impl<E: From<Superseded> + 'static> Replay for BoxBody<Bytes, E> {
    fn backup(&mut self) -> Backup<Self> {
        rewrap::<_, Boxable<_, E>>(self, Self::default, Self::new)
    }
}

#[diagnostic::do_not_recommend]
impl<E: From<Superseded> + 'static> Replay for UnsyncBoxBody<Bytes, E> {
    fn backup(&mut self) -> Backup<Self> {
        rewrap::<_, Boxable<_, E>>(self, Self::default, Self::new)
    }
}
