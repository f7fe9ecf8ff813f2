//! Each bench runs on the built binary and says in JSON what it found. How fast it was is not
//! judged here: the machine has other work.

use crate::nodes::hansom;
use crate::turns::Turn;
use serde_json::Value;

fn bench(flags: &[&str]) -> Value {
    let _turn = Turn::beside();
    let output =
        hansom().arg("bench").args(flags).args(["--runs", "1", "--json"]).output().unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{flags:?}: {talk}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn figure(row: &Value, name: &str) -> f64 {
    row[name].as_f64().unwrap_or_else(|| panic!("no `{name}` in {row}"))
}

#[test]
fn forwarding_is_measured_beside_bare_tarpc() {
    let picture = tempfile::tempdir().unwrap();
    let picture = picture.path().join("forward.svg");
    let said = bench(&["forward", "--seconds", "1", "--plot", picture.to_str().unwrap()]);
    assert!(said["machine"]["cores"].as_u64().unwrap() > 0, "{said}");
    let rows = said["median"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows {
        for way in ["local", "forwarded", "tarpc"] {
            assert!(figure(&row[way], "per_s") > 0.0, "{row}");
            assert_eq!(row[way]["failed"], 0, "{row}");
        }
        assert!(figure(row, "of_tarpc_pct") > 0.0);
    }
    assert!(std::fs::read_to_string(picture).unwrap().ends_with("</svg>\n"));
}

#[test]
fn positions_are_applied_and_every_driver_is_where_his_last_one_said() {
    let flags = ["--drivers", "500", "--batch", "16", "--rate", "20000", "--verify"];
    let said = bench(&[&["ingest", "--seconds", "1", "--warm", "1"], &flags[..]].concat());
    let row = &said["median"]["rows"][0];
    assert!(figure(row, "per_s") > 0.0 && figure(row, "p99_ms") > 0.0, "{row}");
    assert!(figure(row, "changes_pct") >= 4.0, "{row}");
    for none in ["stale", "refused", "lost"] {
        assert_eq!(row[none], 0, "{row}");
    }
    assert_eq!(row["verified"]["drivers"], 500);
    assert_eq!(row["verified"]["misplaced"], 0, "{row}");
}

#[test]
fn a_bare_handler_is_measured_beside_a_node() {
    let flags = ["--compare", "axum", "--drivers", "200", "--connections", "4"];
    let said = bench(&[&["ingest", "--seconds", "1", "--warm", "1"], &flags[..]].concat());
    let rows = said["median"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| figure(row, "per_s") > 0.0), "{rows:?}");
    assert!(figure(&said["median"]["ratios"][0], "times") > 0.0);
}

#[test]
fn searches_find_the_nearest_also_while_positions_go_in() {
    let flags = ["--drivers", "500", "--mixed-searches", "200", "--mixed-pings", "2000"];
    let said = bench(&[&["nearby", "--seconds", "1", "--connections", "2"], &flags[..]].concat());
    let rows = said["median"]["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| figure(row, "per_s") > 0.0), "{rows:?}");
    assert!(figure(&rows[0], "compared") > 0.0 && figure(&rows[0], "found") > 0.0, "{rows:?}");
    assert_eq!(rows[0]["wrong"], 0, "{rows:?}");
    assert_eq!(said["median"]["before"]["misplaced"], 0);
}
