use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use bytes::{Buf, Bytes};
use futures::{channel::mpsc, stream};
use http::HeaderMap;
use http_body::{Body, Frame};
use http_body_util::StreamBody;

use super::*;
use crate::BoxError;

mod alone;
mod bodies;
mod memory;
mod random;
mod remaining;
mod takeover;
mod wire;

/// What one poll of a body gives, in a form that can be compared.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Data(Bytes),
    Trailers(HeaderMap),
    Error(String),
    End,
    Pending,
}

fn data(bytes: impl Into<Bytes>) -> Seen {
    Seen::Data(bytes.into())
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("checksum".parse().unwrap(), http::HeaderValue::from_static("1"))])
}

fn superseded() -> Seen {
    Seen::Error(Superseded.to_string())
}

/// The body to send, and what is kept of it.
fn split<B: Replay>(mut body: B) -> (B, Backup<B>) {
    let backup = body.backup();
    (body, backup)
}

/// Polls a body once.
fn poll<B>(body: &mut B) -> Seen
where
    B: Body<Error: Into<BoxError>> + Unpin,
{
    poll_with(body, Waker::noop())
}

fn poll_with<B>(body: &mut B, waker: &Waker) -> Seen
where
    B: Body<Error: Into<BoxError>> + Unpin,
{
    let frame = match Pin::new(body).poll_frame(&mut Context::from_waker(waker)) {
        Poll::Ready(Some(Ok(frame))) => frame,
        Poll::Ready(Some(Err(error))) => return Seen::Error(root(error.into())),
        Poll::Ready(None) => return Seen::End,
        Poll::Pending => return Seen::Pending,
    };
    match frame.into_data() {
        Ok(mut data) => Seen::Data(data.copy_to_bytes(data.remaining())),
        Err(frame) => Seen::Trailers(frame.into_trailers().ok().unwrap()),
    }
}

/// Polls a body to what ends it, or to where it pends.
fn read<B>(mut body: B) -> Vec<Seen>
where
    B: Body<Error: Into<BoxError>> + Unpin,
{
    let mut seen = Vec::new();
    loop {
        seen.push(poll(&mut body));
        if !matches!(seen.last(), Some(Seen::Data(_) | Seen::Trailers(_))) {
            return seen;
        }
    }
}

/// What the innermost error says.
fn root(error: BoxError) -> String {
    let mut error: &(dyn std::error::Error + 'static) = error.as_ref();
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

type Frames = Vec<Result<Frame<Bytes>, BoxError>>;
type Sender = mpsc::UnboundedSender<Frame<Bytes>>;
type Streamed = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, BoxError>>>>;

/// A body that is a stream, and does not know its size.
fn streamed(frames: impl IntoIterator<Item = Seen>) -> Streamed {
    let frames = frames.into_iter().map(|frame| match frame {
        Seen::Data(data) => Ok(Frame::data(data)),
        Seen::Trailers(trailers) => Ok(Frame::trailers(trailers)),
        Seen::Error(error) => Err(error.into()),
        Seen::End | Seen::Pending => unreachable!("not a frame"),
    });
    StreamBody::new(stream::iter(frames.collect::<Frames>()))
}

/// A body that is sent while it is made.
fn live() -> (Sender, impl Body<Data = Bytes, Error = Infallible> + Send) {
    use futures::StreamExt as _;
    let (sender, receiver) = mpsc::unbounded();
    (sender, StreamBody::new(receiver.map(Ok)))
}

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
