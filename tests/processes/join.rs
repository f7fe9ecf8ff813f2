//! Nodes find each other, and any of them answers for everything.

use crate::configuration::run;
use crate::nodes::{Cluster, eventually, hansom, number};
use crate::people::{At, SQUARE, north_of};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Coordinates far enough apart that each lies in a cell of its own.
fn places() -> Vec<At> {
    let steps =
        (0..12).flat_map(|row| (0..12).map(move |column| (f64::from(row), f64::from(column))));
    steps.map(|(row, column)| (40.0 + row / 4.0, -75.0 + column / 4.0)).collect()
}

/// Who owns each place, as one node says it.
async fn owners(cluster: &Cluster, node: u64) -> Vec<u64> {
    let mut owners = Vec::new();
    for (lat, lng) in places() {
        let path = format!("/v1/cluster/lookup?key={lat},{lng}");
        let found = cluster.get(node, &path).await.expect(200);
        assert_eq!((&found.json["kind"], &found.json["alive"]), (&json!("cell"), &json!(true)));
        owners.push(number(&found.json["owner"]).unwrap());
    }
    owners
}

/// Waits until all nodes have one ring; gives its version.
async fn one_ring(cluster: &Cluster) -> String {
    eventually("all nodes have one ring", async || {
        let mut versions = BTreeSet::new();
        for node in cluster.running() {
            let view = cluster.get(node, "/v1/cluster").await.expect(200);
            assert_eq!(view.json["ready"], true);
            versions.insert(view.text("ring_version"));
        }
        let one = versions.len() == 1;
        versions.pop_first().filter(|_| one)
    })
    .await
}

#[tokio::test]
async fn three_nodes_form_a_cluster_and_a_fourth_takes_its_share_of_the_cells() {
    let mut cluster = Cluster::start(3, &[]).await;
    let three = one_ring(&cluster).await;
    let before = owners(&cluster, 1).await;
    assert_eq!(before, owners(&cluster, 2).await);
    assert_eq!(before, owners(&cluster, 3).await);

    let riders = [
        cluster.rider_at(1, "ada").await,
        cluster.rider_at(2, "ben").await,
        cluster.rider_at(3, "cyd").await,
    ];
    let fourth = cluster.join().await;
    assert_ne!(one_ring(&cluster).await, three);
    let after = owners(&cluster, fourth).await;
    for node in cluster.running() {
        assert_eq!(after, owners(&cluster, node).await, "node {node} sees other owners");
    }
    for (was, is) in before.iter().zip(&after) {
        assert!(was == is || *is == fourth, "a cell moved from {was} to {is}");
    }
    let mut shares: BTreeMap<u64, usize> = BTreeMap::new();
    for owner in after {
        *shares.entry(owner).or_default() += 1;
    }
    // A quarter of 144 cells is 36.
    assert!((10..=80).contains(&shares[&fourth]), "{shares:?}");

    // It answers for everything at once, and leads its share when it has caught up.
    cluster.all_serve_all(&riders).await;
    cluster.spread().await;
    let leads = cluster.leads().await;
    assert!(leads[&fourth] >= 10, "{leads:?}");
    let late = cluster.rider_at(fourth, "dot").await;
    cluster.all_serve_all(&riders).await;
    cluster.all_serve_all(&[late]).await;
    cluster.equal().await;
}

#[tokio::test]
async fn a_cluster_whose_founders_are_all_gone_comes_back_after_all_its_nodes_died() {
    let mut cluster = Cluster::start(3, &["--partitions=8"]).await;
    let rider = cluster.rider_at(1, "ada").await;
    for founder in 1..=3 {
        cluster.join().await;
        let drain = format!("POST /v1/cluster/nodes/{founder}/drain");
        cluster.ask(cluster.any(), &drain).send().await.expect(200);
        cluster.spread().await;
        cluster.stop(founder).await;
    }
    for node in 4..=6 {
        cluster.kill(node);
    }
    for (node, seed) in [(4, 5), (5, 6), (6, 4)] {
        cluster.reseed(node, seed);
        cluster.spawn(node);
    }
    cluster.settled().await;
    cluster.all_serve_all(&[rider]).await;
}

