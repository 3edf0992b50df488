//! Streams of messages: the client's, the server's, and both at once.

use futures::{StreamExt, TryStreamExt, stream};
use tonic::Code;

use super::{
    echo::Refuses,
    support::{World, in_time, messages, say},
};

fn words() -> Vec<String> {
    ["one", "two", "three"].map(str::to_owned).to_vec()
}

// S32: gRPC's `UNAUTHENTICATED` in the headers is a refusal
#[tokio::test]
async fn a_stream_of_the_clients_that_is_refused_at_once_is_sent_again() {
    let mut world = World::new(Refuses::AtOnce).await;
    let (sender, stream) = messages();
    let mut client = world.client.clone();
    let call = tokio::spawn(async move { client.gather(stream).await });
    say(&sender, "one");
    world.echo.read(2, 1).await;
    // The rest comes only when the retry is on its way.
    say(&sender, "two");
    say(&sender, "three");
    drop(sender);
    assert_eq!(in_time(call).await.unwrap().unwrap().into_inner(), "one two three");
    let seen = world.echo.seen();
    assert_eq!(seen[0], ("seed".to_owned(), vec![]));
    assert_eq!(seen[1], ("access-1".to_owned(), words()));
    assert_eq!(world.endpoint.calls(), 1);

    // The channel goes on.
    assert_eq!(world.client.unary("x".to_owned()).await.unwrap().into_inner(), "X");
}

#[tokio::test]
async fn a_stream_of_the_clients_that_is_refused_half_way_is_sent_again_from_its_beginning() {
    let mut world = World::new(Refuses::After(2)).await;
    let answer = in_time(world.client.gather(stream::iter(words()))).await.unwrap();
    assert_eq!(answer.into_inner(), "one two three");
    let seen = world.echo.seen();
    assert_eq!(seen[0], ("seed".to_owned(), words()[..2].to_vec()));
    assert_eq!(seen[1], ("access-1".to_owned(), words()));
}

#[tokio::test]
async fn a_stream_of_the_clients_beyond_the_cap_is_sent_once() {
    let mut world = World::new(Refuses::After(3)).await;
    let large = stream::iter(["x".repeat(40_000), "y".repeat(40_000), "z".to_owned()]);
    let status = in_time(world.client.gather(large)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(world.echo.tokens(), ["seed"]);
}

#[tokio::test]
async fn a_stream_of_the_servers_is_asked_for_again() {
    let mut world = World::new(Refuses::AtOnce).await;
    let letters = in_time(world.client.spell("word".to_owned())).await.unwrap().into_inner();
    let letters: Vec<_> = in_time(letters.try_collect()).await.unwrap();
    assert_eq!(letters, ["w", "o", "r", "d"]);
    assert_eq!(world.echo.tokens(), ["seed", "access-1"]);
}

#[tokio::test]
async fn a_refusal_in_the_trailers_is_out_of_reach() {
    let mut world = World::new(Refuses::InTrailers).await;
    let mut letters = in_time(world.client.spell("word".to_owned())).await.unwrap().into_inner();
    assert_eq!(letters.next().await.unwrap().unwrap(), "begun");
    let status = letters.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!((world.echo.tokens(), world.endpoint.calls()), (vec!["seed".into()], 0));
}

// S32: gRPC's `UNAUTHENTICATED` in the headers is a refusal
#[tokio::test]
async fn a_conversation_that_is_refused_at_once_begins_anew() {
    conversation(Refuses::AtOnce).await;
}

#[tokio::test]
async fn a_conversation_that_is_refused_after_a_message_begins_anew() {
    conversation(Refuses::After(1)).await;
}

async fn conversation(refuses: Refuses) {
    let mut world = World::new(refuses).await;
    let (sender, stream) = messages();
    say(&sender, "one");
    let mut answers = in_time(world.client.talk(stream)).await.unwrap().into_inner();
    assert_eq!(in_time(answers.next()).await.unwrap().unwrap(), "ONE");
    // Each answer is there before the next message is said.
    for word in ["two", "three"] {
        say(&sender, word);
        let answer = in_time(answers.next()).await.unwrap().unwrap();
        assert_eq!(answer, word.to_uppercase());
    }
    drop(sender);
    assert!(in_time(answers.next()).await.is_none());
    assert_eq!(world.echo.seen()[1], ("access-1".to_owned(), words()));
    assert_eq!(world.endpoint.calls(), 1);
}

#[tokio::test]
async fn a_long_conversation_is_not_kept() {
    // Once the server has answered, nothing can be refused, and so nothing is recorded: the cap
    // does not limit a stream.
    let mut world = World::new(Refuses::AtOnce).await;
    let (sender, stream) = messages();
    say(&sender, "begin");
    let mut answers = in_time(world.client.talk(stream)).await.unwrap().into_inner();
    assert_eq!(in_time(answers.next()).await.unwrap().unwrap(), "BEGIN");
    for _ in 0..64 {
        say(&sender, &"x".repeat(10_000));
        assert_eq!(in_time(answers.next()).await.unwrap().unwrap().len(), 10_000);
    }
}
