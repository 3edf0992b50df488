//! What a token costs that is there already: the way of nearly every request.

use http::{Request, Response};
use tower::Service;

use crate::{
    Effort,
    allocated::Allocated,
    floors::{self, Body, SHAPES, Shape, send},
    paired::{Contender, Rounds},
    report::Report,
};

const BARE: &str = "bare";
const STATIC: &str = "static header";
const RETRY: &str = "retry + static header";
const MUTEX: &str = "naive mutex";
const LAYER: &str = "RefreshLayer";
const REFRESHING: &str = "RefreshLayer, refreshing";
const CLONED: &str = "RefreshLayer, cloned";

/// A request with a live token, beside what one would do without this crate.
pub(crate) fn run(effort: Effort) -> Report {
    let mut report = Report::new(
        "hot_path",
        "A live token on a request",
        ["request", "contender", "ns", "× static header", "× retry", "allocations"],
    );
    for shape in SHAPES {
        measure(shape, effort, &mut report);
    }
    report.note("ns and allocations are those over the bare service, which answers at once");
    report.note("small: no headers, no body, a token of 200 bytes; usual: 4, 1 KiB, 1,200 bytes");
    report.note("cloned: for each request a clone of the service, as most people use Tower");
    report
}

fn measure(shape: Shape, effort: Effort, report: &mut Report) {
    let (refreshing, _runtime) = floors::refreshing(shape);
    let mut contenders = [
        contender(BARE, shape, floors::Bare),
        contender(STATIC, shape, floors::static_header(shape)),
        contender(RETRY, shape, floors::retry(shape)),
        contender(MUTEX, shape, floors::naive_mutex(shape)),
        contender(LAYER, shape, floors::fresh(shape)),
        contender(REFRESHING, shape, refreshing),
        cloned(CLONED, shape, floors::fresh(shape)),
    ];
    let allocations = contenders.each_mut().map(allocations);
    let names = contenders.each_ref().map(|contender| contender.name);
    let rounds = Rounds::run(contenders.into(), effort.pick(501, 31));

    let over_bare = |name| rounds.median(|of| of(name) - of(BARE));
    let ratio = |a, b| rounds.median(|of| (of(a) - of(BARE)) / (of(b) - of(BARE)));
    for (name, allocations_in_all) in names.into_iter().zip(allocations).skip(1) {
        report.row([
            shape.name.into(),
            name.into(),
            over_bare(name).into(),
            ratio(name, STATIC).into(),
            ratio(name, RETRY).into(),
            (allocations_in_all - allocations[0]).into(),
        ]);
    }
    let name = shape.name;
    let mut at_most = |what: &str, ratio: f64, limit: f64| {
        report.target(format!("{name}: {what}: {ratio:.2}, at most {limit}"), ratio <= limit);
    };
    at_most("the layer beside Tower's retry + static header", ratio(LAYER, RETRY), 1.0);
    at_most("refreshing beside fresh", ratio(REFRESHING, LAYER), 1.1);
    at_most("cloned for each request beside one that is not", ratio(CLONED, LAYER), 1.3);
}

fn contender<S>(name: &'static str, shape: Shape, mut service: S) -> Contender<'static>
where
    S: Service<Request<Body>, Response = Response<()>> + 'static,
{
    let request = shape.requests();
    Contender::new(name, move || send(&mut service, request()))
}

fn cloned<S>(name: &'static str, shape: Shape, service: S) -> Contender<'static>
where
    S: Service<Request<Body>, Response = Response<()>> + Clone + 'static,
{
    let request = shape.requests();
    Contender::new(name, move || send(&mut service.clone(), request()))
}

/// What the second of two requests allocates: the first may find something to prepare.
fn allocations(contender: &mut Contender<'_>) -> usize {
    contender.work(2);
    let allocated = Allocated::from_now_on();
    contender.work(1);
    allocated.times()
}
