//! Two of three disks are gone for good. An operator has the third node go on alone, is told what
//! that costs, and lets new nodes in.

use crate::nodes::{Cluster, eventually, hansom};
use crate::people::{By, SQUARE};
use serde_json::json;
use std::process::Output;

fn ledger(command: &str, cluster: &Cluster, flags: &[&str]) -> Output {
    hansom().args(["ledger", command]).args(flags).arg(cluster.data(1)).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn a_cluster_that_lost_a_majority_of_its_disks_goes_on_with_the_last_one() {
    let mut cluster = Cluster::start_alone(3, &["--replace-after-ms=2000", "--partitions=8"]).await;
    let mut riders = Vec::new();
    for home in 1..=3 {
        riders.push(cluster.rider_at(home, "ada").await);
    }
    let booked = cluster.book(&riders[1], SQUARE).await;
    // All replicas have it all before the fire.
    cluster.equal().await;
    let refused = ledger("unsafe-recover", &cluster, &["--i-accept-losses"]);
    assert!(!refused.status.success() && said(&refused).contains("in use"), "{}", said(&refused));
    for node in [1, 2, 3] {
        cluster.kill(node);
    }
    cluster.wipe(2);
    cluster.wipe(3);

    let verified = ledger("verify", &cluster, &[]);
    assert!(verified.status.success(), "{}", said(&verified));
    let warned = ledger("unsafe-recover", &cluster, &[]);
    assert!(warned.status.success() && said(&warned).contains("lost"), "{}", said(&warned));
    cluster.spawn(1);
    eventually("one of three serves nobody", async || {
        let answer = cluster.ask(1, "GET /readyz").try_send().await?;
        (answer.status == 503).then_some(())
    })
    .await;
    cluster.kill(1);
    let recovered = ledger("unsafe-recover", &cluster, &["--i-accept-losses"]);
    assert!(recovered.status.success(), "{}", said(&recovered));
    cluster.spawn(1);

    for rider in &riders {
        let path = format!("GET /v1/riders/{rider}");
        eventually("the last node serves", async || {
            let answer = cluster.ask(1, &path).try_send().await?;
            (answer.status == 200).then_some(())
        })
        .await;
    }
    // Each partition serves as soon as it has a leader; that it was lossy is known to group 0.
    eventually("its health says what it cost", async || {
        let health = cluster.ask(1, "GET /healthz").try_send().await?;
        health.text.contains("lossy").then_some(())
    })
    .await;
    let found = cluster.get(1, &format!("/v1/bookings/{booked}")).await.expect(200);
    assert_eq!(found.json["rider_id"], riders[1]);

    // New nodes, under new ids, until every partition is on three disks again.
    cluster.join().await;
    cluster.join().await;
    cluster.spread().await;
    let cancel = format!("/v1/bookings/{booked}/cancel");
    cluster.post(&cancel, By::Rider(&riders[1]), &json!({})).await.expect(200);
    cluster.kill(1);
    let found = cluster.get(cluster.any(), &format!("/v1/bookings/{booked}")).await.expect(200);
    assert_eq!(found.json["status"], "CANCELLED", "without the one that went on alone");
}
