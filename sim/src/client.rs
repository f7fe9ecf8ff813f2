//! How the city asks: with the client that everybody uses, told to ask another node each time, to be
//! patient, and watched. Any node must answer, so none is preferred; and what a client of the
//! ordinary sort gives up, ours goes on with, for the judge wants to know what came of it: an acked
//! booking must survive that a partition is away for as long as the restart of its node takes.

use crate::dice::Dice;
use crate::doors::Doors;
use crate::history::What;
use crate::tally::Tally;
use proto::client::{
    BuildError, Call, Came, Config, Failure, Patience, Refused, Seeds, Tried, Watch, Way,
};
use proto::units::{Clock, MonoMs};
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::sync::Arc;

/// One try as long as everybody's; all of them: several times what a killed node is away. With pauses
/// of half a second and more there is no time for as many tries as this.
const PATIENCE: Patience = Patience { tries: 200, within_ms: 60_000, try_ms: 2_500 };

/// A client. Cheap to clone; all clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// What can be asked.
    pub(crate) api: proto::client::Client,
    doors: Doors,
    tally: Arc<Tally>,
    clock: Arc<dyn Clock>,
}

impl Client {
    /// A client of these nodes.
    pub(crate) fn new(
        doors: Doors,
        tally: Arc<Tally>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BuildError> {
        let api = client_of(doors.clone(), PATIENCE, Arc::clone(&clock))?;
        Ok(Self { api, doors, tally, clock })
    }

    /// Where the nodes are.
    pub(crate) const fn doors(&self) -> &Doors {
        &self.doors
    }

    /// The process's clock.
    pub(crate) fn mono(&self) -> MonoMs {
        self.clock.mono()
    }

    /// Asks until the answer is definite or a minute has passed, under a key from these dice.
    pub(crate) async fn ask<T: DeserializeOwned + Send>(
        &self,
        call: Call<'_, T>,
        dice: &mut Dice,
    ) -> Result<T, Failure> {
        self.tally.asked.up();
        let call = call.keyed(dice.key());
        let (name, seat, stable) = (call.name(), None, self.tally.is_stable());
        let era = self.tally.era();
        let mut watch = Eyes { client: self, name, seat, stable, era, failed: Some(Vec::new()) };
        let answer = call.watched(&mut watch).await;
        match &answer {
            Err(Failure::Unsettled(_)) => self.tally.outcome("gave up"),
            Ok(_) | Err(Failure::Refused(_) | Failure::Unreadable(_)) => self.tally.settled.up(),
        }
        if self.tally.met_apart(era) {
            self.tally.asked_apart.up();
        }
        answer
    }

    /// One read of the node in a seat as text, without any retry: `/metrics`, `/readyz`. What it
    /// said instead, if that is not it.
    pub(crate) async fn text_of(&self, seat: usize, path: &str) -> Result<String, String> {
        self.text_at(self.doors.at(seat), path).await
    }

    /// The same of the node behind a door.
    pub(crate) async fn text_at(&self, door: SocketAddr, path: &str) -> Result<String, String> {
        let read = self.api.text_of(&door.to_string(), path).await;
        match read.map_err(|none| none.to_string())? {
            (200, text) => Ok(text),
            (status, text) => Err(format!("{status} {text}")),
        }
    }
}

/// The client that everybody uses, behind doors that may move. All keys come from the city's dice.
pub(crate) fn client_of(
    doors: impl Seeds + 'static,
    patience: Patience,
    clock: Arc<dyn Clock>,
) -> Result<proto::client::Client, BuildError> {
    let config = Config { way: Way::AnySeed, patience, ..Config::new(doors, 0) };
    proto::client::Client::new(config, clock)
}

/// Counts the tries of one call.
struct Eyes<'a> {
    client: &'a Client,
    name: String,
    /// The seat that is asked, and how the ring was when the request left.
    seat: Option<usize>,
    stable: bool,
    /// When it began.
    era: u64,
    /// Why each try failed; emptied when the call is counted as late.
    failed: Option<Vec<String>>,
}

