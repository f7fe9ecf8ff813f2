//! The trace: every event that any crate logs at any level, turmoil's account of every byte sent
//! and delivered among them, each with its virtual time and its node, hashed in order.

use crate::outside;
use proto::slot::frozen_hash;
use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Lines shown before and after traces part.
const CONTEXT: usize = 8;
/// So much of a line is kept to be shown; all of it is hashed.
const SHOWN_MAX: usize = 240;

/// Not heard: tokio's account of its own polls and wakers, nine lines of ten, with ids of this
/// subscriber's making in them, and ractor's, with numbers of this process's. What they lead to is
/// in the lines of others.
const UNHEARD: &[&str] = &["tokio", "runtime", "ractor"];
/// Heard only when something is wrong: openraft tells a thousand lines a second of what each group
/// thinks. What it says to others is in turmoil's lines, byte by byte.
const RETICENT: &[&str] = &["openraft"];

/// Told to people: what the simulation itself says, who comes and goes, and what went wrong.
const TOLD: &[&str] = &["dst", "membership", "ledger", "node"];
/// Lines of a story that are kept, the last ones.
const STORY_MAX: usize = 4_000;

/// How much is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Everything, and what openraft thinks.
    Deep,
    /// Everything: what the hash of two equal runs is compared by.
    Full,
    /// What people read; a search of many seeds has no time for more.
    Story,
}

/// What a run did, in order.
#[derive(Debug, Clone)]
pub struct Trace {
    detail: Detail,
    /// Whether it is told while it happens: a process that aborts can't tell it afterwards.
    live: bool,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Debug, Default)]
struct Lines {
    hash: u64,
    /// Each line's beginning, and the hash up to and with it.
    lines: VecDeque<(u64, Box<str>)>,
    /// How many there were.
    count: usize,
}

impl Trace {
    /// An empty one.
    pub fn new(detail: Detail) -> Self {
        let live = std::env::var_os("DST_LIVE").is_some();
        Self { detail, live, lines: Arc::default() }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line.
    fn add(&self, mut line: String) {
        if self.live {
            let _closed = writeln!(std::io::stderr(), "{line}");
        }
        let mut lines = self.lines();
        lines.hash = lines.hash.rotate_left(7) ^ frozen_hash(line.as_bytes());
        if let Some((cut, _)) = line.char_indices().nth(SHOWN_MAX) {
            line.truncate(cut);
        }
        let hash = lines.hash;
        lines.lines.push_back((hash, line.into()));
        lines.count += 1;
        if self.detail == Detail::Story && lines.lines.len() > STORY_MAX {
            lines.lines.pop_front();
        }
    }

    /// The hash of everything, and how many lines that were.
    pub fn sum(&self) -> (u64, usize) {
        let lines = self.lines();
        (lines.hash, lines.count)
    }

    /// The lines that contain one of these words.
    pub fn grep(&self, words: &[&str]) -> Vec<String> {
        let lines = self.lines();
        let wanted = lines.lines.iter().filter(|(_, line)| words.iter().any(|w| line.contains(w)));
        wanted.map(|(_, line)| line.to_string()).collect()
    }

    /// Writes the lines to a file, for `diff`.
    pub fn write(&self, path: &Path) {
        let lines: Vec<_> = self.lines().lines.iter().map(|(_, line)| line.clone()).collect();
        std::fs::write(path, lines.join("\n")).expect("the trace is written");
    }

    /// Where two traces part, with the lines before; nothing if they are equal.
    pub fn parting(&self, other: &Self) -> Option<String> {
        if self.sum() == other.sum() {
            return None;
        }
        let (ours, theirs) = (self.lines(), other.lines());
        let both = ours.lines.iter().zip(&theirs.lines);
        let same = both.take_while(|(a, b)| a.0 == b.0).count();
        let mut text = format!("equal for {same} lines\n");
        for (_, line) in ours.lines.range(same.saturating_sub(CONTEXT)..same) {
            let _ = writeln!(text, "    {line}");
        }
        for (sign, lines) in [('<', &ours.lines), ('>', &theirs.lines)] {
            for (_, line) in lines.iter().skip(same).take(CONTEXT) {
                let _ = writeln!(text, "  {sign} {line}");
            }
        }
        Some(text)
    }
}

/// The name of the host that turmoil runs: its span around each host's turn has it.
struct Host(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Trace {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let of = |targets: &[&str]| targets.iter().any(|t| metadata.target().starts_with(t));
        if self.detail == Detail::Story {
            // The span that names the host whose turn it is.
            if metadata.is_span() {
                return metadata.name() == "node";
            }
            let told = *metadata.level() <= Level::INFO && of(TOLD);
            return told || (*metadata.level() <= Level::WARN && !of(UNHEARD));
        }
        let thoughts = self.detail == Detail::Deep && *metadata.level() <= Level::DEBUG;
        !of(UNHEARD) && (thoughts || *metadata.level() <= Level::WARN || !of(RETICENT))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() == "node"
            && let Some(span) = context.span(id)
        {
            let mut text = Text(String::new());
            attributes.record(&mut text);
            span.extensions_mut().insert(Host(text.0));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut text = Text(String::new());
        let at_ms = outside::now().as_millis();
        let _ = write!(text.0, "{at_ms}");
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(Host(name)) = span.extensions().get() {
                text.0.push_str(name);
            }
        }
        let _ = write!(text.0, " {} {}:", metadata.level(), metadata.target());
        event.record(&mut text);
        self.add(text.0);
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
