//! Throughput and latency over time as an SVG. By hand: two panels of lines with axes are these
//! lines, and a plotting crate brings fonts, colours and thirty crates along.

use super::series::{Second, Series};
use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const PANEL: f64 = 260.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const GAP: f64 = 50.0;
/// Room above the first panel for the title and below the second for the names of the lines.
const TOP: f64 = 40.0;
const LEGEND_LINE: f64 = 18.0;
/// Lines across a panel.
const RULES: u32 = 4;
/// Told apart also by those who see colours badly (Okabe and Ito's).
const COLOURS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// One line of a panel.
struct Line {
    colour: &'static str,
    /// Whether it is a tail, which is drawn with dashes.
    dashed: bool,
    points: Vec<(f64, f64)>,
}

/// The picture.
pub(crate) fn svg(title: &str, all: &[Series]) -> String {
    let colour = |at: usize| COLOURS[at % COLOURS.len()];
    let line = |at: usize, dashed, of: fn(&Second) -> f64| {
        let points = all[at].seconds.iter().map(|one| (f64::from(one.second), of(one)));
        Line { colour: colour(at), dashed, points: points.collect() }
    };
    let rates: Vec<Line> =
        (0..all.len()).map(|at| line(at, false, |one| one.done as f64)).collect();
    let delays = (0..all.len())
        .flat_map(|at| [line(at, false, |one| one.p50_ms), line(at, true, |one| one.p99_ms)]);
    let delays: Vec<Line> = delays.collect();
    let height = TOP + 2.0 * (PANEL + GAP) + LEGEND_LINE * (all.len() + 1) as f64;
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _infallible = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"16\">{}</text>",
        escaped(title)
    );
    panel(&mut out, TOP, "a second", &rates);
    panel(&mut out, TOP + PANEL + GAP, "ms", &delays);
    let foot = TOP + 2.0 * (PANEL + GAP);
    for (at, series) in all.iter().enumerate() {
        let y = foot + LEGEND_LINE * at as f64;
        let _infallible = writeln!(
            out,
            "<rect x=\"{LEFT}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{}\"/>\
             <text x=\"{}\" y=\"{}\">{}</text>",
            y - 10.0,
            colour(at),
            LEFT + 18.0,
            y,
            escaped(&series.label)
        );
    }
    let y = foot + LEGEND_LINE * all.len() as f64;
    let told = "above: done a second; below: how long an answer took, median and (dashed) 99th \
                percentile; across: seconds";
    let _infallible =
        writeln!(out, "<text x=\"{LEFT}\" y=\"{y}\" fill=\"#555\">{told}</text>\n</svg>");
    out
}

fn panel(out: &mut String, top: f64, unit: &str, lines: &[Line]) {
    let points = || lines.iter().flat_map(|line| &line.points);
    let last = points().map(|(x, _)| *x).fold(1.0, f64::max);
    let most = round_up(points().map(|(_, y)| *y).fold(0.0, f64::max));
    let x = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * value / last;
    let y = |value: f64| top + PANEL - PANEL * value / most;
    let mut named = None;
    for rule in 0..=RULES {
        let value = most * f64::from(rule) / f64::from(RULES);
        let _infallible = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{0:.1}\" x2=\"{1}\" y2=\"{0:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\">{4}</text>",
            y(value),
            WIDTH - RIGHT,
            LEFT - 6.0,
            y(value) + 4.0,
            short(value)
        );
        let second = (last * f64::from(rule) / f64::from(RULES)).round();
        // A measurement of few seconds has fewer of them than rules.
        if named.replace(second) != Some(second) {
            let _infallible = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{second}</text>",
                x(second),
                top + PANEL + 16.0
            );
        }
    }
    let _infallible = writeln!(out, "<text x=\"6\" y=\"{}\">{unit}</text>", top + 12.0);
    for Line { colour, dashed, points } in lines {
        let places: Vec<String> =
            points.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
        let dashes = if *dashed { " stroke-dasharray=\"4 3\"" } else { "" };
        let _infallible = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"{dashes}/>",
            places.join(" ")
        );
    }
}

/// The next of 1, 2, 2.5, 5 and 10 times a power of ten; 1 for nothing.
pub(crate) fn round_up(value: f64) -> f64 {
    if !(value > 0.0 && value.is_finite()) {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    let step = steps.into_iter().find(|step| value <= step * power * (1.0 + 1e-9));
    step.unwrap_or(10.0) * power
}

/// A number as an axis shows it.
pub(crate) fn short(value: f64) -> String {
    match value {
        big if big >= 1e6 => format!("{} M", big / 1e6),
        big if big >= 1e3 => format!("{} k", big / 1e3),
        small => format!("{}", (small * 1e6).round() / 1e6),
    }
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_a_line_for_each_series_and_two_for_its_delays() {
        let second = |second, done| Second { second, done, p50_ms: 1.0, p99_ms: 4.0 };
        let one = Series { label: "a < b".into(), seconds: vec![second(0, 10), second(1, 20)] };
        let none = Series { label: "empty".into(), seconds: vec![] };
        let picture = svg("R&D", &[one, none]);
        assert_eq!(picture.matches("<polyline").count(), 6);
        assert_eq!(picture.matches("stroke-dasharray").count(), 2);
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
        assert!(picture.contains("a &lt; b") && picture.contains("R&amp;D"));
        // The highest point touches the top of its panel, the start stands at its left edge.
        assert!(
            picture.contains(&format!("points=\"{LEFT:.1},{:.1} ", TOP + PANEL / 2.0)),
            "{picture}"
        );
        assert_eq!(picture.matches("text-anchor=\"middle\">1</text>").count(), 2, "one a panel");
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
        assert!(!svg("", &[]).contains("NaN"));
    }

    #[test]
    fn axes_end_on_round_numbers() {
        let of =
            [(0.0, 1.0), (7.0, 10.0), (10.0, 10.0), (0.3, 0.5), (1_010_000.0, 2e6), (2.2, 2.5)];
        for (value, end) in of {
            assert!((round_up(value) / end - 1.0).abs() < 1e-6, "{value}: {}", round_up(value));
        }
        assert_eq!(round_up(f64::NAN), 1.0);
        assert_eq!([short(2e6), short(2_500.0), short(0.25)], ["2 M", "2.5 k", "0.25"]);
    }
}
