//! What a node is started with: nonsense is refused in a sentence before anything is touched.

use crate::nodes::{Cluster, SECRET, free_address, hansom};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Runs a command that must end by itself; gives its status, output and talk.
pub(crate) async fn run(mut command: Command) -> (i32, String, String) {
    const POLL: Duration = Duration::from_millis(5);
    const POLLS: u32 = 3_000;
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for _ in 0..POLLS {
        if child.try_wait().unwrap().is_some() {
            let output = child.wait_with_output().unwrap();
            let text = |bytes| String::from_utf8(bytes).unwrap();
            return (output.status.code().unwrap(), text(output.stdout), text(output.stderr));
        }
        tokio::time::sleep(POLL).await;
    }
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    panic!("{command:?} did not end by itself: {}", String::from_utf8_lossy(&output.stderr));
}

fn node(arguments: &str) -> Command {
    let mut command = hansom();
    command.arg("node").args(arguments.split_whitespace());
    command
}

#[tokio::test]
async fn nonsense_is_refused_with_status_2_and_a_sentence_before_a_port_is_bound() {
    // Whoever tried to bind this port would fail with another status.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = taken.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    // arguments -> a word of the sentence
    let table = [
        ("", "--node-id"),
        ("--node-id 1", "--initial-nodes"),
        ("--node-id 0 --single", "--node-id"),
        ("--node-id x --single", "--node-id"),
        ("--single --seeds 127.0.0.1:1", "--seeds"),
        ("--node-id 1 --seeds nowhere", "nowhere"),
        ("--node-id 1 --seeds ,", "--seeds"),
        ("--node-id 1 --initial-nodes 127.0.0.1:1", "127.0.0.1:1"),
        ("--node-id 1 --initial-nodes 1=127.0.0.1:0", "127.0.0.1:0"),
        ("--node-id 1 --initial-nodes 1=127.0.0.1:1,1=127.0.0.1:2", "twice"),
        ("--node-id 1 --initial-nodes 1=127.0.0.1:1,2=127.0.0.1:1", "twice"),
        ("--node-id 3 --initial-nodes 1=127.0.0.1:1,2=127.0.0.1:2", "3="),
        ("--node-id 1 --initial-nodes 1=127.0.0.1:1 --peer 127.0.0.1:2", "--peer"),
        ("--node-id 1 --initial-nodes 1=10.0.0.1:7101", "HANSOM_CLUSTER_KEY"),
        ("--node-id 4 --seeds 10.0.0.1:7101", "--peer"),
        ("--single --cluster-key short", "--cluster-key"),
        ("--single --peer 0.0.0.0:7101 --cluster-key 0123456789abcdef", "--peer-advertised"),
        ("--single --partitions 0", "--partitions"),
        ("--single --partitions 70000", "70000"),
        ("--single --split-cells 8928308280fffff", "--split-cells"),
        ("--single --offer-ttl-ms 0", "--offer-ttl-ms"),
        ("--single --offer-ttl-ms 500", "--offer-shown-ms"),
        ("--single --search-radii-m 3000,1000,5000", "--search-radii-m"),
        ("--single --search-radii-m 1000", "three numbers"),
        ("--single --speed-cms -1", "-1"),
        ("--single --in-flight-max 0", "--in-flight-max"),
        ("--single --log =,=", "--log"),
        ("--single --no-such-flag", "--no-such-flag"),
    ];
    for (arguments, word) in table {
        let mut command = node(arguments);
        command.args(["--http", &http.to_string()]).arg("--data-dir").arg(&data);
        let (status, out, talk) = run(command).await;
        assert_eq!(status, 2, "`{arguments}` says: {talk}");
        assert!(talk.contains(word), "`{arguments}` does not name {word}: {talk}");
        assert!(out.is_empty() && !talk.contains("panicked"), "`{arguments}`: {out} {talk}");
        assert!(!data.exists(), "`{arguments}` has made its data directory");
    }
}

#[tokio::test]
async fn the_printed_configuration_hides_the_cluster_key() {
    let mut by_environment = node("--single --offer-ttl-ms 12345 --print-config");
    by_environment.env("HANSOM_CLUSTER_KEY", SECRET).env("HANSOM_ZONE", "rack");
    let mut by_flag = node("--single --offer-ttl-ms 12345 --zone rack --print-config");
    by_flag.args(["--cluster-key", SECRET]);
    for command in [by_environment, by_flag] {
        let (status, out, talk) = run(command).await;
        assert_eq!(status, 0, "{talk}");
        assert!(
            out.contains("cluster-key = (hidden)") && out.contains("offer-ttl-ms = 12345"),
            "{out}"
        );
        assert!(out.contains("zone = rack"), "{out}");
        assert!(!out.contains(SECRET) && !talk.contains(SECRET), "{out} {talk}");
    }
    let mut help = node("--help");
    help.env("HANSOM_CLUSTER_KEY", SECRET);
    let (status, out, _) = run(help).await;
    assert!(status == 0 && !out.contains(SECRET), "{out}");
}

#[tokio::test]
async fn a_data_directory_of_another_node_is_refused_with_status_1() {
    let mut cluster = Cluster::start(1, &[]).await;
    let data = cluster.data(1);
    let start = |arguments: &str| {
        let mut command = node(arguments);
        command.env("HANSOM_CLUSTER_KEY", SECRET).arg("--data-dir").arg(&data);
        command.args(["--http", &free_address().to_string()]);
        command
    };
    let peer = free_address();
    let same = format!("--node-id 1 --initial-nodes 1={peer}");
    let (status, _, talk) = run(start(&same)).await;
    assert_eq!(status, 1, "two processes on one directory: {talk}");
    assert!(talk.contains("data directory"), "{talk}");

    cluster.kill(1);
    let other_node = format!("--node-id 2 --initial-nodes 2={peer}");
    let other_cluster = format!("{same} --cluster elsewhere");
    for (arguments, word) in [(other_node, "n1"), (other_cluster, "hansom")] {
        let (status, _, talk) = run(start(&arguments)).await;
        assert_eq!(status, 1, "{arguments}: {talk}");
        assert!(talk.contains("data directory") && talk.contains(word), "{talk}");
    }
    // Its own node still can.
    cluster.restart(1).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_refused_with_status_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let free = free_address();
    for (http, peer) in [(address, free), (free, address)] {
        let mut command = node("--single");
        command.args(["--http", &http.to_string(), "--peer", &peer.to_string()]);
        command.arg("--data-dir").arg(directory.path().join("data"));
        let (status, _, talk) = run(command).await;
        assert_eq!(status, 1, "{talk}");
        assert!(talk.contains(&format!("cannot listen on {address}")), "{talk}");
    }
}
