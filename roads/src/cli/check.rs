//! `hansom roads check`.

use super::{City, Failure, answer, bar};
use crate::hierarchy::Direction;
use crate::places::Places;
use crate::report::figures;
use proto::units::Clock;
use serde::Serialize;

/// Flags of `hansom roads check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    city: City,
    /// How many drives to compare, each forwards and backwards and by its line.
    #[arg(long, default_value_t = 2_000)]
    pairs: u64,
    /// Where the drives are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Checked {
    pairs: u64,
    equal: u64,
    /// Pairs where any of the three ways to ask differs.
    wrong: u64,
    mean_eta_s: u64,
    took_ms: u64,
}

pub(super) fn run(args: &Args, clock: &dyn Clock) -> Result<(), Failure> {
    let roads = args.city.open()?;
    let oracle = roads.oracle();
    let mut places = Places::new(&roads, args.seed);
    let began = clock.mono();
    let bar = bar(args.pairs, "{elapsed_precise} [{bar:40}] {pos}/{len} drives compared");
    let (mut wrong, mut total_ms) = (0, 0);
    for _ in 0..args.pairs {
        let (a, b) = (places.draw(), places.draw());
        let (from, to) = (roads.snap(a)?, roads.snap(b)?);
        let truth = roads.slow(&oracle, Direction::Out, &from, std::slice::from_ref(&to))[0];
        let answers = [
            roads.one_to_many(&from, std::slice::from_ref(&to))[0],
            roads.many_to_one(std::slice::from_ref(&from), &to)[0],
            roads.route(a, b)?.duration_ms(),
        ];
        if answers.iter().any(|answer| *answer != truth) {
            wrong += 1;
            bar.println(format!("{a:?} to {b:?}: {answers:?} ms, Dijkstra says {truth}"));
        }
        total_ms += truth;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let checked = Checked {
        pairs: args.pairs,
        equal: args.pairs - wrong,
        wrong,
        mean_eta_s: total_ms / 1_000 / args.pairs.max(1),
        took_ms: clock.mono().since(began),
    };
    answer(args.json, &checked, || {
        let rows = [
            ("drives compared with Dijkstra", checked.pairs),
            ("equal to the millisecond", checked.equal),
            ("different", checked.wrong),
            ("mean driving time, s", checked.mean_eta_s),
            ("took, ms", checked.took_ms),
        ];
        figures(&rows.map(|(name, figure)| (name.to_owned(), figure.to_string()))).to_string()
    })?;
    if wrong > 0 { Err(Failure::Wrong { wrong, asked: args.pairs }) } else { Ok(()) }
}
