//! The values that dispatch is tuned by are changed on a running cluster, and stay changed.

use crate::configuration::run;
use crate::nodes::{Cluster, eventually, hansom};
use crate::people::{SQUARE, north_of};
use serde_json::{Value, json};

impl Cluster {
    async fn has_policy(&self, version: u64, name: &str, value: Value) {
        for node in 1..=3 {
            eventually("the node knows the policy", async || {
                let seen = self.get(node, "/v1/policy").await.expect(200).json;
                (seen["version"] == version && seen["policy"][name] == value).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_policy_is_set_on_all_nodes_at_once_and_survives_their_restart() {
    let mut cluster = Cluster::start(3, &[]).await;
    let door = format!("http://{}", cluster.http(2));
    let policy = async |values: &[&str]| {
        let mut command = hansom();
        command.args(["policy", "--json", "--node", &door]).args(values);
        let (status, out, talk) = run(command).await;
        (status, serde_json::from_str::<Value>(&out).unwrap_or_default(), talk)
    };
    let (_, before, _) = policy(&[]).await;
    assert_eq!(
        (&before["version"], &before["policy"]["offer_shown_ms"]),
        (&json!(0), &json!(10_000))
    );

    // A node is ready before it has heard that group 0 was founded, and refuses until then.
    let after = eventually("the policy is set", async || {
        let (status, after, talk) =
            policy(&["offer-shown-ms=7000", "search_radii_m=[2000,2000,2000]"]).await;
        assert!(status == 0 || talk.contains("not founded yet"), "{talk}");
        (status == 0).then_some(after)
    })
    .await;
    assert_eq!(after["version"], 1);
    assert_eq!(after["policy"]["claim_window_ms"], before["policy"]["claim_window_ms"]);
    cluster.has_policy(1, "offer_shown_ms", json!(7_000)).await;

    // What dispatch does by it, whoever decides.
    for home in 1..=3 {
        let at = north_of(SQUARE, 20_000.0 * f64::from(u32::try_from(home).unwrap()));
        let driver = cluster.free_driver_at(home, "dee", at).await;
        let rider = cluster.rider_at(home, "ada").await;
        cluster.book(&rider, at).await;
        let offer = cluster.offer_before(&driver).await;
        assert_eq!(offer["shown_ms"], 7_000, "{offer}");
    }

    let (status, _, talk) = policy(&["offer_ttl_ms=6000"]).await;
    assert_eq!(status, 1, "shown for longer than it lives");
    assert!(talk.contains("offer_shown_ms"), "{talk}");
    let late = json!({ "version": 0, "set": { "offer_ttl_ms": 12_000 } });
    let late = cluster.ask(3, "PATCH /v1/policy").json(&late).send().await;
    late.problem(409, "POLICY_CHANGED");

    for node in 1..=3 {
        cluster.kill(node);
    }
    for node in 1..=3 {
        cluster.spawn(node);
    }
    cluster.settled().await;
    cluster.serving().await;
    cluster.has_policy(1, "offer_shown_ms", json!(7_000)).await;
}
