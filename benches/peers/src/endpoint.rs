//! A token endpoint on loopback that all contenders understand.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    Request, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::{self, Runtime},
};

/// What the endpoint says to everybody.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// 200 and a token that lives for an hour: so far from its end that nobody refreshes it yet.
    Token,
    /// 503: come again later.
    Unavailable,
    /// 400 `invalid_grant`: do not come again.
    Refused,
}

/// The endpoint. It lives on a thread of its own, and ends when it is dropped.
pub(crate) struct TokenEndpoint {
    address: SocketAddr,
    behaviour: Arc<Behaviour>,
    runtime: Option<Runtime>,
}

impl TokenEndpoint {
    /// Starts an endpoint that takes its time over each answer.
    pub(crate) fn start(answer: Answer, delay: Duration) -> io::Result<Self> {
        let runtime =
            runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let behaviour = Behaviour { answer: Mutex::new(answer), delay, calls: AtomicUsize::new(0) };
        let behaviour = Arc::new(behaviour);
        let listener = runtime.block_on(async { listen() })?;
        let address = listener.local_addr()?;
        runtime.spawn(serve(listener, behaviour.clone()));
        Ok(Self { address, behaviour, runtime: Some(runtime) })
    }

    /// Changes what it says to the calls that arrive from now on.
    pub(crate) fn set_answer(&self, answer: Answer) {
        *self.behaviour.answer.lock().expect("nobody panics with it") = answer;
    }

    /// Where it is, without a scheme: `127.0.0.1:PORT`.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// The URL to get tokens from.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// How many calls have arrived.
    pub(crate) fn calls(&self) -> usize {
        self.behaviour.calls.load(Relaxed)
    }
}

impl Drop for TokenEndpoint {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Behaviour {
    answer: Mutex<Answer>,
    delay: Duration,
    calls: AtomicUsize,
}

fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    // Thousands may connect at once, and one that finds the queue full comes back a second later.
    socket.listen(u16::MAX.into())
}

async fn serve(listener: TcpListener, behaviour: Arc<Behaviour>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of sockets, for now.
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        let behaviour = behaviour.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(request, &behaviour));
            // A client that goes away is none of our business.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    behaviour: &Behaviour,
) -> Result<Response<Full<Bytes>>, Infallible> {
    behaviour.calls.fetch_add(1, Relaxed);
    let answer = *behaviour.answer.lock().expect("nobody panics with it");
    // The connection can be used again only if the request was read to its end.
    let _ = request.into_body().collect().await;
    tokio::time::sleep(behaviour.delay).await;
    let (status, body) = match answer {
        Answer::Token => (
            StatusCode::OK,
            // As long as a short JWT.
            json!({ "access_token": "t".repeat(300), "token_type": "Bearer", "expires_in": 3600 }),
        ),
        Answer::Unavailable => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({ "error": "temporarily_unavailable" }))
        }
        Answer::Refused => (StatusCode::BAD_REQUEST, json!({ "error": "invalid_grant" })),
    };
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
