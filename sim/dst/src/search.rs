//! Many seeds, in child processes of this program: turmoil and tokio's task numbers want one
//! simulation a process at a time. A child reads seeds from its input, and writes an outcome, in one
//! line of JSON, for each.

use crate::laws::Broken;
use crate::run::{Job, Outcome, run};
use crate::schedule::{Diet, Schedule};
use crate::trace::Detail;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

/// A run that takes longer, in seconds, hangs.
const RUN_MAX_S: u64 = 300;
/// A line is written so often where there is no terminal, in outcomes.
const LINE_EVERY: usize = 20;

/// Runs seeds that come line by line; ends with its input.
pub fn work(diet: &Diet, plant: Option<&str>) -> io::Result<()> {
    let turn = std::sync::Arc::new(AtomicU64::new(0));
    let watched = std::sync::Arc::clone(&turn);
    thread::spawn(move || {
        loop {
            let before = watched.load(Ordering::Relaxed);
            thread::sleep(Duration::from_secs(RUN_MAX_S));
            if before % 2 == 1 && watched.load(Ordering::Relaxed) == before {
                std::process::abort(); // whoever reads says that this seed hangs
            }
        }
    });
    for line in io::stdin().lock().lines() {
        let Ok(seed) = line?.parse() else { continue };
        turn.fetch_add(1, Ordering::Relaxed);
        let job = Job::storm(seed, Schedule::storm(seed, diet), Detail::Story);
        let job = Job { plant: plant.map(Into::into), ..job };
        let outcome = run(&job).outcome;
        turn.fetch_add(1, Ordering::Relaxed);
        let mut out = io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&outcome)?)?;
        out.flush()?;
    }
    Ok(())
}

struct Worker(Child);

impl Worker {
    fn start(flags: &[String]) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--worker").args(flags);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().map(Self)
    }

    fn run(&mut self, seed: u64) -> io::Result<Outcome> {
        let none = || io::Error::other("it has no pipe");
        writeln!(self.0.stdin.as_mut().ok_or_else(none)?, "{seed}")?;
        let mut line = String::new();
        BufReader::with_capacity(1, self.0.stdout.as_mut().ok_or_else(none)?)
            .read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Runs these seeds, so many at a time, with these flags for the workers; hands on each outcome, and
/// ends early if that says so.
pub fn search(
    seeds: &[u64],
    jobs: usize,
    flags: &[String],
    mut found: impl FnMut(&Outcome) -> io::Result<bool>,
) -> io::Result<Vec<Outcome>> {
    let count = seeds.len();
    let next = AtomicUsize::new(0);
    let bar = ProgressBar::new(count as u64);
    let template = "{elapsed_precise} [{bar:40}] {pos}/{len} seeds, {eta} left\n{wide_msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    let mut outcomes = Vec::with_capacity(count);
    thread::scope(|scope| {
        let (send, receive) = sync_channel(jobs);
        for _ in 0..jobs {
            let (send, next) = (send.clone(), &next);
            scope.spawn(move || {
                let mut worker = Worker::start(flags);
                loop {
                    let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) else {
                        return;
                    };
                    let seed = *seed;
                    let outcome = worker.as_mut().map_err(|e| io::Error::other(e.to_string()));
                    let outcome =
                        outcome.and_then(|worker| worker.run(seed)).unwrap_or_else(|why| {
                            worker = Worker::start(flags);
                            let what = format!("the process of this seed ended or hung: {why}");
                            let broken = vec![Broken::new("nobody panics", what)];
                            Outcome { seed, broken, ..Outcome::default() }
                        });
                    if send.send(outcome).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut bad = Vec::new();
        let mut told = Ok(());
        loop {
            match receive.recv_timeout(Duration::from_millis(500)) {
                Ok(outcome) => {
                    if outcome.is_bad() {
                        bad.push(outcome.seed);
                    }
                    let enough = found(&outcome);
                    let ends = !matches!(enough, Ok(false));
                    outcomes.push(outcome);
                    bar.set_position(outcomes.len() as u64);
                    bar.set_message(format!("{} bad: {bad:?}", bad.len()));
                    if bar.is_hidden() && outcomes.len().is_multiple_of(LINE_EVERY) {
                        let mut talk = io::stderr().lock();
                        let _closed =
                            writeln!(talk, "{} of {count} seeds, bad: {bad:?}", outcomes.len());
                    }
                    told = enough.map(drop);
                    if ends {
                        next.store(count, Ordering::Relaxed);
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => bar.tick(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // Whoever still runs a seed finds nobody to tell, and ends.
        drop(receive);
        told
    })?;
    bar.finish_and_clear();
    outcomes.sort_by_key(|outcome| outcome.seed);
    Ok(outcomes)
}
