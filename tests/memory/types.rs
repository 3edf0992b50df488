//! What every public type can do, however it is built inside. The compiler checks it.

use std::fmt::Debug;

use bytes::Bytes;
use http_body_util::Full;
use tower::{Service, util::BoxCloneSyncService};
use tower_refresh::{
    AccessToken, AuthScheme, Error, ErrorKind, Event, Events, NoToken, Origin, Refresh,
    RefreshLayer, RefreshToken, RequestHead, ResponseHead, Session, SessionBuilder, Status, Token,
    Tokens, endpoint, replay, store, testing,
};

/// Goes from thread to thread.
const fn sends<T: Debug + Send + Unpin + 'static>() {}

/// Is used by several threads at once.
const fn shares<T: Debug + Send + Sync + Unpin + 'static>() {}

/// Can be had more than once as well.
const fn clones<T: Clone + Debug + Send + Sync + Unpin + 'static>() {}

/// Goes through `?` into a boxed error of any program.
const fn errors<T: std::error::Error + Send + Sync + Unpin + 'static>() {}

type Body = Full<Bytes>;
type Request = http::Request<Body>;
type Client = BoxCloneSyncService<Request, http::Response<Body>, Error>;

// The root.
const _: () = {
    clones::<AccessToken>();
    clones::<AuthScheme>();
    clones::<Error>();
    clones::<ErrorKind>();
    clones::<Event>();
    clones::<NoToken>();
    clones::<Origin>();
    clones::<Refresh<Client>>();
    clones::<RefreshLayer>();
    clones::<RefreshToken>();
    clones::<Session>();
    clones::<Status>();
    clones::<Token>();
    clones::<Tokens>();
    errors::<Error>();
    sends::<Events>();
    sends::<<Refresh<Client> as Service<Request>>::Future>();
    shares::<RequestHead<'static>>();
    shares::<ResponseHead<'static>>();
    shares::<SessionBuilder>();
};

// `endpoint`.
const _: () = {
    clones::<endpoint::EndpointUrl>();
    clones::<endpoint::FailureClass>();
    clones::<endpoint::OAuth2Client>();
    clones::<endpoint::RefreshRequest>();
    clones::<endpoint::RevokeRequest>();
    clones::<endpoint::TokenResponse>();
    errors::<endpoint::EndpointError>();
    clones::<endpoint::JsonEndpoint>();
    clones::<endpoint::OAuth2Endpoint>();
    clones::<endpoint::OAuth2Revocation>();
    clones::<endpoint::Spent>();
    #[cfg(feature = "reqwest")]
    clones::<endpoint::ReqwestTransport>();
};

// `replay`.
const _: () = {
    clones::<replay::Standard>();
    clones::<replay::RewrapFn<Body>>();
    clones::<replay::Never>();
    clones::<replay::Superseded>();
    errors::<replay::ReplayError>();
    errors::<replay::Superseded>();
    shares::<replay::ReplayBody<Body>>();
    shares::<replay::Backup<Body>>();
};

// `store`.
const _: () = {
    clones::<store::Record>();
    clones::<store::SaveOutcome>();
    clones::<store::Lease>();
    shares::<store::FromFn<fn(), fn()>>();
    shares::<store::MemoryStore>();
    shares::<Box<dyn store::TokenStore>>();
    #[cfg(feature = "encrypted")]
    {
        clones::<store::EncryptionKey>();
        shares::<store::Encrypted<store::MemoryStore>>();
    }
    #[cfg(feature = "file")]
    clones::<store::FileStore>();
    #[cfg(feature = "redis")]
    shares::<store::RedisStore<redis::aio::ConnectionManager>>();
};

// `testing`.
const _: () = {
    clones::<testing::AuthServerBuilder>();
    clones::<testing::Counts>();
    clones::<testing::Fault>();
    clones::<testing::GatedEndpoint>();
    clones::<testing::Issuer>();
    clones::<testing::Login>();
    clones::<testing::Refusal>();
    shares::<testing::Answer>();
    shares::<testing::AuthServer>();
    shares::<testing::Hold>();
};

/// The futures of a session and of an endpoint go into tasks.
const _: fn() = || {
    fn goes<T: Send>(_: T) {}
    let session = Session::builder(testing::GatedEndpoint::new()).build();
    let mut events = session.events();
    goes(events.next());
    goes(session.token());
    goes(session.refresh());
    goes(session.ready());
    goes(session.set_tokens(Tokens::default()));
    goes(session.log_out());
    goes(session.log_out());
    goes(session.close());
    let endpoint = endpoint::JsonEndpoint::freddy();
    goes(endpoint.request(endpoint::RefreshRequest::default()));
};
