//! The data directory: whose it is, and that it keeps what was acknowledged.

use crate::support::{config, insist, own_address, rider, text};
use node::{Config, Node, Seams};
use serde_json::Value;
use std::path::Path;

fn in_directory(directory: &Path, flags: &str) -> Config {
    let directory = directory.display();
    let peer = own_address();
    config(&format!("--single --http 127.0.0.1:0 --peer {peer} --data-dir {directory} {flags}"))
        .unwrap()
}

#[tokio::test]
async fn a_node_that_starts_again_knows_what_it_knew_and_counts_its_starts() {
    let directory = tempfile::tempdir().unwrap();
    let config = in_directory(directory.path(), "");
    let node = Node::start(config.clone(), Seams::real().unwrap()).await.unwrap();
    let rider = rider(node.http(), "ada").await;
    node.stop().await;

    let node = Node::start(config, Seams::real().unwrap()).await.unwrap();
    let path = format!("/v1/riders/{rider}");
    let (status, body) = insist(node.http(), "GET", &path, &[], Value::Null).await;
    assert_eq!((status, text(&body["name"])), (200, "ada".to_owned()));
    let view = node.membership().view();
    assert_eq!(view.members()[0].generation, 2);
    node.stop().await;
}

#[tokio::test]
async fn a_directory_of_another_node_or_cluster_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(in_directory(directory.path(), ""), Seams::real().unwrap()).await;
    node.unwrap().stop().await;
    for flags in ["--node-id 2", "--cluster other"] {
        let config = in_directory(directory.path(), flags);
        let refused = Node::start(config, Seams::real().unwrap()).await.map(|_| ());
        let error = refused.expect_err("not its directory");
        assert!(error.to_string().contains("cannot open the data directory"), "{flags}: {error}");
    }
}
