//! The run as a picture: requests a second, faults by seat, takeovers; over one axis of time. By
//! hand, as the benches' pictures: it is lines and rectangles.

use super::super::fault::Kind;
use super::super::incident::Incident;
use super::super::pulse::Second;
use super::ChaosReport;
use crate::bench::plot::{escaped, round_up, short};
use std::fmt::Write as _;

const WIDTH: f64 = 1_180.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 24.0;
const RATES: f64 = 190.0;
const LANE: f64 = 18.0;
const DOTS: f64 = 130.0;
const GAP: f64 = 34.0;
const TOP: f64 = 22.0;
/// Points of a line: about one a pixel.
const POINTS_MAX: usize = 1_100;
/// Ticks on the axis of time.
const TICKS: usize = 10;
/// A bar that is shorter can't be seen or pointed at.
const BAR_MIN: f64 = 2.5;
/// The bound on takeovers, drawn as a line.
const BOUND_MS: f64 = 2_500.0;

/// Kinds that look alike, and their colour; told apart also by those who see colours badly.
const FAMILIES: [(&str, &str, &[Kind]); 5] = [
    ("killed", "#d55e00", &[Kind::Kill, Kind::KillMajority, Kind::KillAll]),
    ("paused, starved", "#e69f00", &[Kind::Pause, Kind::Starve]),
    (
        "links cut",
        "#0072b2",
        &[Kind::Isolate, Kind::Split, Kind::OneWay, Kind::Bridge, Kind::Ring, Kind::Flap],
    ),
    ("links slow", "#56b4e9", &[Kind::Slow]),
    ("disk, membership", "#cc79a7", &[Kind::FullDisk, Kind::Wipe, Kind::JoinDrain]),
];

fn colour(kind: Kind) -> &'static str {
    FAMILIES.iter().find(|(_, _, kinds)| kinds.contains(&kind)).map_or("#000", |family| family.1)
}

/// The picture of a run.
pub(super) fn svg(report: &ChaosReport) -> String {
    let last_ms = report.seconds.last().map_or(0, |second| second.at_ms);
    let last_ms = report.incidents.iter().map(|one| one.healed_ms).fold(last_ms, u64::max).max(1);
    let frame = Frame { last_ms: last_ms as f64 };
    let lanes = LANE * report.setup.nodes as f64;
    let (lanes_top, dots_top) = (TOP + RATES + GAP, TOP + RATES + GAP + lanes + GAP);
    let height = dots_top + DOTS + GAP + 20.0;
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _infallible = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"11\" role=\"img\">"
    );
    frame.apart(&mut out, &report.seconds, dots_top + DOTS);
    frame.rates(&mut out, &report.seconds);
    frame.lanes(&mut out, lanes_top, &report.incidents, report.setup.nodes);
    frame.dots(&mut out, dots_top, &report.incidents);
    frame.axis(&mut out, dots_top + DOTS);
    legend(&mut out, height - 8.0);
    out.push_str("</svg>\n");
    out
}

struct Frame {
    last_ms: f64,
}

impl Frame {
    fn x(&self, ms: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (ms / self.last_ms).min(1.0)
    }

    /// Times in which a majority was away, behind everything.
    fn apart(&self, out: &mut String, seconds: &[Second], bottom: f64) {
        for second in seconds.iter().filter(|second| second.apart) {
            let (from, to) =
                (self.x(second.at_ms.saturating_sub(1_000) as f64), self.x(second.at_ms as f64));
            let _infallible = writeln!(
                out,
                "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#8884\"/>",
                to - from,
                bottom - TOP
            );
        }
    }

    fn rates(&self, out: &mut String, seconds: &[Second]) {
        let points = gathered(seconds);
        let most = points.iter().map(|(_, settled, repeated)| settled.max(*repeated));
        let most = round_up(most.fold(0.0, f64::max));
        let y = |value: f64| TOP + RATES - RATES * value / most;
        rules(out, TOP, RATES, most, "requests/s");
        let line = |of: fn(&(f64, f64, f64)) -> f64| {
            let places = points.iter().map(|p| format!("{:.1},{:.1}", self.x(p.0), y(of(p))));
            places.collect::<Vec<_>>().join(" ")
        };
        let bottom = TOP + RATES;
        let _infallible = writeln!(
            out,
            "<polygon points=\"{LEFT},{bottom} {} {:.1},{bottom}\" fill=\"#d55e0066\"/>\n\
             <polyline points=\"{}\" fill=\"none\" stroke=\"#009e73\" stroke-width=\"1.2\"/>",
            line(|point| point.2),
            points.last().map_or(LEFT, |point| self.x(point.0)),
            line(|point| point.1),
        );
        for second in seconds.iter().filter(|second| second.late > 0) {
            let x = self.x(second.at_ms as f64);
            let _infallible = writeln!(
                out,
                "<path d=\"M{x:.1} {TOP} v8\" stroke=\"#c00\" stroke-width=\"2\"><title>{} requests \
                 not settled by 8 tries in 5 s, at {} s</title></path>",
                second.late,
                second.at_ms / 1000
            );
        }
    }

