use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt};
use tower_refresh::{RefreshLayer, Session, Tokens, replay::ReplayBody};

use super::endpoint;

/// A body of any shape, below two layers, to a service that refuses it after reading as much as
/// the bytes say: each sending begins with the first byte, nothing is lost or repeated, what a
/// copy says of its size is true, and a copy that was taken over never ends.
pub fn replay(data: &[u8]) {
    let Some((&[flags, limit, length, reads @ ..], rest)) = data.split_first_chunk::<7>() else {
        return;
    };
    let source = Source::parse(&rest[..rest.len().min(length.into())], flags & 1 != 0);
    let payload = source.payload();
    let total = payload.len();
    let (ends_well, has_hint, starts_ended) =
        (!source.fails(), source.has_hint, source.is_end_stream());
    let limit = usize::from(limit);
    let sent = Arc::new(Mutex::new(Sent {
        payload,
        trailers: source.trailers(),
        ends_well,
        has_hint,
        starts_ended,
        limit,
        lost: !starts_ended && has_hint && total > limit,
        pulled: 0,
        copies: Vec::new(),
    }));
    let service = Refusing { sent: sent.clone(), reads, keep: flags & 2 != 0 };
    let layer = |header| {
        let tokens = Tokens::new("seed").expect("a token");
        let session = Session::builder(endpoint()).initial_tokens(tokens).build();
        RefreshLayer::new(session).header(HeaderName::from_static(header))
    };
    let client = layer("authorization").layer(layer("x-token").layer(service));
    let request = Request::post("https://api.example/").body(ReplayBody::with_limit(source, limit));
    let response = super::run(client.oneshot(request.expect("a request"))).expect("an answer");

    let sent = sent.lock().expect("no panic");
    let times = sent.copies.len();
    let refused = response.status() == StatusCode::UNAUTHORIZED;
    // Two layers: the inner retries the first that the outer sends, and knows by the second that
    // the route refuses by itself.
    assert!(!refused || sent.lost || times == 3, "sent {times} times");
}

/// Reads a part of each body and refuses it, or not.
#[derive(Clone)]
struct Refusing {
    sent: Arc<Mutex<Sent>>,
    /// For each sending: how many frames to read, and in the last bit whether it is refused.
    reads: [u8; 4],
    /// Whether the copies live on, as on a connection that is slow to notice.
    keep: bool,
}

struct Sent {
    payload: Vec<u8>,
    trailers: usize,
    ends_well: bool,
    has_hint: bool,
    /// Each copy is then an end of its own, and none is taken over.
    starts_ended: bool,
    limit: usize,
    /// Whether there is nothing to send again.
    lost: bool,
    /// How much of the source any copy has read.
    pulled: usize,
    copies: Vec<Option<ReplayBody<Source>>>,
}

impl Service<Request<ReplayBody<Source>>> for Refusing {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReplayBody<Source>>) -> Self::Future {
        let Self { sent, reads, keep } = self.clone();
        Box::pin(async move {
            assert_eq!(request.headers().get_all("authorization").iter().count(), 1);
            assert_eq!(request.headers().get_all("x-token").iter().count(), 1);
            let number = sent.lock().expect("no panic").copies.len();
            let plan = reads.get(number).expect("no fifth sending");
            let mut body = request.into_body();
            let (mut read, mut trailers) = (0, 0);
            for _ in 0..plan >> 1 {
                sent.lock().expect("no panic").check_size(&body, read);
                let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
                let mut sent = sent.lock().expect("no panic");
                match frame {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => {
                            let expected = sent.payload.get(read..read + data.len());
                            assert_eq!(expected, Some(&data[..]));
                            read += data.len();
                            sent.pull(read);
                        }
                        Err(_trailers) => trailers += 1,
                    },
                    Some(Err(error)) => {
                        assert!(!sent.ends_well && source_is::<io::Error>(&error), "{error}");
                        assert_eq!(read, sent.payload.len());
                        sent.lost = true;
                        break;
                    }
                    None => {
                        assert!(sent.ends_well && body.is_end_stream());
                        assert_eq!((read, trailers), (sent.payload.len(), sent.trailers));
                        break;
                    }
                }
            }
            sent.lock().expect("no panic").check_size(&body, read);
            let mut sent = sent.lock().expect("no panic");
            for copy in sent.copies.iter_mut().flatten() {
                assert!(!copy.is_end_stream());
                let mut cx = Context::from_waker(std::task::Waker::noop());
                match Pin::new(copy).poll_frame(&mut cx) {
                    Poll::Ready(Some(Err(error))) => {
                        assert!(error.is_superseded(), "{error}");
                    }
                    other => panic!("a copy that was taken over went on: {:?}", other.is_ready()),
                }
            }
            let keep = keep && !sent.starts_ended;
            sent.copies.push(keep.then_some(body));
            let mut response = Response::new(Full::default());
            if plan & 1 != 0 {
                *response.status_mut() = StatusCode::UNAUTHORIZED;
            }
            Ok(response)
        })
    }
}

