//! The configuration as `--print-config` shows it: flags and values, secrets hidden.

use super::{Adaptive, Config};
use membership::Bootstrap;
use std::fmt;

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name} = {value}");
        line("node-id", &self.node.0)?;
        match &self.bootstrap {
            Bootstrap::Initial { nodes, partitions } => {
                let list: Vec<String> =
                    nodes.iter().map(|(id, address)| format!("{}={address}", id.0)).collect();
                line("initial-nodes", &list.join(","))?;
                line("partitions", partitions)?;
            }
            Bootstrap::Seeds(seeds) => {
                let list: Vec<String> = seeds.iter().map(ToString::to_string).collect();
                line("seeds", &list.join(","))?;
            }
            Bootstrap::Single { partitions } => {
                line("single", &true)?;
                line("partitions", partitions)?;
            }
        }
        line("cluster", &self.cluster)?;
        let key = if self.key_is_public { "(none: loopback only)" } else { "(hidden)" };
        line("cluster-key", &key)?;
        match &self.auth_keys {
            Some(path) => line("auth-keys", &path.display())?,
            None => line("auth-keys", &"(none: headers are believed)")?,
        }
        line("data-dir", &self.data_dir.display())?;
        line("http", &self.http)?;
        line("http-advertised", &self.http_advertised.unwrap_or(self.http))?;
        match self.edge {
            Some(at) => line("edge", &at)?,
            None => line("edge", &"(none)")?,
        }
        line("peer", &self.peer)?;
        line("peer-advertised", &self.peer_advertised.unwrap_or(self.peer))?;
        line("zone", &self.zone)?;
        line("replicas", &self.replicas)?;
        line("cell-replicas", &self.cell_replicas)?;
        line("replace-after-ms", &self.replace_after_ms)?;
        let splits: Vec<String> = self.splits.cells().map(|cell| cell.to_string()).collect();
        line("split-cells", &splits.join(","))?;
        line("adaptive-cells", &if self.adaptive.is_some() { "on" } else { "off" })?;
        if let Some(Adaptive { rules, every }) = self.adaptive {
            line("split-above", &rules.floor)?;
            line("split-every-ms", &every.as_millis())?;
        }
        match &self.roads {
            Some((path, settings)) => {
                line("roads", &path.display())?;
                line("roads-time-pct", &settings.time_pct)?;
                line("roads-learn", &self.roads_learn)?;
            }
            None => line("roads", &"(none: straight lines)")?,
        }
        let policy = serde_json::to_value(&self.policy).map_err(|_| fmt::Error)?;
        for (field, value) in policy.as_object().into_iter().flatten() {
            if value.is_object() {
                continue; // the tariffs, below
            }
            let text = value.to_string();
            line(&field.replace('_', "-"), &text.trim_matches(['[', ']', '"']))?;
        }
        line("tariff", &super::tariff::show(&self.policy.tariffs.general))?;
        for (kind, tariff) in &self.policy.tariffs.of_kind {
            let kind = super::tariff::name(*kind);
            line("tariff-for", &format_args!("{kind}:{}", super::tariff::show(tariff)))?;
        }
        line("http-body-max-bytes", &self.limits.http_body_max_bytes)?;
        line("connections-max", &self.limits.connections_max)?;
        line("in-flight-max", &self.limits.in_flight_max)?;
        line("rate-per-subject", &self.limits.rate_per_subject)?;
        line("edge-idle-ms", &self.limits.edge_idle_ms)?;
        line("log", &self.log)?;
        let format = clap::ValueEnum::to_possible_value(&self.log_format);
        line("log-format", &format.map_or(String::new(), |value| value.get_name().to_owned()))
    }
}
