//! A service of strings, and its client as a generator would write it.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::{Buf, BufMut, Bytes};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream, stream::BoxStream};
use http::uri::PathAndQuery;
use http_body::Body;
use tokio::sync::watch;
use tonic::{
    IntoStreamingRequest, Request, Response, Status, Streaming,
    client::{Grpc, GrpcService},
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{self, NamedService},
    transport::{Server, server::TcpIncoming},
};
use tower::{Service, service_fn};
use tower_refresh::BoxError;

/// Strings on the wire, where a generated service has messages of protobuf.
#[derive(Clone, Copy, Default)]
pub(crate) struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        String::from_utf8(bytes.into()).map(Some).map_err(|e| Status::internal(e.to_string()))
    }
}

#[derive(Clone)]
pub(crate) struct EchoClient<T> {
    grpc: Grpc<T>,
}

impl<T> EchoClient<T>
where
    T: GrpcService<tonic::body::Body>,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<BoxError> + Send,
{
    pub(crate) fn new(service: T) -> Self {
        Self { grpc: Grpc::new(service) }
    }

    pub(crate) async fn unary(
        &mut self,
        request: impl tonic::IntoRequest<String>,
    ) -> Result<Response<String>, Status> {
        self.ready().await?;
        self.grpc.unary(request.into_request(), path("/echo.Echo/Unary"), Text).await
    }

    pub(crate) async fn gather(
        &mut self,
        request: impl IntoStreamingRequest<Message = String>,
    ) -> Result<Response<String>, Status> {
        self.ready().await?;
        let request = request.into_streaming_request();
        self.grpc.client_streaming(request, path("/echo.Echo/Gather"), Text).await
    }

    pub(crate) async fn spell(
        &mut self,
        request: impl tonic::IntoRequest<String>,
    ) -> Result<Response<Streaming<String>>, Status> {
        self.ready().await?;
        self.grpc.server_streaming(request.into_request(), path("/echo.Echo/Spell"), Text).await
    }

    pub(crate) async fn talk(
        &mut self,
        request: impl IntoStreamingRequest<Message = String>,
    ) -> Result<Response<Streaming<String>>, Status> {
        self.ready().await?;
        let request = request.into_streaming_request();
        self.grpc.streaming(request, path("/echo.Echo/Talk"), Text).await
    }

    async fn ready(&mut self) -> Result<(), Status> {
        let ready = self.grpc.ready().await;
        ready.map_err(|e| Status::unknown(format!("Service was not ready: {}", e.into())))
    }
}

fn path(path: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(path)
}

/// When the service refuses the token `seed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refuses {
    AtOnce,
    /// Having read so many of the client's messages.
    After(usize),
    /// Having streamed a message of its own, and so in the trailers.
    InTrailers,
}

/// The token of a call, and what was read of its messages.
pub(crate) type Call = (String, Vec<String>);

/// The service, and what it got.
#[derive(Clone)]
pub(crate) struct Echo {
    refuses: Refuses,
    seen: Arc<watch::Sender<Vec<Call>>>,
    pub(crate) url: Arc<Mutex<String>>,
}

