//! reqwest's bodies and requests.

use std::mem;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use reqwest::{Body, Request};

use super::{Backup, Replay, ReplayBody, rewrap::rewrap};

/// Bytes are shared, and a stream is recorded.
impl Replay for Body {
    fn backup(&mut self) -> Backup<Self> {
        if self.as_bytes().is_none() {
            return rewrap::<_, ReplayBody<Self>>(self, Self::default, Self::wrap);
        }
        let bytes = into_bytes(mem::take(self));
        *self = bytes.clone().into();
        Backup::ready(bytes.into())
    }
}

/// What reqwest itself can clone: any request but one whose body is a stream, which is sent once.
/// A layer that is used as a middleware keeps whole requests.
impl Replay for Request {
    fn backup(&mut self) -> Backup<Self> {
        self.try_clone().map_or_else(Backup::none, Backup::ready)
    }
}

/// The `Bytes` of a body that is not a stream. `as_bytes` only lends them.
fn into_bytes(body: Body) -> Bytes {
    let collected = body.collect().now_or_never().and_then(Result::ok);
    collected.expect("bytes are there at once").to_bytes()
}
