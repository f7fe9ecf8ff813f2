//! The report as one page that needs nothing else: verdict, figures, timeline, faults.

use super::table::{KINDS, of_kind, rows};
use super::timeline::{self, title};
use super::{ChaosReport, Verdict};
use crate::bench::plot::escaped;
use std::fmt::Write as _;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8881}\
body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}\
.verdict{display:flex;gap:1rem;align-items:center;margin:1rem 0}\
.badge{font-weight:700;color:#fff;padding:.3rem .9rem;border-radius:.4rem}\
.GREEN{background:#00794f}.RED{background:#b3261e}.INVALID{background:#8a6100}\
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:.8rem}\
.card{border:1px solid var(--line);border-radius:.5rem;padding:.6rem .9rem}\
.card b{display:block;font-size:1.45rem;font-variant-numeric:tabular-nums}\
.card span{font-size:.8rem;opacity:.75}\
table{border-collapse:collapse;width:100%;font-size:.87rem;font-variant-numeric:tabular-nums}\
td,th{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}\
td:first-child,th:first-child,.words td{text-align:left}.words td:first-child{white-space:nowrap;opacity:.75}\
tbody tr:hover{background:var(--soft)}svg{width:100%;height:auto}\
code,pre{font:13px/1.5 ui-monospace,monospace}pre{background:var(--soft);padding:.7rem;overflow:auto;border-radius:.4rem}\
.wrong{color:#c0392b}details{margin:.6rem 0}summary{cursor:pointer}.scroll{overflow-x:auto}";

/// How it is judged, for somebody who did not write it.
const JUDGED: &str = "\
The verdict comes from outside: from what clients were told, and from what any node says when all is over. \
Every booking, assignment, step and cancellation that a client was told of is there; no driver had two trips at \
once, no booking two drivers; every booking ended and nobody is left committed to what is over; replicas that \
applied the same are the same; after each fault all replicas of all partitions were in step again; clients saw OK, \
a final refusal or RETRY, nothing else; locations were taken and searched on both sides of every partition. \
A run in which a kind of fault was never done, or never met the leader of a partition, proves nothing and is INVALID.";

/// The page.
pub(in super::super) fn page(report: &ChaosReport) -> String {
    let ChaosReport { verdict, why, setup, .. } = report;
    let mut out = String::new();
    let word = verdict.as_str();
    let sentence = match verdict {
        Verdict::Green => "Nothing acknowledged was lost, nothing was given twice, and the cluster recovered from every fault.".into(),
        Verdict::Red | Verdict::Invalid => why.join("; "),
    };
    // Writing to a string cannot fail, here and below.
    let _infallible = writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>hansom chaos: {word}</title>\
         <style>{STYLE}</style></head><body>\n<h1>hansom chaos</h1>\n\
         <div class=\"verdict\"><span class=\"badge {word}\">{word}</span><span>{}</span></div>",
        escaped(&sentence)
    );
    cards(&mut out, report);
    broken(&mut out, report);
    let _infallible = writeln!(out, "<h2>The run</h2>\n{}", timeline::svg(report));
    by_kind(&mut out, report);
    let _infallible = writeln!(out, "<h2>Figures</h2>\n<table class=\"words\"><tbody>");
    for [name, value] in rows(report) {
        let (name, value) = (escaped(&name), escaped(&value));
        let _infallible = writeln!(out, "<tr><td>{name}</td><td>{value}</td></tr>");
    }
    out.push_str("</tbody></table>\n");
    list(&mut out, "Every fault", &report.incidents.iter().map(line).collect::<Vec<_>>());
    list(&mut out, "Requests that 8 tries or 5 s did not settle", &report.late_stories);
    let _infallible = writeln!(
        out,
        "<h2>How it is judged</h2>\n<p>{JUDGED}</p>\n<h2>Again</h2>\n<pre>{}</pre>\n</body></html>",
        escaped(&setup.command)
    );
    out
}

fn cards(out: &mut String, report: &ChaosReport) {
    let figures = &report.figures;
    let s = |ms: f64| format!("{:.2} s", ms / 1000.0);
    let cards = [
        (figures.faults.to_string(), "faults done".to_owned()),
        (report.broken.len().to_string(), "laws broken".to_owned()),
        (format!("{:.0}", figures.settled_per_s), "requests settled a second".to_owned()),
        (format!("{:.3} %", figures.success_pct), "settled within 8 tries and 5 s".to_owned()),
        (s(figures.takeover_ms.p50), "SIGKILL to first acked write, median".to_owned()),
        (s(figures.takeover_ms.p99), "the same, 99th percentile".to_owned()),
        (
            format!("{:.2} %", figures.available_pct),
            "of seconds without a request given up".to_owned(),
        ),
        (
            format!("< {:.2} %", figures.bound_pct),
            "chance of a violation by one fault, if none was seen".to_owned(),
        ),
    ];
    out.push_str("<div class=\"cards\">\n");
    for (figure, name) in cards {
        let (figure, name) = (escaped(&figure), escaped(&name));
        let _infallible =
            writeln!(out, "<div class=\"card\"><b>{figure}</b><span>{name}</span></div>");
    }
    out.push_str("</div>\n");
}

fn broken(out: &mut String, report: &ChaosReport) {
    if report.broken.is_empty() {
        return;
    }
    out.push_str("<h2 class=\"wrong\">Broken laws</h2>\n<table class=\"words\"><tbody>\n");
    for broken in &report.broken {
        let (law, what) = (escaped(&broken.law), escaped(&broken.what));
        let _infallible = writeln!(out, "<tr><td>{law}</td><td>{what}</td></tr>");
    }
    out.push_str("</tbody></table>\n");
}

fn by_kind(out: &mut String, report: &ChaosReport) {
    out.push_str(
        "<h2>By kind of fault</h2>\n<div class=\"scroll\"><table><thead><tr><th>fault</th>",
    );
    for column in KINDS {
        let _infallible = write!(out, "<th>{column}</th>");
    }
    out.push_str("</tr></thead><tbody>\n");
    for (kind, of) in &report.by_kind {
        let _infallible = write!(out, "<tr><td title=\"{}\">{kind}</td>", escaped(kind.meaning()));
        for cell in of_kind(of) {
            let _infallible = write!(out, "<td>{cell}</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

fn line(incident: &super::Incident) -> String {
    let mut line = title(incident);
    if let Some(why) = &incident.skipped {
        let _infallible = write!(line, " - not done: {why}");
    }
    if let Some(ms) = incident.whole_after_ms {
        let _infallible = write!(line, ", all in step {:.1} s after its end", ms as f64 / 1000.0);
    }
    for wrong in &incident.wrong {
        let _infallible = write!(line, " - WRONG: {wrong}");
    }
    line
}

fn list(out: &mut String, name: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _infallible = writeln!(
        out,
        "<details><summary>{name} ({})</summary><pre>{}</pre></details>",
        lines.len(),
        escaped(&lines.join("\n"))
    );
}