impl Echo {
    /// Serves on loopback for as long as the test's runtime runs.
    pub(crate) async fn start(refuses: Refuses) -> Self {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}", incoming.local_addr().unwrap());
        let echo = Self { refuses, seen: Arc::default(), url: Arc::new(Mutex::new(url)) };
        let server = Server::builder().add_service(echo.clone()).serve_with_incoming(incoming);
        tokio::spawn(async { server.await.unwrap() });
        echo
    }

    pub(crate) fn url(&self) -> String {
        self.url.lock().unwrap().clone()
    }

    pub(crate) fn seen(&self) -> Vec<Call> {
        self.seen.borrow().clone()
    }

    pub(crate) fn tokens(&self) -> Vec<String> {
        self.seen().into_iter().map(|(token, _)| token).collect()
    }

    /// Waits until so many messages have been read of the latest of so many calls.
    pub(crate) async fn read(&self, calls: usize, messages: usize) {
        let mut seen = self.seen.subscribe();
        let enough =
            seen.wait_for(|seen| seen.len() == calls && seen[calls - 1].1.len() >= messages);
        super::support::in_time(enough).await.unwrap();
    }

    /// A call has come; returns its place in the list, and whether its token is refused.
    fn begin<M>(&self, request: &Request<M>) -> (usize, bool) {
        let value = request.metadata().get("authorization").map(|value| value.to_str().unwrap());
        let token = value.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or("-").to_owned();
        let mut call = 0;
        let refused = token == "seed";
        self.seen.send_modify(|seen| {
            call = seen.len();
            seen.push((token, Vec::new()));
        });
        (call, refused)
    }

    fn got(&self, call: usize, message: &str) {
        self.seen.send_modify(|seen| seen[call].1.push(message.to_owned()));
    }

    async fn unary(self, request: Request<String>) -> Result<Response<String>, Status> {
        let (call, refused) = self.begin(&request);
        self.got(call, request.get_ref());
        if refused {
            return Err(refusal());
        }
        Ok(Response::new(request.into_inner().to_uppercase()))
    }

    async fn gather(self, request: Request<Streaming<String>>) -> Result<Response<String>, Status> {
        let (call, refused) = self.begin(&request);
        let mut messages = request.into_inner();
        let mut gathered = Vec::new();
        loop {
            let limit = match self.refuses {
                Refuses::AtOnce | Refuses::InTrailers => 0,
                Refuses::After(messages) => messages,
            };
            if refused && gathered.len() == limit {
                return Err(refusal());
            }
            let Some(message) = messages.message().await? else {
                return Ok(Response::new(gathered.join(" ")));
            };
            self.got(call, &message);
            gathered.push(message);
        }
    }

    async fn spell(
        self,
        request: Request<String>,
    ) -> Result<Response<BoxStream<'static, Result<String, Status>>>, Status> {
        let (call, refused) = self.begin(&request);
        let word = request.into_inner();
        self.got(call, &word);
        if refused && self.refuses == Refuses::InTrailers {
            let late = [Ok("begun".to_owned()), Err(refusal())];
            return Ok(Response::new(stream::iter(late).boxed()));
        }
        if refused {
            return Err(refusal());
        }
        let letters: Vec<_> = word.chars().map(|letter| Ok(letter.to_string())).collect();
        Ok(Response::new(stream::iter(letters).boxed()))
    }

    async fn talk(
        self,
        request: Request<Streaming<String>>,
    ) -> Result<Response<BoxStream<'static, Result<String, Status>>>, Status> {
        let (call, refused) = self.begin(&request);
        let mut messages = request.into_inner();
        if let (true, Refuses::After(limit)) = (refused, self.refuses) {
            for _ in 0..limit {
                let message = messages.message().await?.expect("a message to be refused");
                self.got(call, &message);
            }
        }
        if refused {
            return Err(refusal());
        }
        let answers = messages.map(move |message| {
            let message = message?;
            self.got(call, &message);
            Ok(message.to_uppercase())
        });
        Ok(Response::new(answers.boxed()))
    }
}

fn refusal() -> Status {
    Status::unauthenticated("the token is not good")
}

impl NamedService for Echo {
    const NAME: &'static str = "echo.Echo";
}

impl<B> Service<http::Request<B>> for Echo
where
    B: Body<Error: Into<BoxError> + Send> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let echo = self.clone();
        let mut grpc = server::Grpc::new(Text);
        async move {
            let path = request.uri().path().to_owned();
            Ok(match path.as_str() {
                "/echo.Echo/Unary" => {
                    grpc.unary(service_fn(|it| echo.clone().unary(it)), request).await
                }
                "/echo.Echo/Gather" => {
                    grpc.client_streaming(service_fn(|it| echo.clone().gather(it)), request).await
                }
                "/echo.Echo/Spell" => {
                    grpc.server_streaming(service_fn(|it| echo.clone().spell(it)), request).await
                }
                "/echo.Echo/Talk" => {
                    grpc.streaming(service_fn(|it| echo.clone().talk(it)), request).await
                }
                path => Status::unimplemented(path).into_http(),
            })
        }
        .boxed()
    }
}
