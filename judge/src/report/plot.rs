//! Share served against penalised wait, one panel a table: up and to the left is better. Lines are the sweep
//! over caps, points the runs that are judged. By hand, as
//! the other plots of this house: points, axes and names are these lines.

use super::Report;
use crate::contest::FAMILIES;
use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const PANEL: f64 = 300.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 250.0;
const TOP: f64 = 30.0;
const GAP: f64 = 60.0;
/// Told apart also by those who see colours badly (Okabe and Ito's).
const COLOURS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

pub(super) fn svg(report: &Report) -> String {
    let height = TOP + (PANEL + GAP) * report.tables.len() as f64;
    let mut out = String::new();
    // Writing to a string can't fail.
    let _infallible = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
    );
    for (number, table) in report.tables.iter().enumerate() {
        let top = TOP + (PANEL + GAP) * number as f64;
        let waits = table.rows.iter().map(|row| row.mean.penalised_s);
        let waits = waits.chain(table.swept.iter().map(|it| it.penalised_s));
        let shares = table.rows.iter().map(|row| row.mean.share * 100.0);
        let shares = shares.chain(table.swept.iter().map(|it| it.share * 100.0));
        let (x_from, x_to) = span(waits);
        let (y_from, y_to) = span(shares);
        let x = |wait: f64| LEFT + (WIDTH - LEFT - RIGHT) * (wait - x_from) / (x_to - x_from);
        let y = |share: f64| top + PANEL - PANEL * (share - y_from) / (y_to - y_from);
        let (right, foot) = (WIDTH - RIGHT, top + PANEL);
        let _infallible = writeln!(
            out,
            "<text x=\"{LEFT}\" y=\"{}\" font-size=\"14\">{} cars, {}</text>\
             <path d=\"M{LEFT},{top} V{foot} H{right}\" fill=\"none\" stroke=\"#888\"/>\
             <text x=\"{LEFT}\" y=\"{}\">{x_from:.0} s</text>\
             <text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{x_to:.0} s penalised wait</text>\
             <text x=\"{}\" y=\"{foot}\" text-anchor=\"end\">{y_from:.1} %</text>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{y_to:.1} %</text>",
            top - 8.0,
            table.cars,
            escaped(&table.world),
            foot + 16.0,
            foot + 16.0,
            LEFT - 6.0,
            LEFT - 6.0,
            top + 10.0
        );
        // Each family over its caps, as a line.
        for (at, family) in FAMILIES.iter().enumerate() {
            let (colour, name_y) = (COLOURS[at], foot - 18.0 * (FAMILIES.len() - at) as f64);
            let points = table.swept.iter().filter(|it| it.family == *family);
            let points =
                points.map(|it| format!("{:.1},{:.1}", x(it.penalised_s), y(it.share * 100.0)));
            let points: Vec<String> = points.collect();
            let _infallible = writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\
                 <path d=\"M{},{} h16\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\
                 <text x=\"{}\" y=\"{name_y}\">{family}, over its caps</text>",
                points.join(" "),
                right + 8.0,
                name_y - 4.0,
                right + 30.0
            );
        }
        for (at, row) in table.rows.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let (to_x, to_y) = (x(row.mean.penalised_s), y(row.mean.share * 100.0));
            let name_y = top + 14.0 + 18.0 * at as f64;
            let _infallible = writeln!(
                out,
                "<circle cx=\"{to_x:.1}\" cy=\"{to_y:.1}\" r=\"5\" fill=\"{colour}\"/>\
                 <circle cx=\"{}\" cy=\"{}\" r=\"5\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"{name_y}\">{}</text>",
                right + 16.0,
                name_y - 4.0,
                right + 26.0,
                escaped(&row.policy)
            );
        }
    }
    out.push_str("</svg>\n");
    out
}

/// From the least to the most, with room around; never empty.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, most) = values
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| (low.min(it), high.max(it)));
    let room = ((most - least) * 0.1).max(0.5);
    if least.is_finite() { (least - room, most + room) } else { (0.0, 1.0) }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
