//! Two threads that use one token.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use http::{Request, Response};
use tower::Service;

use crate::{
    Effort,
    floors::{self, Body, SHAPES, Shape, send},
    report::Report,
    rounds::{interleaved, median},
};

const WORKERS: usize = 2;

/// Requests per second of two threads, each with its own clone of one service.
pub(crate) fn run(effort: Effort) -> Report {
    let mut report = Report::new(
        "workers",
        "Two threads, one token",
        ["request", "contender", "million requests/s", "× static header"],
    );
    for shape in SHAPES {
        measure(shape, effort, &mut report);
    }
    report.note("whoever counts references to what both threads use writes to one cache line");
    report
}

fn measure(shape: Shape, effort: Effort, report: &mut Report) {
    let names = ["static header", "retry + static header", "naive mutex", "RefreshLayer"];
    let (header, retry) = (floors::static_header(shape), floors::retry(shape));
    let (mutex, layer) = (floors::naive_mutex(shape), floors::fresh(shape));
    let millions = interleaved(
        effort.pick(41, 5),
        &mut [
            &mut || millions_per_second(&header, shape),
            &mut || millions_per_second(&retry, shape),
            &mut || millions_per_second(&mutex, shape),
            &mut || millions_per_second(&layer, shape),
        ],
    );
    let ratio = |of: &[f64]| median(of.iter().zip(&millions[0]).map(|(ours, floor)| ours / floor));
    for (name, figures) in names.into_iter().zip(&millions) {
        let typical = median(figures.iter().copied());
        report.row([shape.name.into(), name.into(), typical.into(), ratio(figures).into()]);
    }
    let ours = ratio(&millions[3]);
    let what = format!("{}: the layer beside a static header: {ours:.2}, at least 1", shape.name);
    report.target(what, ours >= 1.0);
}

fn millions_per_second<S>(service: &S, shape: Shape) -> f64
where
    S: Service<Request<Body>, Response = Response<()>> + Clone + Send + Sync,
{
    let together = Barrier::new(WORKERS);
    thread::scope(|scope| {
        let work = || {
            let (mut service, request) = (service.clone(), shape.requests());
            together.wait();
            let (start, mut sent) = (Instant::now(), 0_u32);
            while start.elapsed() < A_TURN {
                (0..256).for_each(|_| send(&mut service, request()));
                sent += 256;
            }
            f64::from(sent) / start.elapsed().as_secs_f64() / 1e6
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("it does not panic")).sum()
    })
}

/// Long enough for both to run at once for nearly all of it.
const A_TURN: Duration = Duration::from_millis(20);