#[tokio::test]
async fn a_drain_waits_until_the_node_that_leaves_has_no_vote_whoever_is_asked() {
    let mut cluster = Cluster::start(3, &["--partitions=8"]).await;
    let fourth = cluster.join().await;
    cluster.spread().await;
    let mut command = hansom();
    command.args(["node", "drain", "1", "--node", &format!("http://{}", cluster.http(fourth))]);
    let (status, out, talk) = run(command).await;
    assert!(status == 0 && out.contains("n1 holds no replica any more"), "{out}{talk}");
    let there = cluster.get(1, "/v1/cluster/partitions").await.expect(200);
    for partition in there.json["partitions"].as_array().unwrap() {
        let voters = partition["voters"].as_array().into_iter().flatten();
        assert!(voters.into_iter().all(|voter| voter != "n1"), "{partition}");
    }
}

#[tokio::test]
async fn any_node_answers_for_any_booking_driver_trip_and_coordinate_over_one_forward_at_most() {
    let cluster = Cluster::start(3, &[]).await;
    cluster.spread().await;
    let mut paths = Vec::new();
    for (home, other) in [(1, 2), (2, 3), (3, 1)] {
        let at = north_of(SQUARE, 5_000.0 * f64::from(u32::try_from(home).unwrap()));
        let driver = cluster.free_driver_at(other, "dee", at).await;
        let rider = cluster.rider_at(home, "ada").await;
        let booking = cluster.book(&rider, at).await;
        let trip = cluster.accept(&driver).await;
        for (kind, id) in [("riders", &rider), ("bookings", &booking), ("trips", &trip)] {
            assert_eq!(cluster.owner(id).await, home);
            paths.push((format!("/v1/{kind}/{id}"), home));
        }
        paths.push((format!("/v1/drivers/{driver}"), other));
        paths.push((format!("/v1/drivers/{driver}/offers"), other));

        let nearby = format!("/v1/nearby?lat={}&lng={}&radius_m=500", at.0, at.1);
        for node in cluster.running() {
            let found = cluster.get(node, &nearby).await.expect(200);
            assert_eq!(found.json["partial"], false, "{}", found.text);
            assert_eq!(
                found.json["drivers"][0]["driver_id"], driver,
                "at node {node}: {}",
                found.text
            );
        }
    }
    for node in cluster.running() {
        for (path, home) in &paths {
            let answer = cluster.get(node, path).await.expect(200);
            let forwards = u8::from(node != *home);
            assert_eq!(answer.hops(), forwards, "{}", answer.what);
            assert_eq!(answer.header("x-hansom-node"), format!("n{node}"));
            assert_eq!(answer.header("x-hansom-served-by"), format!("n{home}"));
        }
    }
}

#[tokio::test]
async fn an_operator_sees_members_and_owners_from_the_command_line() {
    let cluster = Cluster::start(3, &[]).await;
    let rider = cluster.rider_at(3, "ada").await;
    let node = format!("http://{}", cluster.http(2));
    let run = |arguments: &[&str]| {
        let output = hansom().args(arguments).args(["--node", &node]).output().unwrap();
        let (out, talk) = (String::from_utf8(output.stdout).unwrap(), output.stderr);
        (output.status.code().unwrap(), out, String::from_utf8(talk).unwrap())
    };

    let (status, out, _) = run(&["ring", "--json"]);
    let view: Value = serde_json::from_str(&out).unwrap();
    let members: Vec<&str> =
        view["members"].as_array().unwrap().iter().filter_map(|m| m["node"].as_str()).collect();
    assert_eq!((status, members), (0, vec!["n1", "n2", "n3"]));
    let (status, table, _) = run(&["ring"]);
    assert!(status == 0 && table.contains("n3") && table.contains("partitions 64"), "{table}");

    let (status, out, _) = run(&["lookup", &rider, "--json"]);
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &found["kind"], &found["owner"]), (0, &json!("rider"), &json!("n3")));
    let (status, table, _) = run(&["lookup", "-33.8688,151.2093"]);
    assert!(status == 0 && table.contains("cell"), "{table}");
    let (status, out, talk) = run(&["lookup", "nonsense"]);
    assert!(status == 1 && out.is_empty() && talk.contains("must be an id"), "{talk}");

    let metrics = cluster.get(1, "/metrics").await.expect(200);
    assert!(metrics.text.contains("hansom_members_live_count 3\n"), "{}", metrics.text);
    cluster.get(1, "/healthz").await.expect(200);
}
