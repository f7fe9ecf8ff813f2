//! `cargo sim`: one seed replayed, or many searched.

use clap::Parser;
use dst::fault::Kind;
use dst::keep::Keep;
use dst::mutants::{ALL, Mutant};
use dst::report::Figures;
use dst::run::{Job, Outcome, Run, run};
use dst::schedule::{Diet, Schedule, of_kinds, usual};
use dst::search::{search, work};
use dst::trace::Detail;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
A seed is a cluster of 3, 5 or 7 real nodes, people who ride, and a storm of faults; it lives for a
minute of simulated time, is mended after 45 seconds, and judged. The same seed is the same run, always.

Examples:
  Replay one seed and see its story:
    cargo sim --seed 7

  Everything that happened, byte by byte, for diff:
    cargo sim --seed 7 --trace /tmp/seven

  Search:
    cargo sim --seeds 1..200

  A long search that may be cut short, and goes on where it was:
    cargo sim --seeds 1..2000 --keep /tmp/outcomes

  Nothing but lost disks and power cuts, as JSON:
    cargo sim --seeds 1..200 --only wipe,power-loss --json

Exit status: 0 if no law was broken, 1 if one was, 2 if the question makes no sense. A run in which
too little happened is invalid: it is counted apart, and proves nothing.
";

/// Searches for seeds under which the cluster breaks its word.
#[derive(Debug, Parser)]
#[command(name = "cargo sim", after_long_help = EXAMPLES)]
struct Args {
    /// Replay this seed, and tell its story.
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,

    /// Search these seeds, first and last.
    #[arg(long, value_name = "A..B", value_parser = range)]
    seeds: Option<RangeInclusive<u64>>,

    /// Seeds at a time [default: as many as there are cores]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,

    /// Only these kinds of faults, besides crashes: names as in the table.
    #[arg(long, value_name = "KIND,...", value_delimiter = ',', value_parser = kind)]
    only: Vec<Kind>,

    /// Add each outcome to this file, and run no seed again whose outcome is in it; the table tells of all
    /// that were asked for.
    #[arg(long, value_name = "FILE", requires = "seeds")]
    keep: Option<PathBuf>,

    /// Write all that happened to a file; with --seed.
    #[arg(long, value_name = "FILE", requires = "seed")]
    trace: Option<PathBuf>,

    /// What openraft thinks as well; with --trace.
    #[arg(long, requires = "trace")]
    deep: bool,

    /// The figures as JSON.
    #[arg(long)]
    json: bool,

    /// Have every node make this known mistake, or look for each of them in turn (`all`), until it is
    /// found: the search must be seen to find something.
    #[cfg(feature = "plant")]
    #[arg(long, value_name = "NAME", conflicts_with = "keep", value_parser = mistake)]
    plant: Option<String>,

    /// Read seeds, write outcomes: what a search starts.
    #[arg(long, hide = true)]
    worker: bool,
}

fn range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (first, last) = text.split_once("..").ok_or("is no range: write 1..200")?;
    let number = |text: &str| text.trim_start_matches('=').parse().map_err(|e| format!("{e}"));
    let (first, last) = (number(first)?, number(last)?);
    if first > last { Err("is empty".into()) } else { Ok(first..=last) }
}

fn kind(text: &str) -> Result<Kind, String> {
    let all = || Kind::STORM.into_iter().chain([Kind::Blank]);
    all().find(|kind| kind.as_str() == text).ok_or_else(|| {
        let names: Vec<&str> = all().map(Kind::as_str).collect();
        format!("is none of {}", names.join(", "))
    })
}

#[cfg(feature = "plant")]
fn mistake(text: &str) -> Result<String, String> {
    let names: Vec<&str> = ALL.iter().map(|mutant| mutant.name).collect();
    if text == "all" || names.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("is none of all, {}", names.join(", ")))
}

impl Args {
    /// The mistake that is planted.
    #[cfg(feature = "plant")]
    fn plant(&self) -> Option<&str> {
        self.plant.as_deref()
    }
    #[cfg(not(feature = "plant"))]
    #[expect(clippy::unused_self, reason = "the shape of its planting twin")]
    const fn plant(&self) -> Option<&str> {
        None
    }

    /// The mistakes that are looked for.
    fn planted(&self) -> Vec<Mutant> {
        match self.plant() {
            Some("all") => ALL.into(),
            Some(name) => Mutant::named(name).into_iter().collect(),
            None => Vec::new(),
        }
    }

    fn jobs(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.unwrap_or(cores).max(1)
    }

    fn diet(&self) -> Diet {
        let planted = self.plant().and_then(Mutant::named);
        match planted {
            _ if !self.only.is_empty() => of_kinds(&self.only),
            Some(mutant) => mutant.diet(),
            None => usual(),
        }
    }

