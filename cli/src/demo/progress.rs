//! A progress bar, for a story that takes its time.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Before that, a bar would only flicker.
const PATIENCE: Duration = Duration::from_secs(2);

/// The bar; on a terminal only, and gone when dropped.
pub struct Progress {
    bar: ProgressBar,
    start: Instant,
}

impl Progress {
    /// A bar of so many steps.
    pub fn new(steps: usize) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{bar:30.cyan/blue} {pos}/{len} {msg}");
        bar.set_style(style.expect("the template is valid"));
        Progress { bar, start: Instant::now() }
    }

    /// One more step begins.
    pub fn step(&self, what: &str) {
        if self.bar.is_hidden() && self.start.elapsed() > PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_message(what.to_owned());
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
