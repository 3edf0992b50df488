use std::{convert::Infallible, env, future::pending, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, interval};

use crate::load::Load;

const SHADES: u64 = 1000;

/// Draws how far it has come, on a terminal only, and not between the lines of a log.
pub(crate) async fn show(load: &Load) -> Infallible {
    if env::var_os("RUST_LOG").is_some() {
        return pending().await;
    }
    let style = ProgressStyle::with_template("{bar:30.cyan} {percent:>3} %  {elapsed}  {msg}");
    let style = style.expect("the template is constant");
    let bar = Cleared(ProgressBar::new(SHADES).with_style(style));
    let mut ticks = interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        bar.0.set_position((load.progress(Instant::now()) * SHADES as f64) as u64);
        bar.0.set_message(load.line());
    }
}

/// The summary takes the place of the bar, however the run ended.
struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
