//! Every kind of body is the same body the second time.

use http_body_util::{
    BodyExt as _, Either, Empty, Full,
    combinators::{BoxBody, UnsyncBoxBody},
};

use super::*;

/// Reads the body that is sent, then the backup.
#[track_caller]
fn assert_sent_twice<B>(policy: impl Policy<B>, mut body: B, expected: &[Seen])
where
    B: Body<Error: Into<BoxError>> + Unpin,
{
    let backup = policy.backup(&mut body);
    assert!(!backup.is_unavailable());
    assert_eq!(read(body), expected, "the first copy");
    let backup = backup.into_body().expect("a replay");
    assert_eq!(read(backup), expected, "the backup");
}

fn hello() -> Vec<Seen> {
    vec![data("hello"), Seen::End]
}

fn mixed() -> Vec<Seen> {
    vec![data("one"), data("two"), Seen::Trailers(trailers())]
}

// S51: after a refusal the server gets the same bytes in the same order, trailers included
#[test]
fn cheap_bodies_are_cloned() {
    assert_sent_twice(Standard, Full::<Bytes>::from("hello"), &hello());
    assert_sent_twice(Standard, String::from("hello"), &hello());
    assert_sent_twice(Standard, Empty::<Bytes>::new(), &[Seen::End]);
}

// S51: after a refusal the server gets the same bytes in the same order, trailers included
#[test]
fn either_is_what_it_holds() {
    type Either_ = Either<Full<Bytes>, Empty<Bytes>>;
    assert_sent_twice(Standard, Either_::Left(Full::from("hello")), &hello());
    assert_sent_twice(Standard, Either_::Right(Empty::new()), &[Seen::End]);
}

// S51: after a refusal the server gets the same bytes in the same order, trailers included
#[test]
fn boxed_bodies_are_recorded_and_boxed_again() {
    let boxed = Full::<Bytes>::from("hello").map_err(BoxError::from).boxed();
    assert_sent_twice(Standard, boxed, &hello());

    let mut expected = mixed();
    let unsync = streamed(mixed()).boxed_unsync();
    expected.push(Seen::End);
    assert_sent_twice(Standard, unsync, &expected);
}

// S51: after a refusal the server gets the same bytes in the same order, trailers included
#[test]
fn empty_boxes_are_not_recorded() {
    let (body, backup) = split(BoxBody::<Bytes, BoxError>::default());
    assert_eq!(format!("{backup:?}"), "Backup::Ready");
    assert!(body.is_end_stream());
    assert!(backup.into_body().unwrap().is_end_stream());
}

// S51: after a refusal the server gets the same bytes in the same order, trailers included
#[test]
fn a_box_may_have_an_error_of_its_own() {
    #[derive(Debug)]
    enum Error {
        Superseded,
        Mine,
    }

    impl From<Superseded> for Error {
        fn from(_: Superseded) -> Self {
            Self::Superseded
        }
    }

    impl std::fmt::Display for Error {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{self:?}")
        }
    }

    impl std::error::Error for Error {}

    let failing = || streamed([data("hello"), Seen::Error("broken".into())]);
    let boxed = BoxBody::new(failing().map_err(|_| Error::Mine));
    let (body, _backup) = split(boxed);
    assert_eq!(read(body), [data("hello"), Seen::Error("Mine".into())]);

    let boxed = BoxBody::new(failing().map_err(|_| Error::Mine));
    let (body, backup) = split(boxed);
    let _backup = backup.into_body().unwrap();
    assert_eq!(read(body), [Seen::Error("Superseded".into())]);
}

// S51: after a refusal the server gets the same bytes in the same order, trailers included
#[test]
fn streams_are_recorded_with_their_trailers() {
    let mut expected = mixed();
    expected.push(Seen::End);
    assert_sent_twice(Standard, ReplayBody::new(streamed(mixed())), &expected);
    let only_trailers = [Seen::Trailers(trailers()), Seen::End];
    let body = ReplayBody::new(streamed([Seen::Trailers(trailers())]));
    assert_sent_twice(Standard, body, &only_trailers);
}

// S51: after a refusal the server gets the same bytes in the same order, trailers included
#[test]
fn a_body_need_not_be_made_of_bytes() {
    let body = streamed([data("one")]).map_frame(|frame| {
        // Two pieces, as an encoder's header and payload.
        frame.map_data(|data| Bytes::from_static(b"<").chain(data))
    });
    assert_sent_twice(Standard, ReplayBody::new(body), &[data("<one"), Seen::End]);
}

type Foreign = UnsyncBoxBody<Bytes, BoxError>;

/// Takes any body, as the constructors of frameworks' bodies do.
fn foreign(body: impl Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static) -> Foreign {
    Foreign::new(body.map_err(Into::into))
}

// S51: after a refusal the server gets the same bytes in the same order, trailers included
#[test]
fn a_foreign_body_is_wrapped_by_its_constructor() {
    let mut expected = mixed();
    expected.push(Seen::End);
    assert_sent_twice(Rewrap(foreign), foreign(streamed(mixed())), &expected);
    assert_sent_twice(Rewrap(foreign), Foreign::default(), &[Seen::End]);
}

#[test]
fn a_foreign_body_is_left_alone_if_there_is_nothing_to_record() {
    let wrapped = std::cell::Cell::new(0);
    let rewrap = Rewrap(|body| {
        wrapped.set(wrapped.get() + 1);
        foreign(body)
    });
    let backup = rewrap.backup(&mut UnsyncBoxBody::default());
    assert_eq!((wrapped.get(), backup.is_unavailable()), (1, false), "the backup");
    let large = Full::new(Bytes::from_static(&[0; 64 * 1024 + 1]));
    let mut large = large.map_err(BoxError::from).boxed_unsync();
    let backup = rewrap.backup(&mut large);
    assert_eq!((wrapped.get(), backup.is_unavailable()), (1, true), "neither");
}

#[test]
fn never_keeps_nothing() {
    let mut body = Full::<Bytes>::from("hello");
    let backup = Never.backup(&mut body);
    assert!(backup.is_unavailable());
    assert_eq!(read(body), hello());
    assert!(backup.into_body().is_none());
}

#[test]
fn recordings_can_be_shared_between_threads() {
    fn assert_send_sync<T: Send + Sync>(_: &T) {}
    let (_sender, body) = live();
    // A stream's body is rarely `Sync`; its recording is.
    let unsync = UnsyncBoxBody::<Bytes, Infallible>::new(body);
    let (body, backup) = split(ReplayBody::new(unsync));
    assert_send_sync(&body);
    assert_send_sync(&backup);
}
