//! What the README says to type works, as it stands there.

use crate::nodes::Cluster;
use serde_json::Value;
use std::process::{Command, Stdio};

const README: &str = include_str!("../../README.md");

/// The first block of commands under a heading.
fn commands(heading: &str) -> &'static str {
    let (_, section) = README.split_once(heading).unwrap();
    let (_, block) = section.split_once("```sh\n").unwrap();
    block.split_once("```").unwrap().0
}

#[tokio::test]
async fn the_ride_by_curl_ends_with_its_booking_completed() {
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: there is no curl on this machine");
        return;
    }
    let cluster = Cluster::start(3, &[]).await;
    let script = commands("## A ride by curl");
    let here = script.replace("127.0.0.1:8001", &cluster.http(2).to_string());
    assert_ne!(here, script, "the script names a node");
    let mut bash = Command::new("timeout");
    bash.args(["20", "bash", "-c", &here]);
    let ran = tokio::task::spawn_blocking(move || bash.output().unwrap()).await.unwrap();
    let out = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{out}{}", String::from_utf8_lossy(&ran.stderr));
    let answers: Vec<Value> =
        serde_json::Deserializer::from_str(&out).into_iter().map(Result::unwrap).collect();
    let [.., receipt, booking] = &answers[..] else { panic!("too few answers: {out}") };
    assert_eq!(booking["status"], "COMPLETED", "{out}");
    assert_eq!(receipt["booking_id"], booking["booking_id"], "{out}");
    assert!(receipt["total_minor"].as_u64().is_some_and(|total| total > 0), "{out}");
}
