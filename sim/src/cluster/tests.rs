//! Stand-ins for nodes are started, killed and replaced.

use super::*;
use std::path::Path;

fn plan(program: &Path, directory: &Path) -> Plan {
    Plan {
        program: program.into(),
        nodes: 2,
        directory: directory.into(),
        flags: vec!["--offer-ttl-ms".into(), "500".into()],
        key: "secret".into(),
        edge: false,
    }
}

/// A stand-in for a node. It is a committed file: one written here could still be open for
/// writing in a child that another test is just forking, and the kernel refuses to run that.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn read_until(path: &Path, times: usize) -> String {
    for _ in 0..500 {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.lines().count() >= times {
            return text;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{} has fewer than {times} lines", path.display());
}

#[test]
fn a_node_is_told_who_it_is_and_comes_back_as_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(plan(&fixture("parrot.sh"), dir.path())).unwrap();
    let log = dir.path().join("n2.log");
    let first = read_until(&log, 1);
    assert!(first.starts_with("node --node-id 2 --initial-nodes 1=127.0.0.1:"), "{first}");
    assert!(first.contains("--offer-ttl-ms 500"), "{first}");
    assert!(!first.contains("secret"), "{first}");
    cluster.kill(1);
    assert!(cluster.ended().is_ok(), "a killed node did not end by itself");
    cluster.spawn(1).unwrap();
    let both = read_until(&log, 2);
    let lines: Vec<&str> = both.lines().collect();
    assert_eq!(lines[0], lines[1]);
    assert!(cluster.tails().contains("--node-id 1"));
}

#[test]
fn a_lost_disk_brings_a_node_that_never_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(plan(&fixture("parrot.sh"), dir.path())).unwrap();
    let doors = cluster.doors().clone();
    let before = [doors.at(0), doors.at(1)];
    std::fs::write(dir.path().join("n2/precious"), "entries").unwrap();
    cluster.replace(1).unwrap();
    let first = read_until(&dir.path().join("n3.log"), 1);
    let founder = cluster.nodes[0].place.peer;
    assert!(first.starts_with(&format!("node --node-id 3 --seeds {founder} ")), "{first}");
    assert!(!dir.path().join("n2").exists() && dir.path().join("n3").is_dir());
    assert_eq!(cluster.living(), ["n1", "n3"]);
    assert!(doors.at(0) == before[0] && doors.at(1) != before[1], "{doors:?}");
    // It comes back as what it is, and the founders as what they are.
    cluster.kill(1);
    assert_eq!(cluster.living(), ["n1"]);
    cluster.spawn(1).unwrap();
    let both = read_until(&dir.path().join("n3.log"), 2);
    assert_eq!(both.lines().next(), both.lines().nth(1));
    assert!(cluster.bootstrap(0)[1].starts_with("1=127.0.0.1:"), "{cluster:?}");
    assert!(cluster.bootstrap(0)[1].contains(",2=127.0.0.1:"), "{cluster:?}");
}

#[test]
fn nothing_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(plan(&fixture("parrot.sh"), dir.path())).unwrap();
    let processes: Vec<u32> =
        cluster.nodes.iter().map(|node| node.child.as_ref().unwrap().id()).collect();
    drop(cluster);
    for process in processes {
        assert!(!Path::new(&format!("/proc/{process}")).exists(), "{process} lives");
    }
}

#[test]
fn a_node_that_ends_by_itself_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(plan(&fixture("second-ends.sh"), dir.path())).unwrap();
    for _ in 0..500 {
        if let Err(error) = cluster.ended() {
            assert!(error.to_string().starts_with("node n2 ended by itself"), "{error}");
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("nobody noticed");
}
