//! `hansom zones`: where drivers wait their turn, others from a file, and who waits.

use super::{Asking, ToolError, ask, exchange, finish, print};
use crate::http::zones::{Corner, QueueView, ZoneIn, ZoneView, ZonesIn, ZonesView};
use proto::ZoneId;
use reqwest::Method;
use std::path::PathBuf;
use std::process::ExitCode;

/// What is shown or set.
#[derive(Debug, Clone, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "\
In a queue zone, an airport's, drivers are asked in the order in which they came. A booking with its
pickup there goes to the first who can serve it; where nobody waits, to whoever is near. Drivers in a
zone get its bookings only. docs/queues.md has the rules.

A file of zones is a JSON list; grace_s and refusals may be left out:
  [{ \"name\": \"airport\", \"grace_s\": 180, \"refusals\": 1,
     \"ring\": [{ \"lat\": 40.766, \"lng\": -73.885 }, { \"lat\": 40.766, \"lng\": -73.862 },
              { \"lat\": 40.781, \"lng\": -73.862 }, { \"lat\": 40.781, \"lng\": -73.885 }] }]

Examples:
  hansom zones
  hansom zones set zones.json
  hansom zones queue airport
  echo '[]' > none.json && hansom zones set none.json"
)]
pub struct ZonesArgs {
    #[command(subcommand)]
    pub action: Option<Action>,
    #[command(flatten)]
    pub asking: Asking,
}

/// What is done.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Action {
    /// Set the zones on all nodes; those that the file does not name are none any more.
    Set {
        /// A JSON list of zones.
        file: PathBuf,
        #[command(flatten)]
        asking: Asking,
    },
    /// Show who waits in a zone, the first first.
    Queue {
        /// The zone's name, or its id (zon_).
        zone: String,
        #[command(flatten)]
        asking: Asking,
    },
}

/// Why a file of zones can't be used.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("{} cannot be read: {source}", file.display())]
    Unread { file: PathBuf, source: std::io::Error },
    #[error("{} is no list of zones, `hansom zones --help` shows one: {source}", file.display())]
    NoList { file: PathBuf, source: serde_json::Error },
}

/// `hansom zones`.
pub async fn zones(args: ZonesArgs) -> ExitCode {
    match args.action {
        None => {
            let found = ask(&args.asking.door, "/v1/zones", &[]).await;
            finish("hansom zones", &args.asking, found, table)
        }
        Some(Action::Set { file, asking }) => match read(file) {
            Ok(zones) => finish("hansom zones set", &asking, set(&asking, zones).await, table),
            Err(error) => print::finish("hansom zones set", Err::<String, _>(error)),
        },
        Some(Action::Queue { zone, asking }) => {
            let id = zone.parse().unwrap_or_else(|_| ZoneId::of_name(&zone));
            let found = ask(&asking.door, &format!("/v1/zones/{id}/queue"), &[]).await;
            finish("hansom zones queue", &asking, found, queue_table)
        }
    }
}

fn read(file: PathBuf) -> Result<Vec<ZoneIn>, FileError> {
    let text = match std::fs::read(&file) {
        Ok(text) => text,
        Err(source) => return Err(FileError::Unread { file, source }),
    };
    serde_json::from_slice(&text).map_err(|source| FileError::NoList { file, source })
}

async fn set(asking: &Asking, zones: Vec<ZoneIn>) -> Result<ZonesView, ToolError> {
    let (door, path) = (&asking.door, "/v1/zones");
    let known: ZonesView = ask(door, path, &[]).await?;
    let body = serde_json::to_value(ZonesIn { version: known.version, zones }).unwrap_or_default();
    exchange(door, Method::PUT, path, &[], Some(body)).await
}

fn table(view: &ZonesView) -> String {
    let rows = view.zones.iter().map(|zone| {
        let ZoneView { zone_id, name, ring, grace_s, refusals } = zone;
        [
            name.clone(),
            zone_id.clone(),
            ring.len().to_string(),
            middle(ring),
            format!("{grace_s} s"),
            refusals.to_string(),
        ]
    });
    let header = ["zone", "id", "corners", "around", "grace", "refusals to the tail"];
    format!("{}\nversion {} of the policy", print::list(header, rows), view.version)
}

fn middle(ring: &[Corner]) -> String {
    let mean = |of: fn(&Corner) -> f64| ring.iter().map(of).sum::<f64>() / ring.len().max(1) as f64;
    format!("{:.4},{:.4}", mean(|corner| corner.lat), mean(|corner| corner.lng))
}

fn queue_table(view: &QueueView) -> String {
    let rows = view.drivers.iter().map(|driver| {
        [driver.place.to_string(), driver.driver_id.clone(), format!("{} s", driver.waited_s)]
    });
    format!(
        "{}\n{} wait in {}",
        print::list(["place", "driver", "for"], rows),
        view.drivers.len(),
        view.zone_id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_the_help_shows_is_one() {
        use clap::Args as _;
        let command = ZonesArgs::augment_args(clap::Command::new("x"));
        let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        let (from, to) = (help.find("  [{").unwrap(), help.find("}]\n").unwrap() + 2);
        let zones: Vec<ZoneIn> = serde_json::from_str(&help[from..to]).unwrap();
        assert_eq!((zones.len(), zones[0].ring.len(), zones[0].grace_s), (1, 4, 180));
    }
}
