//! A connection of hyper's, to somebody who reads what comes and answers.

use std::{
    future::{Future, ready},
    io::{self, IoSlice, Read as _, Write as _},
    mem,
    net::{Ipv4Addr, TcpListener, TcpStream},
    pin::Pin,
    task::{Context, Poll, Waker},
    thread,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header::HOST};
use http_body::Body;
use hyper::{
    client::conn::http1::{SendRequest, handshake},
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::rt::TokioIo;
use tokio::runtime::{self, Runtime};
use tower_refresh::BoxError;

/// Sends requests with bodies of one type, one after the other.
pub(crate) struct Connection<B> {
    runtime: Runtime,
    sender: SendRequest<B>,
}

impl<B> Connection<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    /// Over loopback, to a thread that does nothing else.
    pub(crate) fn over_loopback() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be had");
        let to = listener.local_addr().expect("it is bound");
        thread::spawn(move || listener.accept().and_then(|(stream, _)| answer(stream)));
        Self::on(async move {
            let stream = tokio::net::TcpStream::connect(to).await.expect("somebody listens");
            stream.set_nodelay(true).expect("a socket can");
            TokioIo::new(stream)
        })
    }

    /// Into the memory of this process: all that a client does for a body, and nothing that the
    /// kernel does.
    pub(crate) fn into_memory() -> Self {
        Self::on(ready(Sink::new()))
    }

    fn on<T>(io: impl Future<Output = T>) -> Self
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        let runtime = runtime::Builder::new_current_thread().enable_io().build();
        let runtime = runtime.expect("the system has what a runtime needs");
        let sender = runtime.block_on(async {
            let (sender, connection) = handshake(io.await).await.expect("nobody objects");
            tokio::spawn(connection);
            sender
        });
        Self { runtime, sender }
    }

    /// Sends a body to its end and has the answer.
    pub(crate) fn send(&mut self, body: B) {
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = Uri::from_static("/upload");
        request.headers_mut().insert(HOST, HeaderValue::from_static("api.example.com"));
        let answer = self.runtime.block_on(async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        });
        answer.expect("there is an answer");
    }
}

/// Reads requests until nobody sends any more.
fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..])? {
            0 => return Ok(()),
            read => filled += read,
        }
        if buffer[..filled].ends_with(LAST_CHUNK) {
            stream.write_all(ANSWER)?;
            filled = 0;
        } else if filled > LAST_CHUNK.len() {
            // What may be the beginning of the last chunk.
            buffer.copy_within(filled - LAST_CHUNK.len()..filled, 0);
            filled = LAST_CHUNK.len();
        }
    }
}

/// Copies what is written, as the kernel would, and answers each request.
struct Sink {
    buffer: Vec<u8>,
    filled: usize,
    answer: &'static [u8],
    reader: Option<Waker>,
}

/// As much as a socket's own buffer takes.
const BUFFER: usize = 256 * 1024;

/// The chunk that ends a body which did not say how long it is.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

impl Sink {
    fn new() -> Self {
        Self { buffer: vec![0; BUFFER], filled: 0, answer: b"", reader: None }
    }

    fn write(&mut self, mut bytes: &[u8]) {
        if bytes.ends_with(LAST_CHUNK) {
            self.answer = ANSWER;
            self.reader.take().into_iter().for_each(Waker::wake);
        }
        while !bytes.is_empty() {
            let room = &mut self.buffer[self.filled..];
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.filled = (self.filled + now.len()) % BUFFER;
            bytes = later;
        }
    }
}

impl Write for Sink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        slices.iter().for_each(|slice| self.write(slice));
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Read for Sink {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut room: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.answer.is_empty() {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        room.put_slice(mem::take(&mut self.answer));
        Poll::Ready(Ok(()))
    }
}
