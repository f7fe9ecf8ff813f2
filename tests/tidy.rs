//! The house rules that a machine can check and the compiler does not: which crate may see which,
//! what may stand at the top, what may be named where, how long a file may be. Each failure lists
//! every place at once and says what to do instead.
#![expect(clippy::unwrap_used, reason = "a test's helpers may fail it")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whom each crate may depend on: in what is shipped, and beyond that in its tests. Arrows point
/// inward; adding one is a design change.
const ARROWS: &[(&str, &[&str], &[&str])] = &[
    ("proto", &[], &[]),
    ("membership", &["proto"], &[]),
    ("ledger", &["membership", "proto"], &[]),
    ("actors", &["ledger", "membership", "proto"], &[]),
    ("node", &["actors", "ledger", "membership", "proto", "roads"], &[]),
    ("roads", &["proto"], &[]),
    ("sim", &["proto", "roads"], &["node"]),
    ("dst", &["ledger", "membership", "node", "proto", "sim"], &[]),
    ("judge", &["actors", "proto", "roads"], &[]),
    ("hansom", &["judge", "node", "roads", "sim"], &["proto"]),
];

/// What the pure cores do without, as packages and as words.
const IMPURE: &[&str] = &["tokio", "tarpc", "ractor", "sled", "fjall", "openraft", "tracing"];

/// Everything that may stand at the top. A new name needs a reason in ARCHITECTURE.md.
const TOP: &[&str] = &[
    ".cargo",
    ".ci",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "actors",
    "clippy.toml",
    "deny.toml",
    "docs",
    "judge",
    "ledger",
    "membership",
    "node",
    "proto",
    "roads",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "sim",
    "src",
    "tests",
];

/// Words that only some files may say in shipped code, and why.
const HOMES: &[(&str, &[&str], &str)] = &[
    ("bincode", &["proto/src/codec.rs"], "bytes are made by proto::codec alone"),
    (
        "openraft",
        &[
            "ledger/src/replicated/apply.rs",
            "ledger/src/replicated/log.rs",
            "ledger/src/replicated/network.rs",
            "ledger/src/replicated/types.rs",
            "node/src/config/args.rs", // its log level
            "sim/dst/src/trace.rs",    // the same
        ],
        "four files know the consensus library; go through `types`",
    ),
    ("Instant::now", &["node/src/clock.rs"], "take a proto::units::Clock"),
    ("SystemTime::now", &["node/src/clock.rs"], "take a proto::units::Clock"),
];

/// Words that no source may say, and what to do instead.
const BANNED: &[(&str, &str)] = &[
    ("FIXME", "mend it, or say in the module's `# Not done` what is missing and what follows"),
    ("TODO", "do it, or say in the module's `# Not done` what is missing and what follows"),
    ("#[ignore", "a test that does not run is not one; make it fast enough or make it a bench"),
    ("#[should_panic", "return the error and compare it"),
];

const LINES_MAX: usize = 800;
const LINES_LISTED: usize = 500;
const ARCHITECTURE_LINES_MAX: usize = 300;
/// A reason that is shorter says nothing.
const REASON_CHARS_MIN: usize = 8;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the house with its path from the root, `/` between the parts. Left out are
/// build directories (cargo marks them with CACHEDIR.TAG), hidden ones, and this file.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_path_buf(), root().join(".ci"), root().join(".cargo")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && !path.join("CACHEDIR.TAG").exists() {
                    folders.push(path);
                }
                continue;
            }
            let short = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            if short != "tests/tidy.rs" && endings.iter().any(|ending| name.ends_with(ending)) {
                found.push((short, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// Whether `word` stands in `line` as a word of its own.
fn says(line: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

/// The lines of a Rust file that are code and are shipped, with their numbers: neither comments
/// nor test modules, which stand at the end of a file or in one of their own.
fn shipped_code<'a>(path: &str, source: &'a str) -> Vec<(usize, &'a str)> {
    if path.split('/').any(|part| matches!(part, "tests" | "tests.rs")) {
        return Vec::new();
    }
    let lines: Vec<&str> = source.lines().collect();
    let opens_tests = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{');
    let end = lines.windows(2).position(opens_tests).unwrap_or(lines.len());
    let numbered = lines.into_iter().take(end).enumerate().map(|(n, line)| (n + 1, line));
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//")).collect()
}

/// The lines of one table of a manifest, with their numbers.
fn table<'a>(manifest: &'a str, header: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let numbered = manifest.lines().enumerate().map(|(n, line)| (n + 1, line));
    numbered
        .skip_while(move |(_, line)| line.trim() != header)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with('['))
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
}

/// What stands after the first `#` outside quotes.
fn comment(line: &str) -> &str {
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => return line[at + 1..].trim(),
            _ => {}
        }
    }
    ""
}

/// The output of a cargo command in the root.
fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {talk}");
    String::from_utf8(output.stdout).unwrap()
}

