//! The live view on stderr: a bar of time on a terminal, a line every few seconds elsewhere.

use super::stage::Board;
use crate::progress::{Voice, say};
use crate::tally::Tally;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::convert::Infallible;
use std::time::Duration;

/// How often it is renewed, and how many renewals a line takes where there is no terminal.
const EVERY: Duration = Duration::from_millis(500);
const LINE_EVERY: u32 = 20;

/// The view.
#[derive(Debug)]
pub(super) struct View(ProgressBar);

impl View {
    /// A bar for a run of so long.
    pub(super) fn new(ends_ms: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(ends_ms), ProgressDrawTarget::stderr());
        let template = "{elapsed_precise} [{bar:40}] {percent} %\n{wide_msg}";
        // The template is a constant and valid; a bar without style would do as well.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    /// A way to say something above it.
    pub(super) fn voice(&self) -> Voice {
        Voice(self.0.clone())
    }

    /// Shows the run until it is dropped.
    pub(super) async fn show(&self, board: &Board, tally: &Tally) -> Infallible {
        let (mut round, mut before) = (0u32, tally.settled.get());
        loop {
            tokio::time::sleep(EVERY).await;
            round = round.wrapping_add(1);
            let settled = tally.settled.get();
            let per_s = (settled - before) as f64 / EVERY.as_secs_f64();
            before = settled;
            let message = format!(
                "{} faults, now {} | {per_s:.0} requests/s, {settled} in all | late {} | on trip {}, completed {}",
                board.faults(),
                board.now(),
                tally.late.get(),
                tally.on_trip.get(),
                tally.completed.get(),
            );
            self.0.set_position(board.ms().min(board.ends_ms()));
            self.0.set_message(message.clone());
            if self.0.is_hidden() && round.is_multiple_of(LINE_EVERY) {
                say(&format!("{:.0} s | {message}", board.ms() as f64 / 1000.0));
            }
        }
    }

    /// Takes it away, so that the report has the screen.
    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
