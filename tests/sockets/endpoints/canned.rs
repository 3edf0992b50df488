//! A server whose answers are bytes.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tower::Service;
use tower_refresh::endpoint::{EndpointError, JsonEndpoint, RefreshRequest, TokenResponse};

use super::refresh;

/// A server that answers every connection with these bytes and closes it.
pub(crate) struct Canned {
    pub(crate) listener: TcpListener,
    pub(crate) answer: Vec<u8>,
}

impl Canned {
    pub(crate) async fn new(answer: impl Into<Vec<u8>>) -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
            answer: answer.into(),
        }
    }

    pub(crate) fn url(&self) -> String {
        let address = self.listener.local_addr().expect("an address");
        format!("http://{address}/token")
    }

    pub(crate) async fn accept(&self) -> TcpStream {
        let mut stream = self.listener.accept().await.expect("a connection").0;
        // Both protocols' bodies end like this.
        let mut request = Vec::new();
        while !request.ends_with(b"}") && !request.ends_with(b"=end") {
            let read = stream.read_buf(&mut request).await.expect("a request");
            assert_ne!(read, 0, "the request broke off");
        }
        stream
    }

    /// What a call to this server ends in.
    pub(crate) async fn refreshed(self) -> Result<TokenResponse, EndpointError> {
        let endpoint = JsonEndpoint::new(self.url()).unwrap();
        self.refreshed_by(endpoint).await
    }

    pub(crate) async fn refreshed_by<E>(
        self,
        mut endpoint: E,
    ) -> Result<TokenResponse, EndpointError>
    where
        E: Service<RefreshRequest, Response = TokenResponse, Error = EndpointError>,
    {
        let serve = async {
            let mut stream = self.accept().await;
            // A client that has read enough hangs up: no fault of ours.
            let _ = stream.write_all(&self.answer).await;
            let _ = stream.shutdown().await;
            // Wait for it to hang up: a close with unread bytes is a reset.
            let _ = stream.read(&mut [0]).await;
        };
        let both = async { tokio::join!(refresh(&mut endpoint), serve).0 };
        timeout(Duration::from_secs(20), both).await.expect("an end")
    }
}

pub(crate) fn ok(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}")
}
