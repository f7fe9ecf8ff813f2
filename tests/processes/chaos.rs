//! `hansom chaos`, briefly: each way to cut links, a few faults of the cheap kinds, and a report that
//! says GREEN. How fast takeovers were is not judged here: the machine has other work.

use crate::nodes::{deaf, hansom};
use crate::turns::Turn;
use serde_json::Value;
use std::path::Path;

/// Far more than a run takes; `timeout` ends it politely then, and its nodes with it.
const WITHIN_S: &str = "150";

/// Runs it and gives its report and its talk.
fn chaos(flags: &[&str], report: &Path) -> (Value, String) {
    let _turn = Turn::beside();
    let mut command = deaf(Path::new("timeout"));
    command.args(["-k", "5", WITHIN_S, env!("CARGO_BIN_EXE_hansom"), "chaos"]);
    command.args("--nodes 3 --partitions 8 --rate 60 --riders 20 --cars 20".split(' '));
    command.args(flags).arg("--report").arg(report);
    let output = command.output().unwrap();
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{flags:?}: {talk}\n{table}");
    assert!(table.trim_end().ends_with("GREEN"), "{table}");
    let json = std::fs::read(report.join("report.json")).unwrap();
    (serde_json::from_slice(&json).unwrap(), talk)
}

/// Each kind was done, met a leader, and no law was broken.
fn proves(report: &Value, kinds: &[&str]) {
    assert_eq!(report["verdict"], "GREEN", "{report}");
    assert_eq!(report["broken"].as_array().unwrap().len(), 0, "{report}");
    for kind in kinds {
        let of = &report["by_kind"][kind];
        assert!(
            of["times"].as_u64() > Some(0) && of["hit_leader"].as_u64() > Some(0),
            "{kind}: {of}"
        );
    }
    assert!(report["figures"]["settled"].as_u64() > Some(100), "{}", report["figures"]);
    assert!(report["figures"]["located_in_cuts"]["looks"].as_u64().is_some());
}

#[test]
fn nodes_are_killed_paused_and_isolated_and_the_page_tells_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let kinds = ["kill", "pause", "isolate", "slow"];
    let faults = kinds.join(",");
    let (report, _) =
        chaos(&["--minutes", "0.3", "--faults", &faults, "--seed", "6"], directory.path());
    proves(&report, &kinds);
    let page = std::fs::read_to_string(directory.path().join("report.html")).unwrap();
    for part in ["<svg ", "GREEN", "By kind of fault", "hansom chaos --minutes"] {
        assert!(page.contains(part), "no {part}");
    }
    let outside = ["src=", "href=", "http-equiv", "@import", "url("];
    assert!(outside.iter().all(|word| !page.contains(word)), "a page that needs nothing else");
    let history = std::fs::read_to_string(directory.path().join("history.jsonl")).unwrap();
    assert!(history.lines().any(|line| line.contains("accept_acked")), "nobody got a car");
    let takeovers = &report["figures"]["takeover_ms"];
    assert!(takeovers["n"].as_u64() > Some(0), "{takeovers}");
}

#[test]
fn links_are_cut_and_slowed_by_proxies_where_nothing_else_is_permitted() {
    let directory = tempfile::tempdir().unwrap();
    let kinds = ["one-way", "bridge", "flap", "slow"];
    let faults = kinds.join(",");
    let flags = ["--net", "proxies", "--minutes", "0.3", "--faults", &faults, "--seed", "3"];
    let (report, _) = chaos(&flags, directory.path());
    proves(&report, &kinds);
    assert_eq!(report["setup"]["net"], "proxies");
}

#[test]
fn a_fault_that_cannot_be_done_is_refused_by_name() {
    for (flags, word) in [
        (&["--nodes", "3", "--faults", "ring"][..], "ring takes --nodes 4"),
        (&["--faults", "full-disk", "--net", "proxies"], "full-disk takes --net namespaces"),
        (&["--minutes", "0"], "--minutes"),
    ] {
        let output = hansom().arg("chaos").args(flags).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {said}");
        assert!(said.contains(word), "{flags:?}: {said}");
    }
}