    fn lanes(&self, out: &mut String, top: f64, incidents: &[Incident], seats: usize) {
        for seat in 0..seats {
            let y = top + LANE * seat as f64;
            let _infallible = writeln!(
                out,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"currentColor\">seat {}</text>\
                 <rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{}\" fill=\"#8881\"/>",
                LEFT - 6.0,
                y + LANE - 5.0,
                seat + 1,
                y + 1.0,
                WIDTH - LEFT - RIGHT,
                LANE - 2.0
            );
        }
        for incident in incidents.iter().filter(|incident| incident.skipped.is_none()) {
            let (from, to) = (self.x(incident.at_ms as f64), self.x(incident.healed_ms as f64));
            let title = escaped(&title(incident));
            for seat in &incident.seats {
                // Beside others, so that both are seen.
                let (down, high) =
                    if incident.beside { (LANE - 7.0, 5.0) } else { (2.0, LANE - 5.0) };
                let _infallible = writeln!(
                    out,
                    "<rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{high}\" \
                     fill=\"{}\"><title>{title}</title></rect>",
                    top + LANE * *seat as f64 + down,
                    (to - from).max(BAR_MIN),
                    colour(incident.kind)
                );
            }
        }
    }

    fn dots(&self, out: &mut String, top: f64, incidents: &[Incident]) {
        let slowest = |incident: &Incident| incident.slowest_ms().map(|ms| ms as f64);
        let most = incidents.iter().filter_map(slowest).fold(BOUND_MS, f64::max);
        let most = round_up(most);
        rules(out, top, DOTS, most, "ms, slowest takeover");
        let y = |ms: f64| top + DOTS - DOTS * ms / most;
        let _infallible = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{0:.1}\" x2=\"{1}\" y2=\"{0:.1}\" stroke=\"#c00\" \
             stroke-dasharray=\"4 3\"/>",
            y(BOUND_MS),
            WIDTH - RIGHT
        );
        for incident in incidents {
            let Some(ms) = slowest(incident) else { continue };
            let _infallible = writeln!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{}\"><title>{}</title></circle>",
                self.x(incident.at_ms as f64),
                y(ms),
                colour(incident.kind),
                escaped(&title(incident))
            );
        }
    }

    fn axis(&self, out: &mut String, bottom: f64) {
        let mut named = None;
        for tick in 0..=TICKS {
            let ms = self.last_ms * tick as f64 / TICKS as f64;
            let text = if self.last_ms > 600_000.0 {
                format!("{:.0} min", ms / 60_000.0)
            } else {
                format!("{:.0} s", ms / 1_000.0)
            };
            if named.as_ref() != Some(&text) {
                let _infallible = writeln!(
                    out,
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"currentColor\">{text}</text>",
                    self.x(ms),
                    bottom + 15.0
                );
                named = Some(text);
            }
        }
    }
}

/// What is said of a fault that is pointed at.
pub(super) fn title(incident: &Incident) -> String {
    let Incident { kind, nodes, what, at_ms, healed_ms, led, late, .. } = incident;
    let slowest = incident.slowest_ms();
    let slowest = slowest.map_or(String::new(), |ms| format!(", slowest takeover {ms} ms"));
    format!(
        "{kind} {} {what} at {:.1} s for {:.1} s, led {led} partitions{slowest}, {late} late",
        nodes.join(" "),
        *at_ms as f64 / 1000.0,
        healed_ms.saturating_sub(*at_ms) as f64 / 1000.0,
    )
}

/// Seconds as points: when, settled and repeated a second; of a long run means.
fn gathered(seconds: &[Second]) -> Vec<(f64, f64, f64)> {
    let size = seconds.len().div_ceil(POINTS_MAX).max(1);
    let mean = |few: &[Second], of: fn(&Second) -> u64| {
        few.iter().map(of).sum::<u64>() as f64 / few.len().max(1) as f64
    };
    let point = |few: &[Second]| {
        let at_ms = few.last().map_or(0, |second| second.at_ms);
        (at_ms as f64, mean(few, |one| one.settled), mean(few, |one| one.repeated))
    };
    seconds.chunks(size).map(point).collect()
}

fn rules(out: &mut String, top: f64, height: f64, most: f64, unit: &str) {
    for rule in 0..=2 {
        let share = f64::from(rule) / 2.0;
        let y = top + height - height * share;
        let _infallible = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{}\" y2=\"{y:.1}\" stroke=\"#8886\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"currentColor\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0,
            short(most * share)
        );
    }
    let _infallible = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{:.1}\" fill=\"currentColor\">{unit}</text>",
        top - 6.0
    );
}

fn legend(out: &mut String, y: f64) {
    let mut x = LEFT;
    let lines = [("settled", "#009e73"), ("repeated tries", "#d55e0066")];
    let bars = FAMILIES.iter().map(|(name, colour, _)| (*name, *colour));
    for (name, colour) in lines.into_iter().chain(bars).chain([("majority away", "#8884")]) {
        let _infallible = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"11\" height=\"11\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{y:.1}\" fill=\"currentColor\">{name}</text>",
            y - 10.0,
            x + 15.0
        );
        x += 36.0 + 6.2 * name.len() as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_colour() {
        assert!(Kind::ALL.iter().all(|kind| colour(*kind) != "#000"));
    }

    #[test]
    fn a_long_run_is_drawn_with_few_points() {
        let second = |n: u64| Second { at_ms: n * 1_000, settled: n % 2 * 10, ..Second::default() };
        let hour: Vec<Second> = (0..3_600).map(second).collect();
        let points = gathered(&hour);
        assert!(points.len() <= POINTS_MAX && points.len() > POINTS_MAX / 2);
        assert_eq!(gathered(&hour[..3]).len(), 3);
        assert!(gathered(&[]).is_empty());
    }
}
