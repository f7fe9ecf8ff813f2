//! The trace: every event that any crate logs at any level, turmoil's account of every byte sent
//! and delivered among them, each with its virtual time and its node, hashed in order.

use crate::outside;
use proto::slot::frozen_hash;
use std::fmt::{self, Write as _};
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

/// What a run did, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    hash: u64,
    /// Each line's beginning, and the hash up to and with it.
    lines: Vec<(u64, Box<str>)>,
}

impl Trace {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line.
    fn add(&self, mut line: String) {
        let mut lines = self.lines();
        lines.hash = lines.hash.rotate_left(7) ^ frozen_hash(line.as_bytes());
        if let Some((cut, _)) = line.char_indices().nth(SHOWN_MAX) {
            line.truncate(cut);
        }
        let hash = lines.hash;
        lines.lines.push((hash, line.into()));
    }

    /// The hash of everything, and how many lines that were.
    pub(crate) fn sum(&self) -> (u64, usize) {
        let lines = self.lines();
        (lines.hash, lines.lines.len())
    }

    /// The lines that contain one of these words.
    pub(crate) fn grep(&self, words: &[&str]) -> Vec<String> {
        let lines = self.lines();
        let wanted = lines.lines.iter().filter(|(_, line)| words.iter().any(|w| line.contains(w)));
        wanted.map(|(_, line)| line.to_string()).collect()
    }

    /// Writes the lines to a file, for `diff`.
    pub(crate) fn write(&self, path: &Path) {
        let lines: Vec<_> = self.lines().lines.iter().map(|(_, line)| line.clone()).collect();
        std::fs::write(path, lines.join("\n")).expect("the trace is written");
    }

    /// Where two traces part, with the lines before; nothing if they are equal.
    pub(crate) fn parting(&self, other: &Self) -> Option<String> {
        if self.sum() == other.sum() {
            return None;
        }
        let (ours, theirs) = (self.lines(), other.lines());
        let both = ours.lines.iter().zip(&theirs.lines);
        let same = both.take_while(|(a, b)| a.0 == b.0).count();
        let mut text = format!("equal for {same} lines\n");
        for (_, line) in &ours.lines[same.saturating_sub(CONTEXT)..same] {
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
        !of(UNHEARD) && (*metadata.level() <= Level::WARN || !of(RETICENT))
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
