//! reqwest as the HTTP client of a token endpoint.

use bytes::Bytes;
use http::{Request, Response, header::LOCATION};
use http_body_util::Full;
use tokio::net::{TcpListener, TcpSocket};
use tower_refresh::{
    RefreshToken,
    endpoint::{
        EndpointError, FailureClass, JsonEndpoint, RefreshRequest, ReqwestTransport, Spent,
        TokenResponse,
    },
};

use super::support::{Server, Tls, answer, client};

async fn refresh(
    url: &str,
    builder: reqwest::ClientBuilder,
) -> Result<TokenResponse, EndpointError> {
    let transport = ReqwestTransport::new(builder).unwrap();
    let endpoint = JsonEndpoint::new(url.to_owned()).unwrap().transport(transport);
    let request = RefreshRequest::new(Some(RefreshToken::new("r3fresh").unwrap()));
    endpoint.request(request).await
}

fn token(_: &Request<Bytes>) -> Response<Full<Bytes>> {
    Response::new(r#"{"token":"next"}"#.into())
}

#[tokio::test]
async fn a_token_comes_through_reqwest() {
    let server = Server::start(token).await;
    let tokens = refresh(&server.url, client()).await.unwrap();
    assert_eq!(tokens.access_token().expose(), "next");
    let seen = &server.seen()[0];
    assert_eq!(seen.body(), r#"{"refresh_token":"r3fresh"}"#);
    assert_eq!(seen.headers()["content-length"], "27");
}

#[tokio::test]
async fn a_redirect_is_not_followed_whatever_the_builder_says() {
    for status in [301, 307, 308] {
        let other = Server::start(token).await;
        let target: http::HeaderValue = other.url.parse().unwrap();
        let server = Server::start(move |_| {
            let mut response = answer(status);
            response.headers_mut().insert(LOCATION, target.clone());
            response
        })
        .await;
        let follows = client().redirect(reqwest::redirect::Policy::limited(10));
        let error = refresh(&server.url, follows).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Misconfigured, "{error}");
        assert_eq!((server.seen().len(), other.seen().len()), (1, 0), "{status}");
    }
}

#[tokio::test]
async fn certificates_of_the_builder_are_trusted_and_no_others() {
    let tls = Tls::new();
    let server = Server::start_tls(&tls, token).await;
    for builder in [
        client().tls_certs_only([tls.root()]),
        client().tls_certs_merge([tls.root()]),
        client().add_root_certificate(tls.root()),
    ] {
        assert_eq!(refresh(&server.url, builder).await.unwrap().access_token().expose(), "next");
    }
    let other = Tls::new();
    let error = refresh(&server.url, client().tls_certs_only([other.root()])).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Transient);
    assert_eq!(error.spent(), Spent::No, "{error:?}");
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_connection_that_never_came_to_be_has_spent_nothing() {
    // Its port is taken, and it does not listen.
    let deaf = TcpSocket::new_v4().unwrap();
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", deaf.local_addr().unwrap());
    assert_eq!(refresh(&url, client()).await.unwrap_err().spent(), Spent::No);
}

#[tokio::test]
async fn a_connection_that_breaks_off_may_have_spent_the_token_and_is_not_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut connections = 0;
        while let Ok((stream, _)) = listener.accept().await {
            connections += 1;
            if connections == 2 {
                break;
            }
            let _ = stream.readable().await;
        }
    });
    let error = refresh(&url, client()).await.unwrap_err();
    assert_eq!(error.spent(), Spent::Maybe);
    assert!(!server.is_finished());
    server.abort();
}

#[tokio::test]
async fn an_error_of_reqwests_does_not_show_the_query_of_the_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/?key=hunter2", listener.local_addr().unwrap());
    drop(listener);
    let error = refresh(&url, client()).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    let shown = format!("{error:?} {source} {source:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(error.spent(), Spent::No, "still read for what it is");
}
