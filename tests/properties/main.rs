//! What holds whatever happens, and in whatever order.
//!
//! Every case is drawn from a fixed seed, so that a test that passes once passes always;
//! `PROPTEST_CASES=10000` draws that many.

mod fleet;
#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub)]
mod fuzz;
mod fuzz_bodies;
mod interleavings;

use std::env;

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};

/// Tests so many cases, always the same ones, and shrinks the first that fails.
fn check<S: Strategy>(
    cases: u32,
    strategy: &S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    if let Err(error) = TestRunner::new_with_rng(config, rng).run(strategy, test) {
        panic!("{error}");
    }
}
