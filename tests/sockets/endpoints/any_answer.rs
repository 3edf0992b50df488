//! Whatever a server answers: no panic, and no token in a message.

use std::convert::Infallible;

use bytes::Bytes;
use futures::executor::block_on;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use proptest::prelude::*;
use tower::{Service, service_fn};
use tower_refresh::endpoint::{JsonEndpoint, OAuth2Client, OAuth2Endpoint};

use super::{SPENT, refresh};

const NAMES: [HeaderName; 5] = [
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::DATE,
    header::LOCATION,
    header::RETRY_AFTER,
];

fn status() -> impl Strategy<Value = u16> {
    prop_oneof![Just(200), Just(400), Just(401), 100..1000u16]
}

/// JSON of the kind that counts, and bytes that are none; with the token in it or not.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let name = "token|access_token|refresh_token|expires_in|error|error_description|detail|[a-z]";
    let text = prop_oneof![Just(SPENT.to_owned()), ".*", Just(format!("a {SPENT}z"))];
    let value = prop_oneof![
        text.prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    let value = value.prop_recursive(3, 8, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            prop::collection::hash_map("msg|loc|message", inner, 0..3)
                .prop_map(serde_json::Value::from_iter),
        ]
    });
    let object = prop::collection::hash_map(name, value, 0..5);
    let json = object.prop_map(|object| serde_json::Value::from_iter(object).to_string());
    let cut = (json.clone(), 0..40usize).prop_map(|(json, cut)| {
        let end = json.len().saturating_sub(cut);
        json.as_bytes()[..end].to_vec()
    });
    prop_oneof![json.prop_map(String::into_bytes), cut, any::<Vec<u8>>()]
}

proptest! {
    #[test]
    fn no_answer_makes_a_panic_or_shows_a_token(
        status in status(),
        name in prop::sample::select(&NAMES[..]),
        value in any::<Vec<u8>>(),
        body in body(),
    ) {
        let mut answer = Response::new(Full::new(Bytes::from(body)));
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            answer.headers_mut().insert(name, value);
        }
        let mut json = JsonEndpoint::freddy().transport(answering(answer.clone()));
        let mut oauth2 = OAuth2Endpoint::refresh_token("https://a.example/", OAuth2Client::public("a"))
            .unwrap()
            .transport(answering(answer));
        for answer in [block_on(refresh(&mut json)), block_on(refresh(&mut oauth2))] {
            let shown = match answer {
                Ok(tokens) => format!("{tokens:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains(SPENT), "{}", shown);
        }
    }
}

fn answering(
    answer: Response<Full<Bytes>>,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ Sync
+ 'static {
    service_fn(move |_| {
        let answer = answer.clone();
        async { Ok(answer) }
    })
}
