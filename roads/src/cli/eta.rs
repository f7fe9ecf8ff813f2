//! `hansom roads eta`.

use super::{City, Failure, answer, place};
use crate::report::figures;
use proto::Point;
use serde::Serialize;

/// Flags of `hansom roads eta`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    city: City,
    /// Where the drive begins: latitude and longitude in degrees.
    #[arg(value_name = "LAT,LNG", value_parser = place, allow_hyphen_values = true)]
    from: Point,
    /// Where it ends.
    #[arg(value_name = "LAT,LNG", value_parser = place, allow_hyphen_values = true)]
    to: Point,
    /// Print the drive as JSON, with its line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Drive {
    eta_ms: u64,
    metres: f64,
    straight_metres: f64,
    from_off_m: u32,
    to_off_m: u32,
    /// (milliseconds, latitude, longitude)
    stops: Vec<(u64, f64, f64)>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let roads = args.city.open()?;
    let (from, to) = (args.from, args.to);
    let route = roads.route(from, to)?;
    let drive = Drive {
        eta_ms: roads.eta_ms(from, to)?,
        metres: route.length_m().round(),
        straight_metres: crate::geometry::metres(from, to).round(),
        from_off_m: roads.snap(from)?.off_m,
        to_off_m: roads.snap(to)?.off_m,
        stops: route.stops.iter().map(|(ms, at)| (*ms, at.lat(), at.lng())).collect(),
    };
    answer(args.json, &drive, || {
        let seconds = drive.eta_ms.div_ceil(1_000);
        let rows = [
            ("driving time", format!("{} min {:02} s", seconds / 60, seconds % 60)),
            ("by road, m", format!("{:.0}", drive.metres)),
            ("in a straight line, m", format!("{:.0}", drive.straight_metres)),
            ("from the road to the start, m", drive.from_off_m.to_string()),
            ("from the road to the goal, m", drive.to_off_m.to_string()),
        ];
        figures(&rows.map(|(name, figure)| (name.to_owned(), figure))).to_string()
    })
}
