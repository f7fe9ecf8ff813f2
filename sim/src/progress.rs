//! The live view on stderr while the city runs: a bar on a terminal, a line every few seconds
//! elsewhere (a log, a pipe), so that a run of minutes never looks dead.

use crate::client::Client;
use crate::tally::{Count, Tally};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use proto::client::Cluster;
use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How often the view is renewed.
const EVERY: Duration = Duration::from_millis(500);
/// How often a line is written where there is no terminal: every tenth renewal.
const LINE_EVERY: u32 = 10;
/// How long a node may take to say who is alive before the last answer is shown again.
const MEMBERS_WITHIN: Duration = Duration::from_millis(300);

/// The view.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    tally: Arc<Tally>,
    client: Client,
    nodes: usize,
    alive: usize,
}

impl Progress {
    /// `riders` is nothing for a city that stays open until it is told.
    pub(crate) fn new(
        riders: Option<u64>,
        tally: Arc<Tally>,
        client: Client,
        nodes: usize,
    ) -> Self {
        let bar = ProgressBar::with_draw_target(riders, ProgressDrawTarget::stderr());
        let template = "{elapsed_precise} [{bar:40}] {pos}/{len} riders done\n{wide_msg}";
        // The template is a constant and valid; a bar without style would do as well.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, tally, client, nodes, alive: nodes }
    }

    /// A way to say something while the view is up.
    pub(crate) fn voice(&self) -> Voice {
        Voice(self.bar.clone())
    }

    /// Shows the run until it is dropped.
    pub(crate) async fn show(&mut self) -> Infallible {
        let mut ticks = tokio::time::interval(EVERY);
        let mut round = 0u32;
        loop {
            ticks.tick().await;
            round = round.wrapping_add(1);
            self.ask_who_is_alive(round as usize % self.nodes).await;
            let message = self.message();
            self.bar.set_position(self.tally.ended.get());
            self.bar.set_message(message.clone());
            if self.bar.is_hidden() && round.is_multiple_of(LINE_EVERY) {
                say(&format!("{} ended | {message}", self.tally.ended.get()));
            }
        }
    }

    async fn ask_who_is_alive(&mut self, node: usize) {
        let asked = timeout(MEMBERS_WITHIN, self.client.text_of(node, "/v1/cluster")).await;
        if let Ok(Ok(text)) = asked
            && let Ok(cluster) = serde_json::from_str::<Cluster>(&text)
        {
            self.alive = cluster.members.len();
        }
    }

    fn message(&self) -> String {
        let tally = &self.tally;
        let asked = &tally.taken;
        let total: u64 = asked.iter().map(Count::get).sum::<u64>().max(1);
        let share = |count: &Count| format!("{}", count.get() * 100 / total);
        let load: Vec<String> = asked.iter().map(share).collect();
        format!(
            "booked {} assigned {} on trip {} completed {} | RETRY {} | alive {}/{} | load % {}",
            tally.booked.get(),
            tally.assigned.get(),
            tally.on_trip.get(),
            tally.completed.get(),
            tally.retries.get(),
            self.alive,
            self.nodes,
            load.join("/"),
        )
    }

    /// Takes the view away, so that the report has the screen.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// Says what happens once, above the bar.
#[derive(Debug)]
pub(crate) struct Voice(pub(crate) ProgressBar);

impl Voice {
    pub(crate) fn say(&self, sentence: &str) {
        if self.0.is_hidden() {
            say(sentence);
        } else {
            self.0.println(sentence);
        }
    }
}

/// One line on stderr. It is talk: if nobody listens, that is no failure.
pub(crate) fn say(line: &str) {
    let _unheard = writeln!(std::io::stderr().lock(), "{line}");
}
