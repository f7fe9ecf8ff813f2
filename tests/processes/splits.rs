//! Half a city's positions in one place: its cell is split on all nodes, nobody is lost over it, and
//! it is merged again when they have gone.

use crate::nodes::{Cluster, eventually, number};
use crate::people::{At, SQUARE, now_ms};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Looks often, and splits what a few dozen phones can make. Who is silent while his cell is merged
/// stays fresh, also if the machine takes its time over it.
const FLAGS: &[&str] = &["--split-every-ms", "300", "--split-above", "100", "--fresh-ms", "60000"];
/// Drivers, on a grid that lies in several r8 cells.
const DRIVERS: u32 = 24;

/// Where the drivers are: 6 to a row, 400 m apart.
fn place(driver: u32) -> At {
    let (row, column) = (f64::from(driver / 6), f64::from(driver % 6));
    (SQUARE.0 + row * 0.0036, SQUARE.1 + column * 0.0047)
}

struct Crowd {
    cluster: Cluster,
    drivers: Vec<String>,
}

impl Crowd {
    async fn gather() -> Self {
        let cluster = Cluster::start(3, FLAGS).await;
        let mut drivers = Vec::new();
        for n in 0..DRIVERS {
            drivers.push(cluster.driver_at(1 + u64::from(n) % 3, &format!("crowd {n}")).await);
            let online = format!("POST /v1/drivers/{}/online", drivers[drivers.len() - 1]);
            cluster.ask(cluster.any(), &online).send().await.expect(200);
        }
        Self { cluster, drivers }
    }

    /// All say where they are, to any node.
    async fn ping(&self) {
        let fix = |(n, driver): (u32, &String)| {
            let (lat, lng) = place(n);
            json!({ "driver_id": driver, "lat": lat, "lng": lng, "ts": now_ms() })
        };
        let fixes: Value = (0..).zip(&self.drivers).map(fix).collect();
        let ask = self.cluster.ask(self.cluster.any(), "PUT /v1/drivers/location").json(&fixes);
        ask.send().await.expect(202);
    }

    /// How many of them any node sees.
    async fn seen(&self) -> usize {
        let nearby =
            format!("/v1/nearby?lat={}&lng={}&radius_m=5000&limit=200", SQUARE.0, SQUARE.1);
        let found = self.cluster.get(self.cluster.any(), &nearby).await.expect(200);
        let seen = found.json["drivers"].as_array().map_or(&[][..], Vec::as_slice);
        let ids: BTreeSet<&str> = seen.iter().filter_map(|one| one["driver_id"].as_str()).collect();
        self.drivers.iter().filter(|driver| ids.contains(driver.as_str())).count()
    }

    async fn all_are_seen(&self) {
        eventually("every driver who pings is seen", async || {
            self.ping().await;
            (self.seen().await == self.drivers.len()).then_some(())
        })
        .await;
    }

    /// The split cells, once all nodes say the same.
    async fn table(&self) -> Option<(String, Vec<Value>)> {
        let mut all = Vec::new();
        for node in self.cluster.running() {
            let view = self.cluster.get(node, "/v1/cluster").await.expect(200).json;
            all.push((view["split_version"].clone(), view["splits"].as_array()?.clone()));
        }
        let (version, splits) = all.first()?.clone();
        let same = all.iter().all(|one| *one == (version.clone(), splits.clone()));
        same.then(|| (version.as_str().unwrap_or_default().to_owned(), splits))
    }

    /// The ring keys of the drivers' places, and who owns them.
    async fn keys(&self) -> (BTreeSet<String>, BTreeSet<u64>) {
        let (mut keys, mut owners) = (BTreeSet::new(), BTreeSet::new());
        for n in 0..DRIVERS {
            let (lat, lng) = place(n);
            let path = format!("/v1/cluster/lookup?key={lat},{lng}");
            let found = self.cluster.get(self.cluster.any(), &path).await.expect(200);
            keys.insert(found.text("ring_key"));
            owners.extend(number(&found.json["owner"]));
        }
        (keys, owners)
    }
}

#[tokio::test]
async fn a_crowd_splits_its_cell_on_all_nodes_nobody_is_lost_and_it_is_merged_afterwards() {
    let crowd = Crowd::gather().await;
    let unsplit = crowd.table().await.unwrap_or_default();
    assert_eq!(unsplit, ("0000000000000000".to_owned(), Vec::new()));
    let (whole, _) = crowd.keys().await;
    assert!(whole.len() <= 2, "one r6 cell or two: {whole:?}");
    crowd.all_are_seen().await;

    let (_, splits) = eventually("the crowd's cell is split twice", async || {
        crowd.ping().await;
        let table = crowd.table().await?;
        table.1.iter().any(|split| split["resolution"] == 7).then_some(table)
    })
    .await;
    for split in &splits {
        let (load, limit) = (split["load"].as_u64().unwrap(), split["limit"].as_u64().unwrap());
        assert!(load > limit && limit >= 100, "split for a reason: {split}");
    }
    assert!(whole.iter().any(|cell| splits.iter().any(|split| split["cell"] == **cell)));
    crowd.all_are_seen().await;
    let (keys, owners) = crowd.keys().await;
    assert!(keys.len() > 3 && owners.len() > 1, "the crowd is shared out: {keys:?} {owners:?}");
    let metrics = crowd.cluster.get(crowd.cluster.any(), "/metrics").await.expect(200).text;
    assert!(metrics.contains("hansom_split_cells_count"), "{metrics}");

    // They go quiet. Their cells are merged, and they are where they were, although nobody pings.
    let emptied = async || crowd.table().await.filter(|(_, splits)| splits.is_empty());
    eventually("the cells are merged", emptied).await;
    assert_eq!(crowd.keys().await.0, whole);
    let all = async || (crowd.seen().await == crowd.drivers.len()).then_some(());
    eventually("everybody is handed over", all).await;
    crowd.all_are_seen().await;
}

#[tokio::test]
async fn what_an_operator_split_stays_split_and_nothing_else_is_where_nothing_may_be() {
    let coarse = {
        let cluster = Cluster::start(1, &[]).await;
        let path = format!("/v1/cluster/lookup?key={},{}", SQUARE.0, SQUARE.1);
        cluster.get(1, &path).await.expect(200).text("ring_key")
    };
    let flags = [FLAGS, &["--adaptive-cells", "off", "--split-cells", &coarse]].concat();
    let cluster = Cluster::start(1, &flags).await;
    let view = cluster.get(1, "/v1/cluster").await.expect(200).json;
    let configured = json!([{ "cell": coarse, "resolution": 6, "load": null, "limit": null }]);
    assert_eq!(view["splits"], configured);
    let driver = cluster.driver_at(1, "dee").await;
    for _ in 0..60 {
        let fix = json!({ "driver_id": driver, "lat": SQUARE.0, "lng": SQUARE.1, "ts": now_ms() });
        let batch: Value = vec![fix; 100].into();
        cluster.ask(1, "PUT /v1/drivers/location").json(&batch).send().await.expect(202);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(cluster.get(1, "/v1/cluster").await.expect(200).json["splits"], configured);
}