impl Sent {
    fn check_size(&self, body: &ReplayBody<Source>, read: usize) {
        let (hint, remaining) = (body.size_hint(), (self.payload.len() - read) as u64);
        assert!(hint.lower() <= remaining, "{hint:?} {remaining}");
        assert!(hint.upper().is_none_or(|upper| upper >= remaining), "{hint:?} {remaining}");
        if self.has_hint && self.ends_well {
            assert_eq!(hint.exact(), Some(remaining));
        }
        if body.is_end_stream() {
            assert_eq!(remaining, 0);
        }
    }

    /// A copy has come as far as this.
    fn pull(&mut self, read: usize) {
        self.pulled = self.pulled.max(read);
        // The last copy that there can be is read without another waiting for it.
        if self.pulled > self.limit {
            self.lost = true;
        }
    }
}

/// A body in pieces, some of which take a while.
struct Source {
    pieces: std::vec::IntoIter<Piece>,
    has_hint: bool,
}

#[derive(Clone)]
enum Piece {
    Data(Bytes),
    Pause,
    Trailers,
    Fault,
}

impl Source {
    fn parse(mut bytes: &[u8], has_hint: bool) -> Self {
        let mut pieces = Vec::new();
        while let Some((&first, rest)) = bytes.split_first() {
            bytes = rest;
            match first {
                0..=239 => {
                    let (data, rest) = bytes.split_at(bytes.len().min(usize::from(first) / 4));
                    pieces.push(Piece::Data(Bytes::copy_from_slice(data)));
                    bytes = rest;
                }
                240..=249 => pieces.push(Piece::Pause),
                250..=252 => {
                    pieces.push(Piece::Trailers);
                    break;
                }
                253..=255 => {
                    pieces.push(Piece::Fault);
                    break;
                }
            }
        }
        Self { pieces: pieces.into_iter(), has_hint }
    }

    fn payload(&self) -> Vec<u8> {
        let data = |piece: &Piece| match piece {
            Piece::Data(data) => data.to_vec(),
            _ => Vec::new(),
        };
        self.pieces.as_slice().iter().flat_map(data).collect()
    }

    fn trailers(&self) -> usize {
        self.pieces.as_slice().iter().filter(|piece| matches!(piece, Piece::Trailers)).count()
    }

    fn fails(&self) -> bool {
        self.pieces.as_slice().iter().any(|piece| matches!(piece, Piece::Fault))
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(match self.pieces.next() {
            None => None,
            Some(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Piece::Trailers) => {
                let name = HeaderName::from_static("x-sum");
                let sum = HeaderMap::from_iter([(name, HeaderValue::from_static("1"))]);
                Some(Ok(Frame::trailers(sum)))
            }
            Some(Piece::Fault) => Some(Err(io::Error::other("the disk is gone"))),
            Some(Piece::Pause) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.as_slice().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.has_hint {
            true => SizeHint::with_exact(self.payload().len() as u64),
            false => SizeHint::default(),
        }
    }
}

fn source_is<E: std::error::Error + 'static>(error: &dyn std::error::Error) -> bool {
    error.source().is_some_and(|source| source.is::<E>())
}
