//! Nodes are replaced one after another by a newer build while clients go on: nothing acknowledged
//! is lost, replicas never differ, and what is new begins when the last node knows it.

use crate::load::{CLIENTS, Load};
use crate::nodes::{Cluster, eventually, hansom};
use std::path::{Path, PathBuf};

/// The build beside this one; see `tests/next`.
fn next_build() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_hansom")).with_file_name("examples").join("next");
    assert!(built.exists(), "not built: cargo build --workspace --example next");
    built
}

/// The level that each node calls agreed, and what it lists each node as knowing.
async fn levels(cluster: &Cluster) -> Option<Vec<(u64, Vec<u64>)>> {
    let mut levels = Vec::new();
    for node in cluster.running() {
        let view = cluster.ask(node, "GET /v1/cluster").try_send().await?.json;
        let known = view["members"].as_array()?.iter().map(|member| member["level"].as_u64());
        levels.push((view["level"].as_u64()?, known.collect::<Option<_>>()?));
    }
    Some(levels)
}

async fn until_levels(cluster: &Cluster, agreed: u64, known: &[u64]) {
    eventually(&format!("all agree on {agreed} and list {known:?}"), async || {
        let all = levels(cluster).await?;
        all.iter().all(|(level, list)| (*level, &list[..]) == (agreed, known)).then_some(())
    })
    .await;
}

async fn upgrade(cluster: &mut Cluster, load: &Load, next: &Path) {
    for (node, known) in [(1, [2, 1, 1]), (2, [2, 2, 1]), (3, [2, 2, 2])] {
        load.goes_on(20).await;
        cluster.kill(node);
        load.goes_on(5).await;
        cluster.install(node, next);
        cluster.restart(node).await;
        if node == 3 {
            break;
        }
        until_levels(cluster, 1, &known).await;
        // Some partitions are led by the new build now, and say nothing that the old ones don't.
        cluster.spread().await;
        load.goes_on(20).await;
        cluster.equal().await;
        assert_eq!(load.is_kept(cluster).await, 0, "capitals with node {node} alone");
    }
    until_levels(cluster, 2, &[2, 2, 2]).await;
    load.goes_on(40).await;
}

#[tokio::test]
async fn a_cluster_is_upgraded_node_by_node_under_load() {
    let next = next_build();
    let mut cluster = Cluster::start_alone(3, &[]).await;
    until_levels(&cluster, 1, &[1, 1, 1]).await;
    let load =
        Load::during(&mut cluster, async |cluster, load| upgrade(cluster, load, &next).await);
    let load = load.await;

    // What is new shows everywhere, and nowhere on some replicas only.
    let mut rider = 0..;
    for home in 1..=3 {
        eventually(&format!("node {home} stores capitals"), async || {
            let stem = format!("mia {}", rider.next()?);
            let id = cluster.rider_at(home, &stem).await;
            let found = cluster.get(home, &format!("/v1/riders/{id}")).await.expect(200);
            (found.text("name").starts_with("MIA")).then_some(())
        })
        .await;
    }
    cluster.equal().await;
    let shouted = load.is_kept(&cluster).await;
    assert!(shouted >= CLIENTS && shouted < load.done(), "{shouted} of {}", load.done());
    let node = format!("http://{}", cluster.http(2));
    let shown = hansom().args(["ring", "--node", &node]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("feature level 2"), "{shown}");

    // There is no way back.
    cluster.kill(1);
    cluster.install(1, Path::new(env!("CARGO_BIN_EXE_hansom")));
    cluster.spawn(1);
    let (status, said) = cluster.ends(1).await;
    let last = said.lines().last().unwrap_or_default();
    assert_eq!(status, 1, "{last}");
    let advice = "feature level 2, this build knows 1: start a newer build";
    assert!(last.starts_with("hansom node: ") && last.contains(advice), "{last}");
    cluster.serving().await;
}