impl Watch for Eyes<'_> {
    fn leaves(&mut self, to: &str) {
        self.seat = self.client.doors.seat_of(to);
        self.stable = self.client.tally.is_stable();
    }

    fn tried(&mut self, tried: &Tried<'_>) {
        let why = self.count(&tried.came);
        if let (Some(why), Some(failed)) = (why, &mut self.failed) {
            let seat = self.seat.map_or(0, |seat| seat + 1);
            failed.push(format!("{} ms seat {seat} {why}", tried.after_ms));
        }
        // This is when a client of the ordinary sort gives up.
        let Patience { tries, within_ms, try_ms: _ } = Patience::default();
        let late =
            |failed: &Vec<String>| failed.len() >= tries as usize || tried.after_ms > within_ms;
        if self.failed.as_ref().is_some_and(late) {
            let tries = self.failed.take().unwrap_or_default().join(", ");
            self.client.tally.late(format!("{}: {tries}", self.name), self.era);
        }
    }
}

impl Eyes<'_> {
    /// Counts what came of a try; why it must be repeated, if it must.
    fn count(&self, came: &Came<'_>) -> Option<String> {
        let tally = &self.client.tally;
        match came {
            Came::Nothing(none) => {
                tally.no_answer.up();
                tally.outcome(none.as_str());
                Some(none.to_string())
            }
            Came::Answer { status, code, detail, served_by, hops, settles } => {
                if let Some(seat) = self.seat {
                    tally.taken[seat].up();
                }
                let outcome = format!("{status} {code}");
                tally.outcome(outcome.trim_end());
                // A refusal's way says little: a node that cannot reach the owner has not forwarded.
                if let (true, Some(hops), Some(by)) = (code.is_empty(), hops, served_by) {
                    tally.way((*hops).into(), &by.to_string(), self.stable);
                }
                if !settles {
                    tally.retries.up();
                }
                (!settles).then(|| format!("{outcome} ({detail})"))
            }
        }
    }
}

/// What the history says of a call that came to nothing.
pub(crate) fn seen(request: String, failure: &Failure) -> What {
    match failure {
        Failure::Refused(Refused { code, detail, .. }) => {
            What::Refused { request, code: code.to_string(), detail: detail.clone() }
        }
        Failure::Unreadable(unreadable) => {
            What::Refused { request, code: "UNREADABLE".into(), detail: unreadable.to_string() }
        }
        Failure::Unsettled(_) => What::Unsettled { request },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use node::clock::SystemClock;
    use proto::NodeId;
    use proto::client::NoAnswer;

    fn client() -> Client {
        let doors = Doors::new(vec![([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()]);
        Client::new(doors, Arc::new(Tally::new(2)), Arc::new(SystemClock::new())).unwrap()
    }

    fn eyes(client: &Client) -> Eyes<'_> {
        let name = "GET /x".to_owned();
        Eyes { client, name, seat: None, stable: true, era: 0, failed: Some(Vec::new()) }
    }

    #[test]
    fn a_call_is_late_once_after_eight_failed_tries_or_five_seconds() {
        let client = client();
        let tried = |eyes: &mut Eyes<'_>, after_ms| {
            eyes.leaves("127.0.0.1:2");
            let came = Came::Nothing(NoAnswer::Timeout);
            eyes.tried(&Tried { node: "127.0.0.1:2", after_ms, came });
            client.tally.late.get()
        };
        let mut many = eyes(&client);
        assert!((1..8).all(|_| tried(&mut many, 10) == 0));
        assert_eq!((tried(&mut many, 10), tried(&mut many, 9_000)), (1, 1));
        let mut slow = eyes(&client);
        assert_eq!((tried(&mut slow, 5_000), tried(&mut slow, 5_001)), (1, 2));
        let stories = client.tally.late_stories();
        assert!(stories[1].starts_with("GET /x: 5000 ms seat 2 timeout, "), "{stories:?}");
        assert_eq!(client.tally.outcomes()["timeout"], 11);
    }

    #[test]
    fn whoever_took_a_seat_counts_for_it() {
        let client = client();
        client.doors.moved(1, ([127, 0, 0, 1], 3).into());
        let mut eyes = eyes(&client);
        eyes.leaves("127.0.0.1:3");
        let (served_by, hops) = (Some(NodeId(9)), Some(1));
        let came =
            Came::Answer { status: 200, code: "", detail: "", served_by, hops, settles: true };
        eyes.tried(&Tried { node: "127.0.0.1:3", after_ms: 1, came });
        assert_eq!((client.tally.taken[0].get(), client.tally.taken[1].get()), (0, 1));
        assert_eq!((client.tally.served()["n9"], client.tally.hops().0), (1, [0, 1, 0, 0]));
        assert_eq!(client.tally.outcomes()["200"], 1);
    }
}