    /// The flags that make a worker, or a replay, run the same.
    fn flags(&self) -> Vec<String> {
        let names: Vec<&str> = self.only.iter().map(|kind| kind.as_str()).collect();
        let only = (!names.is_empty()).then(|| vec!["--only".to_owned(), names.join(",")]);
        let plant = self.plant().map(|name| vec!["--plant".to_owned(), name.to_owned()]);
        only.into_iter().chain(plant).flatten().collect()
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match (&args.seed, &args.seeds) {
        _ if args.worker => work(&args.diet(), args.plant()).map(|()| true),
        (Some(seed), _) => replay(&args, *seed),
        (None, Some(seeds)) if args.plant().is_some() => mutants(&args, &args.planted(), seeds),
        (None, Some(seeds)) => many(&args, seeds.clone()),
        (None, None) => {
            let _closed = writeln!(
                io::stderr(),
                "cargo sim: say --seed N or --seeds A..B; --help tells more"
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let _closed = writeln!(io::stderr(), "cargo sim: {error}");
            ExitCode::from(2)
        }
    }
}

/// Looks for each of these mistakes until it is found; says after how many seeds, and by which law.
fn mutants(args: &Args, wanted: &[Mutant], seeds: &RangeInclusive<u64>) -> io::Result<bool> {
    let mut missed = 0;
    let seeds: Vec<u64> = seeds.clone().collect();
    for mutant in wanted {
        let (tried, found) = hunt(args.jobs(), mutant, &seeds)?;
        missed += usize::from(found.is_none());
        let told = found.map_or("NOT FOUND".into(), |bad| {
            let laws: BTreeSet<&str> = bad.broken.iter().map(|one| one.law.as_str()).collect();
            let laws: Vec<&str> = laws.into_iter().collect();
            format!("seed {}: {}", bad.seed, laws.join(", "))
        });
        writeln!(io::stdout(), "{:22} {tried:>3} seeds  {told}\n    {}", mutant.name, mutant.what)?;
    }
    writeln!(io::stdout(), "{} of {} found", wanted.len() - missed, wanted.len())?;
    Ok(missed == 0)
}

/// The first of these seeds whose storm breaks a law over nodes that make a mistake, and none over nodes
/// that don't; and how many were tried.
fn hunt(jobs: usize, mutant: &Mutant, seeds: &[u64]) -> io::Result<(usize, Option<Outcome>)> {
    let planted = ["--plant".to_owned(), mutant.name.to_owned()];
    let (mut left, mut tried) = (seeds, 0);
    loop {
        let outcomes = search(left, jobs, &planted, |outcome| Ok(outcome.is_bad()))?;
        tried += outcomes.len();
        let Some(bad) = outcomes.into_iter().find(Outcome::is_bad) else {
            return Ok((tried, None));
        };
        let sound = search(&[bad.seed], 1, &mutant.sound(), |_| Ok(false))?;
        if !sound.iter().any(Outcome::is_bad) {
            return Ok((tried, Some(bad)));
        }
        left = &left[left.partition_point(|seed| *seed <= bad.seed)..];
    }
}

fn many(args: &Args, seeds: RangeInclusive<u64>) -> io::Result<bool> {
    let keep = args.keep.as_ref().map(|path| Keep::open(path, &args.flags())).transpose();
    let mut keep = keep.map_err(io::Error::other)?;
    let known = keep.as_ref().map(|keep| keep.known().clone()).unwrap_or_default();
    let (old, new): (Vec<u64>, Vec<u64>) = seeds.partition(|seed| known.contains_key(seed));
    let mut outcomes: Vec<Outcome> =
        old.iter().filter_map(|seed| known.get(seed)).cloned().collect();
    outcomes.extend(search(&new, args.jobs(), &args.flags(), |outcome| {
        keep.iter_mut().try_for_each(|keep| keep.add(outcome))?;
        Ok(false)
    })?);
    outcomes.sort_by_key(|outcome| outcome.seed);
    let figures = Figures::of(&outcomes);
    tell(args, &figures)?;
    Ok(figures.broken.is_empty())
}

fn tell(args: &Args, figures: &Figures) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if args.json {
        return writeln!(out, "{}", serde_json::to_string_pretty(figures)?);
    }
    let flags: String = args.flags().iter().map(|flag| format!(" {flag}")).collect();
    write!(out, "{}", figures.table(&flags))
}

fn replay(args: &Args, seed: u64) -> io::Result<bool> {
    let detail = match (args.trace.is_some(), args.deep) {
        (_, true) => Detail::Deep,
        (true, false) => Detail::Full,
        (false, false) => Detail::Story,
    };
    let job = Job::storm(seed, Schedule::storm(seed, &args.diet()), detail);
    let told = run(&Job { plant: args.plant().map(Into::into), ..job });
    if let Some(path) = &args.trace {
        told.trace.write(path);
    }
    if !args.json {
        story(&told)?;
    }
    tell(args, &Figures::of(std::slice::from_ref(&told.outcome)))?;
    Ok(!told.outcome.is_bad())
}

fn story(run: &Run) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", run.story())?;
    writeln!(out, "\nthe plan: {}\nwhat happened:", run.plan)?;
    for fault in &run.outcome.faults {
        let at = fault.at_ms.map_or("never".into(), |at| format!("{at} ms"));
        let led = fault.led;
        writeln!(out, "  {at:>9}: {} of {} (led {led}) {}", fault.kind, fault.whom, fault.note)?;
    }
    writeln!(out, "\n{}\n", run.summary())
}
