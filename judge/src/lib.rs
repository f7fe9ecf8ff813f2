//! The judge: policies of dispatch side by side, on the same riders, cars and draws. The policy that
//! ships is run as its own cores (`actors` without shells) under a virtual clock; beside it stand greedy
//! nearest with its cap tuned, and the global optimum of a batch.
//!
//! * [`city`], [`files`]: the city as values, its driving times a `roads::Matrix`; [`draws`]: chance that no policy can move.
//! * [`street`]: cars and riders, the same for all. [`mod@reference`] and [`ours`]: whom they send.
//! * [`contest`], [`compare`], [`score`]: who competes, on what seeds, and what came of it.
//! * [`args`], [`report`]: the command and what it says.

pub mod args;
pub mod bound;
pub mod city;
pub mod compare;
pub mod contest;
pub mod draws;
pub mod files;
pub mod ours;
pub mod queue;
pub mod reference;
pub mod report;
pub mod score;
pub mod street;

pub use args::Args;

use city::Plan;
use compare::Table;
use draws::Realism;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use proto::units::Clock;

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// The city could not be read.
    #[error(transparent)]
    File(#[from] roads::SourceError),
    /// A policy that can't be meant.
    #[error(transparent)]
    Setting(#[from] args::BadSetting),
    /// The invented town makes no sense.
    #[error(transparent)]
    Network(#[from] roads::MatrixError),
    /// More cars than there are places for them.
    #[error("--cars {cars}: the fleet file has {stands}; ask for fewer")]
    Cars {
        /// Asked for.
        cars: usize,
        /// There.
        stands: usize,
    },
    /// The report could not be written.
    #[error("cannot write the report to {path}: {source}", path = path.display())]
    Report {
        /// Where.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Cars of the invented town where nothing is said: busy nine tenths of the time.
const TOWN_CARS: usize = 330;

/// Runs the command.
pub fn run(args: &Args, clock: &dyn Clock) -> Result<(), JudgeError> {
    let bar = |steps: u64, what: &str| {
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
        // The template is a constant and valid; a bar without style would do as well.
        if let Ok(style) =
            ProgressStyle::with_template("{elapsed_precise} [{bar:40}] {pos}/{len} {msg}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        bar
    };
    let ours = args.ours()?;
    let loading = bar(0, "driving times");
    let step = || loading.inc(1);
    let city = match args.files() {
        Some(files) => files::city(&files, &step)?,
        None => city::town(Plan::TOWN, &step)?,
    };
    loading.finish_and_clear();
    let references = args.references.as_deref().map(roads::demand::published).transpose()?;
    let stands = city.stands.len();
    let fleets = match (args.cars.as_slice(), args.demand.is_some()) {
        ([], true) => vec![stands],
        ([], false) => vec![TOWN_CARS],
        (cars, _) => cars.to_vec(),
    };
    if let Some(cars) = fleets.iter().copied().find(|cars| *cars > stands || *cars == 0) {
        return Err(JudgeError::Cars { cars, stands });
    }
    let worlds =
        if args.realism { Realism::switches() } else { vec![("kind world", Realism::NONE)] };
    let tables_n = (fleets.len() * worlds.len()) as u64;
    let running = bar(tables_n * compare::steps(args, &ours), "comparing");
    let mut tables: Vec<Table> = Vec::new();
    for cars in fleets {
        for world in &worlds {
            tables.push(compare::table(&city, args, &ours, cars, *world, clock, &running));
        }
    }
    running.finish_and_clear();
    let report = report::Report {
        city: city.name,
        requests: city.requests.len(),
        seeds: args.seeds,
        patience_s: args.patience_s,
        command: std::env::args().collect::<Vec<_>>().join(" "),
        tables,
        references: references.unwrap_or_default(),
    };
    report.print(args.json);
    match &args.report {
        Some(path) => {
            report.write(path).map_err(|source| JudgeError::Report { path: path.clone(), source })
        }
        None => Ok(()),
    }
}