/// Our packages as cargo sees them.
fn packages() -> Vec<Value> {
    let metadata = cargo(&["metadata", "--no-deps", "--locked", "--format-version", "1"]);
    let mut metadata: Value = serde_json::from_str(&metadata).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn fail_if_any(wrong: &[String], rule: &str) {
    assert!(wrong.is_empty(), "{rule}\n  {}\n", wrong.join("\n  "));
}

#[test]
fn arrows_between_crates_point_inward() {
    let packages = packages();
    let ours: BTreeSet<&str> = packages.iter().map(|package| text(package, "name")).collect();
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(ours, known, "a crate without its line in ARROWS, or the other way round");

    let mut wrong = Vec::new();
    for package in &packages {
        let name = text(package, "name");
        let (_, shipped, tested) = ARROWS.iter().find(|(known, ..)| *known == name).unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = text(dependency, "name");
            let dev = text(dependency, "kind") == "dev";
            if ours.contains(on) && !shipped.contains(&on) && !(dev && tested.contains(&on)) {
                let tests = if dev { " in its tests" } else { "" };
                wrong.push(format!("{name} must not depend on {on}{tests}"));
            }
            if name == "actors" && on != "proto" && ours.contains(on) && !dev {
                let optional = dependency["optional"].as_bool() == Some(true);
                if !optional {
                    wrong.push(format!("actors' {on} must be optional: the cores are pure"));
                }
            }
        }
    }
    fail_if_any(&wrong, "an arrow that the design does not have:");
}

#[test]
fn the_pure_cores_carry_nothing_impure() {
    let arguments = "tree --locked -p actors --no-default-features -e normal --prefix none";
    let tree = cargo(&arguments.split(' ').collect::<Vec<_>>());
    assert!(tree.starts_with("actors "), "{tree}");
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let wrong: Vec<String> = names.filter(|n| IMPURE.contains(n)).map(str::to_owned).collect();
    fail_if_any(&wrong, "`actors` without `runtime` must not depend on:");
}

#[test]
fn the_pure_cores_name_nothing_impure() {
    let outside = ["std::fs", "std::net", "std::thread", "std::time"];
    let words: Vec<&str> = IMPURE.iter().copied().chain(outside).collect();
    let mut wrong = Vec::new();
    for (path, source) in files(&[".rs"]) {
        let Some(inner) = path.strip_prefix("actors/src/") else { continue };
        if inner == "runtime.rs" || inner.starts_with("runtime/") {
            continue;
        }
        for (number, line) in shipped_code(&path, &source) {
            for word in words.iter().filter(|word| says(line, word)) {
                wrong.push(format!("{path}:{number} names {word}"));
            }
        }
    }
    fail_if_any(
        &wrong,
        "a core is a function of (state, now, event); move it to actors/src/runtime:",
    );
}

#[test]
fn every_crate_obeys_the_workspace_lints() {
    let mut wrong = Vec::new();
    for (path, manifest) in files(&["Cargo.toml"]) {
        let obeys = table(&manifest, "[lints]").any(|(_, line)| line.trim() == "workspace = true");
        if !obeys {
            wrong.push(format!("{path} lacks `[lints] workspace = true`"));
        }
    }
    fail_if_any(&wrong, "lints are set once, in the workspace:");
}

#[test]
fn every_dependency_is_named_once_and_says_why() {
    let mut wrong = Vec::new();
    for (path, manifest) in files(&["Cargo.toml"]) {
        for (number, line) in table(&manifest, "[workspace.dependencies]") {
            let ours = line.contains("path = ");
            if !ours && comment(line).len() < REASON_CHARS_MIN {
                wrong.push(format!("{path}:{number} has no reason: {line}"));
            }
        }
        for header in ["[dependencies]", "[dev-dependencies]", "[build-dependencies]"] {
            for (number, line) in table(&manifest, header) {
                if !line.contains("workspace = true") {
                    wrong.push(format!("{path}:{number} must say `workspace = true`: {line}"));
                }
            }
        }
    }
    fail_if_any(&wrong, "a dependency is named once, in the root manifest, with its reason:");
}

#[test]
fn nothing_else_stands_at_the_top() {
    let listed = Command::new("git").arg("ls-files").current_dir(root()).output();
    let tracked = listed.ok().filter(|output| output.status.success() && !output.stdout.is_empty());
    let names: BTreeSet<String> = match tracked {
        Some(output) => String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .filter_map(|path| path.split('/').next().map(str::to_owned))
            .collect(),
        // No repository: what is there, but for build directories.
        None => std::fs::read_dir(root())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.ends_with(".git") && !path.join("CACHEDIR.TAG").exists())
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect(),
    };
    let wrong: Vec<String> = names.into_iter().filter(|n| !TOP.contains(&n.as_str())).collect();
    fail_if_any(&wrong, "not among the names that may stand at the top:");
}

