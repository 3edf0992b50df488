//! Takeover over a real connection: the refusal comes before the body has been sent.

use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;

/// Reads from a connection until `end` has come, or the client has closed it.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) && stream.read_buf(&mut read).await.unwrap_or(0) > 0 {}
    String::from_utf8(read).unwrap()
}

// S53: an early 401 keeps no body from the retry, and a cut-off upload never passes for complete
#[tokio::test]
async fn a_superseded_connection_is_closed_without_an_end_of_the_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = |body| http::Request::post(&uri).body(body).unwrap();

    let (sender, body) = live();
    sender.unbounded_send(Frame::data("one".into())).unwrap();
    let (body, backup) = split(ReplayBody::new(body));

    // The server has read a part of the body, refuses and keeps the connection open.
    let refuse = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "3\r\none\r\n").await;
        let refusal = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(refusal.as_bytes()).await.unwrap();
        stream
    };
    let (refused, mut first) = tokio::join!(client.request(request(body)), refuse);
    assert_eq!(refused.unwrap().status(), 401);

    let backup = backup.into_body().unwrap();
    sender.unbounded_send(Frame::data("two".into())).unwrap();
    drop(sender);
    let accept = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let seen = read_until(&mut stream, "0\r\n\r\n").await;
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        seen
    };
    let (answered, seen) = tokio::join!(client.request(request(backup)), accept);
    assert_eq!(answered.unwrap().status(), 200);
    assert!(seen.ends_with("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"), "{seen}");

    // The old connection sees neither more of the body nor its end.
    assert_eq!(read_until(&mut first, "never").await, "");
}
