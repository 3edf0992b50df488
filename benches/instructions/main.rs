//! What one request costs in instructions, counted by callgrind: a figure that noise does not reach.
//!
//! `cargo bench --bench instructions` prints the table, and fails if a request through the layer
//! costs over 5 % more than is recorded in `recorded.json`, or more than Tower's retry around a
//! static header in the same run. A service that is cloned for each request and one behind which a
//! refresh is under way are held to what is recorded. `-- --record` writes that file.

#[path = "../floors/mod.rs"]
mod floors;

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    process::{Command, ExitCode},
};

use floors::{Body, Shape, send};
use http::{Request, Response};
use tower::Service;

/// Sends so many requests.
type Work = fn(Shape, u64);

/// Each is counted in a process of its own.
const CONTENDERS: [(&str, Work); 7] = [
    ("bare", |shape, times| repeat(floors::Bare, shape, times)),
    ("static header", |shape, times| repeat(floors::static_header(shape), shape, times)),
    ("retry", |shape, times| repeat(floors::retry(shape), shape, times)),
    ("naive mutex", |shape, times| repeat(floors::naive_mutex(shape), shape, times)),
    ("layer", |shape, times| repeat(floors::fresh(shape), shape, times)),
    ("layer, refreshing", |shape, times| {
        let (service, _runtime) = floors::refreshing(shape);
        repeat(service, shape, times);
    }),
    ("layer, cloned", |shape, times| repeat_cloned(floors::fresh(shape), shape, times)),
];

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [marker, shape, contender, times] = &args[..]
        && marker == "--counted"
    {
        let shape = floors::SHAPES.into_iter().find(|s| s.name == shape).expect("one of ours");
        let (_, work) = CONTENDERS.iter().find(|(name, _)| name == contender).expect("one of ours");
        work(shape, times.parse().expect("a number"));
        return ExitCode::SUCCESS;
    }
    compare(args.iter().any(|arg| arg == "--record"))
}

fn compare(record: bool) -> ExitCode {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/recorded.json");
    let recorded: BTreeMap<String, u64> = fs::read(&file)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .unwrap_or_default();
    let (mut counted, mut faults) = (BTreeMap::new(), Vec::new());
    println!("| request | contender | instructions | over bare | × retry | recorded |");
    println!("|---|---|--:|--:|--:|--:|");
    for shape in floors::SHAPES {
        let count = |name| instructions_per_request(shape.name, name);
        let (bare, retry) = (count("bare"), count("retry"));
        for (name, _) in CONTENDERS {
            let count = count(name);
            let key = format!("{}: {name}", shape.name);
            let before = recorded.get(&key).copied();
            let times_retry = (count - bare) as f64 / (retry - bare) as f64;
            let before_text = before.map_or(String::from("-"), |n| n.to_string());
            println!(
                "| {} | {name} | {count} | {} | {times_retry:.2} | {before_text} |",
                shape.name,
                count - bare
            );
            if name.starts_with("layer") {
                if before.is_none_or(|before| count > before + before / 20) {
                    faults.push(format!("{key}: {count}, and {before_text} is recorded"));
                }
                // A hundredth is what the same code differs by from one build to the next. The others
                // are what a token costs that knows its session, a session its origins, and a response
                // that is looked at for the route that it came from.
                if count > retry + retry * 3 / 100 && name == "layer" {
                    faults.push(format!("{key}: {count}, and Tower's retry costs {retry}"));
                }
                counted.insert(key, count);
            }
        }
    }
    if record {
        let json = serde_json::to_string_pretty(&counted).expect("a map of numbers");
        fs::write(&file, json + "\n").expect("the file can be written");
        return ExitCode::SUCCESS;
    }
    for fault in &faults {
        eprintln!("more instructions than there should be: {fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What twenty thousand requests more cost, by their number: the start of the process cancels out,
/// but for some thousand instructions where it waits for another thread.
fn instructions_per_request(shape: &str, contender: &str) -> u64 {
    let count = |times| callgrind(&["--counted", shape, contender, times]);
    (count("21000") - count("1000")) / 20_000
}

fn callgrind(args: &[&str]) -> u64 {
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().expect("it runs"))
        .args(args)
        .output()
        .expect("valgrind is on the PATH: `apt-get install valgrind`");
    let report = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{report}");
    let line = report.lines().find_map(|line| line.split_once("Collected : "));
    let (_, figure) = line.unwrap_or_else(|| panic!("callgrind says what it collected: {report}"));
    figure.trim().parse().expect("a number")
}

fn repeat<S>(mut service: S, shape: Shape, times: u64)
where
    S: Service<Request<Body>, Response = Response<()>>,
{
    let request = shape.requests();
    (0..times).for_each(|_| send(&mut service, request()));
}

/// As most people use Tower: one service, cloned for each request.
fn repeat_cloned<S>(service: S, shape: Shape, times: u64)
where
    S: Service<Request<Body>, Response = Response<()>> + Clone,
{
    let request = shape.requests();
    (0..times).for_each(|_| send(&mut service.clone(), request()));
}