#[test]
fn no_file_holds_more_than_one_idea_can_fill() {
    let mut lengths: Vec<(usize, String)> =
        files(&[".rs"]).into_iter().map(|(path, text)| (text.lines().count(), path)).collect();
    lengths.sort_by(|a, b| b.cmp(a));
    let listed = |(lines, path): &(usize, String)| format!("{lines:5} {path}");
    let long: Vec<_> =
        lengths.iter().filter(|(lines, _)| *lines > LINES_LISTED).map(listed).collect();
    println!("files over {LINES_LISTED} lines: {}\n{}", long.len(), long.join("\n"));
    let wrong: Vec<_> =
        lengths.iter().filter(|(lines, _)| *lines > LINES_MAX).map(listed).collect();
    fail_if_any(&wrong, "files over 800 lines; split them by idea:");
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let lines = architecture.lines().count();
    assert!(
        lines <= ARCHITECTURE_LINES_MAX,
        "ARCHITECTURE.md has {lines} lines, at most 300 are read"
    );
    let modules: Vec<String> = lengths
        .into_iter()
        .map(|(_, path)| path)
        .filter(|p| p.contains("/src/") && p.ends_with("/mod.rs"))
        .collect();
    fail_if_any(
        &modules,
        "a module is `name.rs` beside `name/`, so that its file can be found by name:",
    );
}

#[test]
fn words_stay_in_their_homes() {
    let mut wrong = Vec::new();
    for (path, source) in files(&[".rs"]) {
        for (number, line) in shipped_code(&path, &source) {
            for (word, homes, instead) in HOMES {
                if says(line, word) && !homes.contains(&path.as_str()) {
                    wrong.push(format!("{path}:{number} names {word}: {instead}"));
                }
            }
        }
    }
    fail_if_any(&wrong, "a word outside the one file that may say it:");
}

#[test]
fn no_state_belongs_to_the_process() {
    let mut wrong = Vec::new();
    for (path, source) in files(&[".rs"]) {
        // What makes two nodes in one process possible is the process's: its clocks and its chance.
        if path.starts_with("sim/dst/") {
            continue;
        }
        for (number, line) in shipped_code(&path, &source) {
            let item =
                line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
            // The binary has one allocator, whoever lives in it.
            let allocator = item.starts_with("static ALLOCATOR: mimalloc::");
            if item.starts_with("static ") && !allocator || item.starts_with("thread_local!") {
                wrong.push(format!("{path}:{number} {item}"));
            }
        }
    }
    fail_if_any(&wrong, "two nodes live in one process in the simulation; hand it in instead:");
}

#[test]
fn no_source_says_a_banned_word() {
    let mut wrong = Vec::new();
    for (path, source) in files(&[".rs", ".toml", ".md", "run"]) {
        for (number, line) in source.lines().enumerate() {
            for (word, instead) in BANNED.iter().filter(|(word, _)| line.contains(word)) {
                wrong.push(format!("{path}:{} says {word}: {instead}", number + 1));
            }
        }
    }
    fail_if_any(&wrong, "not on main:");
}

#[test]
fn documents_link_to_files_that_exist() {
    let mut wrong = Vec::new();
    for (path, document) in files(&[".md"]) {
        let folder = root().join(&path).parent().unwrap().to_path_buf();
        for link in document.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            let elsewhere = file.is_empty() || file.contains("://");
            if !elsewhere && !folder.join(file).exists() {
                wrong.push(format!("{path} links to {link}"));
            }
        }
    }
    fail_if_any(&wrong, "a link to nothing:");
}

#[test]
fn the_code_map_is_the_code() {
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let sources = files(&[".rs"]);
    let mut wrong = Vec::new();
    for (name, ..) in ARROWS.iter().filter(|(name, ..)| *name != "hansom") {
        let folder = if *name == "dst" { "sim/dst" } else { name };
        let section = architecture
            .split("\n##")
            .find(|section| section.starts_with(&format!("# {name}:")))
            .unwrap_or_default();
        let mapped: BTreeSet<&str> =
            section.split('`').filter(|word| word.ends_with(".rs")).collect();
        let there: BTreeSet<&str> = sources
            .iter()
            .filter_map(|(path, _)| path.strip_prefix(&format!("{folder}/src/")))
            .collect();
        let top = |file: &&&str| !file.contains('/') && !["lib.rs", "tests.rs"].contains(*file);
        let missing = there.iter().filter(top).filter(|file| !mapped.contains(*file));
        let missing = missing.map(|file| format!("{folder}: lacks `{file}`"));
        let gone = mapped.difference(&there).map(|file| format!("{folder}: `{file}` is no file"));
        wrong.extend(missing.chain(gone));
    }
    fail_if_any(&wrong, "the code map of ARCHITECTURE.md (a section `### <crate>:` each):");
}
