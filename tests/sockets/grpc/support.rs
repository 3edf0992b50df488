//! A gRPC server, a session and a client over a channel with the layer.

use futures::channel::mpsc;
use tonic::transport::{Channel, Endpoint};
use tower::Layer;
use tower_refresh::{Refresh, RefreshLayer, Session, Tokens, testing::GatedEndpoint};

use super::echo::{Echo, EchoClient, Refuses};

pub(crate) use crate::support::{in_time, seed};

pub(crate) struct World {
    pub(crate) echo: Echo,
    pub(crate) endpoint: GatedEndpoint,
    pub(crate) client: EchoClient<Refresh<Channel>>,
}

impl World {
    /// A service that refuses the token `seed`, and a client whose token that is.
    pub(crate) async fn new(refuses: Refuses) -> Self {
        Self::with(Echo::start(refuses).await, seed(), |channel| channel).await
    }

    pub(crate) async fn with(
        echo: Echo,
        tokens: Tokens,
        set_up: impl FnOnce(Endpoint) -> Endpoint,
    ) -> Self {
        let endpoint = GatedEndpoint::new();
        let session = Session::builder(endpoint.clone()).initial_tokens(tokens).build();
        let layer = RefreshLayer::new(session).origin(echo.url().parse().unwrap());
        let channel = set_up(Endpoint::from_shared(echo.url()).unwrap()).connect().await.unwrap();
        Self { echo, endpoint, client: EchoClient::new(layer.layer(channel)) }
    }
}

pub(crate) fn expired() -> Tokens {
    seed().with_expires_at(std::time::SystemTime::now())
}

/// A stream of messages that goes on when the test says so.
pub(crate) fn messages() -> (mpsc::UnboundedSender<String>, mpsc::UnboundedReceiver<String>) {
    mpsc::unbounded()
}

pub(crate) fn say(messages: &mpsc::UnboundedSender<String>, message: &str) {
    messages.unbounded_send(message.to_owned()).unwrap();
}
