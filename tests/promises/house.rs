//! The rooms of `src/` depend on one another one way, and no files of it in a circle.
//!
//! `middleware` goes to `session`, `session` to `endpoint` and `store`, these to `token`, and all
//! of them to `origin` and `error`. The test kit may use everything, and nothing may use it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::LazyLock,
};

use super::source::{Arrow, Library, Source};

/// Each room of `src/` and what it may use, beside itself.
const ROOMS: [(&str, &[&str]); 14] = [
    ("middleware", &["session", "replay", "token", "origin", "error"]),
    ("sessions", &["session", "endpoint", "store", "token", "origin", "error"]),
    ("session", &["endpoint", "store", "token", "origin", "error"]),
    ("endpoint", &["token", "jose", "crypto", "origin", "error"]),
    ("store", &["token", "jose", "crypto", "origin", "error"]),
    ("dpop", &["token", "jose", "crypto", "origin", "error"]),
    ("token", &["jose", "crypto", "origin", "error"]),
    ("jose", &["crypto", "error"]),
    ("crypto", &["error"]),
    ("replay", &["error"]),
    ("origin", &["error"]),
    ("error", &[]),
    ("testing", &["session", "endpoint", "store", "token", "jose", "crypto", "origin", "error"]),
    // It only offers what the rooms define.
    ("lib", &[]),
];

/// Where one type has its steps in several files: they are one circle by nature, and no room.
const ONE_TYPE: [&str; 1] = ["src/session/state/"];

/// What is not in the code of some files, and why.
const KEPT_OUT: [(&str, &[&str], &str); 2] = [
    (
        "src/session/state/",
        &[
            ".await",
            "async ",
            "tokio::sync",
            "tokio::task",
            "tokio::spawn",
            "tokio::runtime",
            "sleep(",
            "Instant::now",
            "SystemTime::now",
            ".elapsed()",
            "fastrand",
            "TokenStore",
            "Service",
            "Backend",
            "Mutex",
            "std::fs",
            "std::net",
            "std::thread",
        ],
        "the state is pure: no I/O, no clock, no randomness, and nothing that waits",
    ),
    (
        "src/session/",
        &["http_body", "Request<", "Response<", "HeaderMap"],
        "a session knows nothing of the requests that its tokens are for",
    ),
];

static LIBRARY: LazyLock<Library> = LazyLock::new(Library::read);

/// The room of a file: `src/session/state/now.rs` is in `session`, `src/error.rs` is `error`.
fn room(file: &str) -> &str {
    let path = file.trim_start_matches("src/");
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

fn breaches(arrows: &BTreeSet<Arrow>) -> Vec<String> {
    let rooms = BTreeMap::from(ROOMS);
    let mut breaches = Vec::new();
    for Arrow { from, to, line, path } in arrows {
        let (user, used) = (room(from), room(to));
        let Some(may_use) = rooms.get(user) else {
            breaches.push(format!("{from}: say in `ROOMS` what the room {user} may use"));
            continue;
        };
        if user != used && !may_use.contains(&used) {
            let rule = format!("`{user}` uses only {}", may_use.join(", "));
            breaches.push(format!("{from}:{line}: {path} is in {to}, but {rule}"));
        }
    }
    breaches
}

fn kept_out<'a>(sources: impl Iterator<Item = &'a Source>) -> Vec<String> {
    let mut breaches = Vec::new();
    for source in sources {
        for (below, words, why) in KEPT_OUT {
            for word in words.iter().filter(|_| source.file.starts_with(below)) {
                for (place, _) in source.code.match_indices(word) {
                    let line = source.line(place);
                    breaches.push(format!("{}:{line}: {word}, but {why}", source.file));
                }
            }
        }
    }
    breaches
}

/// The shortest circle of files that use each other, if there is one.
fn circle(arrows: &BTreeSet<Arrow>) -> Option<Vec<&Arrow>> {
    let mut uses = BTreeMap::<&str, Vec<&Arrow>>::new();
    for arrow in arrows {
        let is_within =
            |folder: &&str| [&arrow.from, &arrow.to].iter().all(|f| f.starts_with(*folder));
        if !ONE_TYPE.iter().any(is_within) {
            uses.entry(&arrow.from).or_default().push(arrow);
        }
    }
    let back_to = |start: &str| {
        let mut ways = VecDeque::from([Vec::new()]);
        let mut been = BTreeSet::new();
        while let Some(way) = ways.pop_front() {
            let at = way.last().map_or(start, |last: &&Arrow| &*last.to);
            for next in uses.get(at).into_iter().flatten() {
                let mut longer = way.clone();
                longer.push(*next);
                if next.to == start {
                    return Some(longer);
                }
                if been.insert(&next.to) {
                    ways.push_back(longer);
                }
            }
        }
        None
    };
    uses.keys().filter_map(|start| back_to(start)).min_by_key(Vec::len)
}

#[test]
fn rooms_use_only_what_lies_below_them() {
    let breaches = breaches(&LIBRARY.arrows());
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn the_state_waits_for_nothing_and_a_session_sees_no_request() {
    let breaches = kept_out(LIBRARY.modules.values());
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let arrows = LIBRARY.arrows();
    assert!(arrows.len() > 300, "{} are not all of them", arrows.len());
    if let Some(circle) = circle(&arrows) {
        let line = |arrow: &&Arrow| {
            format!("{}:{}: {} is in {}", arrow.from, arrow.line, arrow.path, arrow.to)
        };
        let lines: Vec<_> = circle.iter().map(line).collect();
        panic!("files use each other in a circle:\n{}", lines.join("\n"));
    }
}
