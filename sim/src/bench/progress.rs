//! A bar on a terminal; elsewhere a line when something begins, so that no minute looks dead.

use crate::progress::say;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::Arc;
use std::time::Duration;

/// How often a bar that measures time is renewed.
const EVERY: Duration = Duration::from_millis(200);

/// A bar; it goes with its last clone.
#[derive(Debug, Clone)]
pub struct Steps(Arc<Bar>);

#[derive(Debug)]
struct Bar(ProgressBar);

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Steps {
    /// So many steps of something.
    pub fn new(steps: u64, what: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
        // The template is a constant and valid; a bar without style would do as well.
        if let Ok(style) =
            ProgressStyle::with_template("{elapsed_precise} [{bar:40}] {pos}/{len} {msg}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        if bar.is_hidden() {
            say(what);
        }
        Self(Arc::new(Bar(bar)))
    }

    /// One step more.
    pub fn up(&self) {
        self.0.0.inc(1);
    }
}

/// Waits, and shows it.
pub(super) async fn wait(lasts: Duration, what: &str) {
    let ticks = u64::try_from(lasts.as_millis() / EVERY.as_millis()).unwrap_or(u64::MAX);
    let steps = Steps::new(ticks.max(1), what);
    let showing = async {
        loop {
            tokio::time::sleep(EVERY).await;
            steps.up();
        }
    };
    // Time is up: that is what it waits for.
    let _over = tokio::time::timeout(lasts, showing).await;
}
