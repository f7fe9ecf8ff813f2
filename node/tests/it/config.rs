//! What a configuration says when it makes no sense, and what it shows when it does.

use crate::support::{args, config};

#[test]
fn every_mistake_has_a_sentence_that_says_what_to_do() {
    // flags, what the sentence must contain
    let mistakes = [
        ("", "--node-id is missing"),
        ("--node-id 0 --single", "1 or more"),
        ("--node-id 1", "--single for a cluster of one"),
        ("--single --partitions 0", "--partitions"),
        ("--node-id 1 --initial-nodes 1:127.0.0.1:7101", "1=127.0.0.1:7101"),
        ("--node-id 1 --initial-nodes 1=localhost:7101", "<ip>:<port>"),
        ("--node-id 3 --initial-nodes 1=127.0.0.1:1,2=127.0.0.1:2", "add 3=<its peer address>"),
        ("--node-id 1 --initial-nodes 1=127.0.0.1:1,1=127.0.0.1:2", "node 1 twice"),
        ("--node-id 1 --initial-nodes 1=127.0.0.1:1,2=127.0.0.1:1", "127.0.0.1:1 twice"),
        (
            "--node-id 1 --initial-nodes 1=127.0.0.1:7101 --peer 127.0.0.1:7102",
            "--peer-advertised 127.0.0.1:7101",
        ),
        ("--node-id 4 --seeds nowhere", "--seeds: `nowhere`"),
        ("--node-id 4 --seeds ,", "--seeds must name"),
        ("--single --http 0.0.0.0:8001", "--http-advertised"),
        ("--single --edge 0.0.0.0:7201", "--auth-keys"),
        ("--single --peer 192.0.2.7:7101", "openssl rand -hex 32"),
        ("--node-id 4 --seeds 192.0.2.7:7101", "--peer <its address>:7101"),
        ("--node-id 4 --seeds 192.0.2.7:7101 --peer 192.0.2.8:7101", "HANSOM_CLUSTER_KEY"),
        ("--single --cluster-key short", "at least 16 bytes"),
        ("--single --split-cells 882a100d63fffff", "resolution 6"),
        ("--single --split-cells x", "--split-cells: `x`"),
        ("--single --split-cells 872a10728ffffff", "the r6 cell it is in is not"),
        ("--single --split-above 0", "--split-above"),
        ("--single --split-every-ms 5", "--split-every-ms"),
        ("--single --offer-shown-ms 20000", "--offer-shown-ms"),
        ("--single --search-radii-m 1,2", "three numbers"),
        ("--single --search-radii-m 3000,2000,5000", "--search-radii-m"),
        ("--single --claim-window-ms 900", "--claim-window-ms"),
        ("--single --http-body-max-bytes 5000000", "--http-body-max-bytes"),
        ("--single --in-flight-max 0", "--in-flight-max"),
        ("--single --connections-max 0", "--connections-max"),
        ("--single --log not==a==filter", "--log"),
    ];
    for (flags, part) in mistakes {
        match config(flags) {
            Ok(config) => panic!("`{flags}` was taken as\n{config}"),
            Err(error) => assert!(error.to_string().contains(part), "`{flags}`: {error}"),
        }
    }
}

#[test]
fn a_node_among_the_first_takes_its_peer_address_from_the_list() {
    let config = config("--node-id 2 --initial-nodes 1=127.0.0.1:7101,2=127.0.0.1:7102").unwrap();
    assert_eq!(config.peer.port(), 7102);
    assert_eq!(config.data_dir.to_str(), Some("hansom-data/n2"));
}

#[test]
fn a_secret_is_never_shown() {
    let secret = "a-very-secret-cluster-key";
    let flags = format!("--single --peer 192.0.2.7:7101 --cluster-key {secret}");
    let (args, config) = (args(&flags), config(&flags).unwrap());
    for shown in [format!("{args:?}"), format!("{config:?}"), config.to_string()] {
        assert!(!shown.contains(secret), "{shown}");
        assert!(shown.to_lowercase().contains("hidden"), "{shown}");
    }
}

#[test]
fn what_is_printed_says_what_is_used() {
    let shown = config("--single --offer-ttl-ms 1234 --offer-shown-ms 5").unwrap().to_string();
    for line in ["single = true", "offer-ttl-ms = 1234", "search-radii-m = 1000,3000,8000"] {
        assert!(shown.lines().any(|l| l == line), "no `{line}` in\n{shown}");
    }
}
