//! Golden scripts: the first test of the cores. A file's name is its claim. Lines that begin with
//! `> ` are input, `#` lines are comments, everything else is what came out. Run with
//! `UPDATE_GOLDEN=1` to rewrite them; the diff is the review.
#![expect(clippy::unwrap_used, reason = "a script that can't be read must fail its test")]

mod script;

use script::{dispatch, machine, table};
use std::fs;
use std::path::Path;

/// Runs every script of a folder through an interpreter and compares.
fn run(folder: &str, interpret: impl Fn(&[&str]) -> Vec<Vec<String>>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(folder);
    let mut paths: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scripts in {}", folder.display());
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let kept: Vec<&str> =
            text.lines().filter(|line| line.starts_with("> ") || line.starts_with('#')).collect();
        let inputs: Vec<&str> = kept.iter().filter_map(|line| line.strip_prefix("> ")).collect();
        let mut outputs = interpret(&inputs).into_iter();
        let mut fresh = String::new();
        for line in kept {
            fresh += &format!("{line}\n");
            if line.starts_with("> ") {
                for out in outputs.next().unwrap() {
                    fresh += &format!("{out}\n");
                }
            }
        }
        compare(&path, &text, &fresh);
    }
}

fn compare(path: &Path, committed: &str, fresh: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, fresh).unwrap();
    } else {
        assert_eq!(committed, fresh, "{} differs; UPDATE_GOLDEN=1 rewrites it", path.display());
    }
}

#[test]
fn the_registers_do_what_their_scripts_say() {
    run("machine", machine::interpret);
}

#[test]
fn a_dispatch_does_what_its_scripts_say() {
    run("dispatch", dispatch::interpret);
}

#[test]
fn every_state_meets_every_command_as_tabled() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tables.txt");
    let committed = fs::read_to_string(&path).unwrap_or_default();
    compare(&path, &committed, &table::all());
}
