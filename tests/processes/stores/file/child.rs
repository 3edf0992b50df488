//! Other processes: this test binary again, told by its environment what to do.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Write, stdin},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{self, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};
use tower_refresh::{
    Session, Tokens,
    endpoint::TokenResponse,
    store::{FileStore, Record, SaveOutcome, TokenStore},
    testing::GatedEndpoint,
};

use super::rounded;
use crate::stores::support::{record, secrets};

/// A process that uses the file at a path. It is killed on drop.
pub(super) struct Child {
    child: process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Child {
    pub(super) fn start(role: &str, path: &Path, argument: impl ToString) -> Self {
        Self::start_under(&[], role, path, argument)
    }

    /// The same, with a program and its arguments before ours.
    pub(super) fn start_under(
        wrapper: &[&str],
        role: &str,
        path: &Path,
        argument: impl ToString,
    ) -> Self {
        let us = env::current_exe().unwrap().into_os_string();
        let ours = [us, "--exact".into(), ENTRY.into(), "--nocapture".into()];
        let line: Vec<OsString> = wrapper.iter().map(OsString::from).chain(ours).collect();
        let mut child = Command::new(&line[0])
            .args(&line[1..])
            .env(ROLE, role)
            .env(PATH, path)
            .env(ARGUMENT, argument.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// The next thing that it says; `None` if it says nothing any more.
    pub(super) fn says(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some((_, said)) = line.trim_end().split_once(MARK) {
                return Some(said.to_owned());
            }
        }
    }

    /// Lets it go on.
    pub(super) fn go(&mut self) {
        self.input.write_all(b"\n").unwrap();
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(super) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Waits for its end; whether it was ended by a signal.
    pub(super) fn was_killed(&mut self) -> bool {
        self.wait().signal().is_some()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ENTRY: &str = "stores::file::child::is_another_process";
const ROLE: &str = "STORES_CHILD_ROLE";
const PATH: &str = "STORES_CHILD_PATH";
const ARGUMENT: &str = "STORES_CHILD_ARGUMENT";
const MARK: &str = "child> ";

/// Not a test: where the other processes begin. As a test it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn is_another_process() {
    let Ok(role) = env::var(ROLE) else { return };
    let argument = env::var(ARGUMENT).unwrap();
    let store = FileStore::new(env::var_os(PATH).unwrap()).unwrap();
    match role.as_str() {
        "refresh" => refresh(store, argument.parse().unwrap()).await,
        "count" => count(store, argument.parse().unwrap()).await,
        "write" => write(store).await,
        "write within" => write_within(store, argument.parse().unwrap()).await,
        "fill" => fill(store).await,
        "rounded" => rounded::send_paced(store, argument.parse().unwrap()).await,
        "refresh and fill" => refresh_and_fill(store).await,
        "seed" => seed(store, &argument).await,
        _ => panic!("no such role: {role}"),
    }
}

/// Refreshes with a lease of this many milliseconds, and says when the call has begun. It is
/// answered when told to, and then the process says which token is in use.
async fn refresh(store: FileStore, lease: u64) {
    let endpoint = GatedEndpoint::new();
    let theirs = TokenResponse::new("access-theirs").unwrap();
    endpoint.answer(theirs.with_refresh_token("refresh-theirs").unwrap());
    let session = Session::builder(endpoint.clone()).store(store);
    let session = session.lease(Duration::from_millis(lease)).build();
    session.ready().await.unwrap();
    let hold = endpoint.hold();
    let refresh = tokio::spawn(async move { session.refresh().await });
    endpoint.calls_reached(1).await;
    say("calls");
    // Only another thread may wait for a word: this one has a lease to renew.
    tokio::task::spawn_blocking(listen).await.unwrap();
    hold.release();
    match refresh.await.unwrap() {
        Ok(token) => say(token.expose()),
        Err(error) => say(format_args!("{error:?}")),
    }
}

/// Adds one to the number in the record, so many times.
async fn count(store: FileStore, times: u64) {
    listen();
    for _ in 0..times {
        loop {
            let read = store.load().await.unwrap().unwrap();
            let number: u64 = secrets(&read).0.parse().unwrap();
            let next = record(read.version() + 1, &(number + 1).to_string(), "refresh");
            if store.save(next, Some(read.version())).await.unwrap() == SaveOutcome::Stored {
                break;
            }
        }
    }
    say("done");
}

/// Writes version after version until it is killed, and says which are saved.
async fn write(store: FileStore) {
    let read = store.load().await.unwrap();
    let mut version = read.as_ref().map(Record::version);
    loop {
        let next = version.unwrap_or(0) + 1;
        let saved = store.save(numbered(next), version).await.unwrap();
        assert_eq!(saved, SaveOutcome::Stored);
        say(next);
        version = Some(next);
    }
}

/// A record of some length whose tokens both tell its version.
pub(super) fn numbered(version: u64) -> Record {
    let filler = "x".repeat(usize::try_from(version % 5).unwrap() * 5000);
    record(version, &format!("{version}-{filler}"), &format!("{filler}-{version}"))
}

/// Writes one record in place of the first, with files that cannot be larger than so many bytes.
async fn write_within(store: FileStore, bytes: u64) {
    let limit = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    setrlimit(Resource::Core, limit(0)).unwrap();
    setrlimit(Resource::Fsize, limit(bytes)).unwrap();
    match store.save(record(2, "access-2", "refresh-2"), Some(1)).await {
        Ok(saved) => say(format_args!("{saved:?}")),
        Err(error) => say(error),
    }
}

/// Fills the disk, which is small and our own, and tries to save.
async fn fill(store: FileStore) {
    say("mounted");
    store.save(record(1, "access-1", "refresh-1"), None).await.unwrap();
    let filler = store.path().with_extension("filler");
    let full = fs::write(&filler, vec![0; 1 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    say(store.save(record(2, "access-2", "refresh-2"), Some(1)).await.unwrap_err());
    let read = store.load().await.unwrap().unwrap();
    assert_eq!(secrets(&read), ("access-1".to_owned(), "refresh-1".to_owned()));
    assert!(!store.path().with_extension("tmp").exists());
    fs::remove_file(filler).unwrap();
    say(format_args!("{:?}", store.save(record(2, "a", "r"), Some(1)).await.unwrap()));
}

/// Fills the disk during a call, and says what is stored once the answer is here. With the disk
/// filled up again it tries another refresh.
async fn refresh_and_fill(store: FileStore) {
    say("mounted");
    store.save(record(1, "access-1", "refresh-1"), None).await.unwrap();
    let endpoint = GatedEndpoint::new();
    let long = "x".repeat(20_000);
    let answer = TokenResponse::new(format!("access-{long}")).unwrap();
    endpoint.answer(answer.with_refresh_token(format!("refresh-{long}")).unwrap());
    let session = Session::builder(endpoint.clone()).store(store.clone()).attempts(1).build();
    session.ready().await.unwrap();
    let hold = endpoint.hold();
    let refresh = tokio::spawn({
        let session = session.clone();
        async move { session.refresh().await }
    });
    endpoint.calls_reached(1).await;
    let filler = |number: u8| store.path().with_extension(format!("filler-{number}"));
    let fill = |number| {
        let full = fs::write(filler(number), vec![0; 1 << 20]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    };
    fill(1);
    hold.release();
    refresh.await.unwrap().unwrap();
    let stored = secrets(&store.load().await.unwrap().unwrap()).1;
    say(format_args!("{} {}", stored == format!("refresh-{long}"), session.status().is_unsaved()));
    fill(2);
    say(format_args!("{:?}", session.refresh().await.unwrap_err()));
    say(endpoint.calls());
    fs::remove_file(filler(1)).unwrap();
    say(session.refresh().await.is_ok());
}

/// Starts a session with tokens of its own, and says which it uses.
async fn seed(store: FileStore, token: &str) {
    let seed = Tokens::new(token).unwrap().with_refresh_token(format!("refresh-{token}")).unwrap();
    let session = Session::builder(GatedEndpoint::new()).initial_tokens(seed).store(store).build();
    say("ready");
    listen();
    session.ready().await.unwrap();
    say(session.token().await.unwrap().header_value().to_str().unwrap());
}

pub(super) fn say(what: impl std::fmt::Display) {
    println!("{MARK}{what}");
}

/// Waits for the word to go on. Who started us may be gone, and then so are we.
pub(super) fn listen() {
    if stdin().lock().read_line(&mut String::new()).unwrap() == 0 {
        process::exit(1);
    }
}
