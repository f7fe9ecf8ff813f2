//! `hansom client drive`: a driver, played until somebody presses Ctrl-C.

use super::args::{NewDriverArgs, place};
use super::hand::Hand;
use super::play::{LOOK_EVERY, News, Play, steps};
use super::tables::{Milliseconds, at};
use super::trouble::Trouble;
use crate::node::told_to_stop;
use proto::client::{Driver, Failure, Fix, Offer, Trip, TripStatus};
use proto::units::Clock as _;
use proto::{Code, DriverId, MonoMs, OfferId, Point, TripId};
use serde_json::json;
use std::convert::Infallible;

/// How often he says where he is, in milliseconds.
const PING_EVERY_MS: u64 = 1_000;

/// Who drives, and how.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  One who takes every offer and carries each rider to the end
    hansom client drive --name dee --at 40.7580,-73.9855 --accept

  One who is told what to do: the offers are shown, and answered from another terminal
    hansom client drive --name dee --at 40.7580,-73.9855
    hansom client accept dee
    hansom client arrive --driver dee

Shows each change with the seconds since the start. Ctrl-C takes him off duty. Exit status: 0 if he
is off duty, 1 if he could not be played or is still on a trip.")]
pub(super) struct DriveArgs {
    /// His name; he is registered if nobody has it.
    #[arg(long)]
    name: String,
    /// Where he begins: lat,lng in degrees.
    #[arg(long, value_name = "LAT,LNG", value_parser = place, allow_hyphen_values = true)]
    at: Point,
    /// Take offers, and drive: to the pickup, wait, to the destination.
    #[arg(long)]
    accept: bool,
    /// How long each of the three takes, in seconds.
    #[arg(long, default_value_t = 3, value_name = "SECONDS", requires = "accept")]
    step: u16,
    #[command(flatten)]
    details: NewDriverArgs,
}

/// A driver under way.
#[derive(Debug)]
struct Car<'a> {
    play: Play<'a>,
    driver: DriverId,
    /// How long a leg takes, if he drives by himself.
    leg_ms: Option<u64>,
    at: Point,
    pinged: Option<MonoMs>,
    /// The offer that was shown last.
    offer: Option<OfferId>,
    leg: Option<Leg>,
}

/// What he is at, or was, on a trip.
#[derive(Debug)]
struct Leg {
    trip: TripId,
    /// Steps of the trip that were shown.
    seen: u32,
    status: TripStatus,
    since: MonoMs,
    from: Point,
    to: Point,
}

impl Leg {
    fn new(trip: &Trip, since: MonoMs, from: Point) -> Self {
        let to = match trip.status {
            TripStatus::DriverAssigned => trip.pickup.point(),
            TripStatus::InProgress => trip.destination.point(),
            TripStatus::DriverArrived
            | TripStatus::Paused
            | TripStatus::Completed
            | TripStatus::Cancelled => None,
        };
        let (seen, to) = (0, to.unwrap_or(from));
        Self { trip: trip.trip_id, seen, status: trip.status, since, from, to }
    }

    /// Where he is on it, if it takes so long.
    fn at(&self, now: MonoMs, leg_ms: u64) -> Point {
        let part = Milliseconds(now.since(self.since).min(leg_ms)).seconds();
        let part = part / Milliseconds(leg_ms.max(1)).seconds();
        let between = |from: f64, to: f64| from + (to - from) * part;
        let (lat, lng) =
            (between(self.from.lat(), self.to.lat()), between(self.from.lng(), self.to.lng()));
        Point::from_degrees(lat, lng).unwrap_or(self.to)
    }
}

/// Plays a driver; gives how he stands in the end.
pub(super) async fn run(hand: &Hand, args: DriveArgs) -> Result<String, Trouble> {
    let driver = registered(hand, &args).await.map_err(Trouble::repeatable)?;
    let leg_ms = args.accept.then_some(u64::from(args.step) * 1_000);
    let (play, at) = (Play::new(hand), args.at);
    let mut car = Car { play, driver, leg_ms, at, pinged: None, offer: None, leg: None };
    let stopped = tokio::select! {
        stopped = car.drive(&args.name) => stopped.map(|never| match never {}),
        () = told_to_stop() => Ok(()),
    };
    // Whatever ended it, nobody is at the wheel any more.
    let off = hand.ask(hand.client.go_offline(driver)).await;
    stopped?;
    match off {
        Ok(_) if hand.json => Ok(json!({ "event": "offline" }).to_string()),
        Ok(_) => Ok(format!("{} is off duty", args.name)),
        Err(busy) if busy.is(Code::DriverBusy) => Err(Trouble::Sentence(format!(
            "{driver} is on a trip and stays on duty\n  hansom client end --driver {driver} (or \
             cancel), then hansom client offline {driver}"
        ))),
        Err(trouble) => Err(trouble.repeatable()),
    }
}

/// The driver of that name. He may have been registered by somebody who vouched for him.
async fn registered(hand: &Hand, args: &DriveArgs) -> Result<DriverId, Trouble> {
    let driver = DriverId::of_name(&args.name);
    match hand.ask(hand.client.driver(driver)).await {
        Ok(driver) if driver.name == args.name => Ok(driver.driver_id),
        Err(trouble) if !trouble.is(Code::DriverNotFound) => Err(trouble),
        // Not there, or the id is of another name, which the cluster says in its own words.
        Ok(_) | Err(_) => {
            let details = args.details.named(&args.name);
            Ok(hand.ask(hand.client.register_driver(&details)).await?.driver_id)
        }
    }
}

impl Car<'_> {
    async fn drive(&mut self, name: &str) -> Result<Infallible, Trouble> {
        let hand = self.play.hand;
        let online = hand.ask(hand.client.go_online(self.driver)).await;
        online.map_err(Trouble::repeatable)?;
        self.play.say(News {
            event: "online",
            about: json!({ "driver_id": self.driver.to_string() }),
            text: format!("{name} is {}, on duty at {}", self.driver, at(&self.at.into())),
        })?;
        loop {
            self.ping().await?;
            if let Some(driver) = self.play.heard(hand.client.driver(self.driver).ask().await)? {
                self.answer(&driver).await?;
                self.follow(driver.current_trip_id).await?;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn ping(&mut self) -> Result<(), Trouble> {
        let (clock, client) = (&self.play.hand.clock, &self.play.hand.client);
        let now = clock.mono();
        if self.pinged.is_some_and(|pinged| now.since(pinged) < PING_EVERY_MS) {
            return Ok(());
        }
        self.pinged = Some(now);
        if let (Some(leg), Some(leg_ms)) = (&self.leg, self.leg_ms) {
            self.at = leg.at(now, leg_ms);
        }
        self.play.heard(client.ping(self.driver, Fix::at(self.at, clock.wall())).ask().await)?;
        Ok(())
    }

    /// Shows the offer before him, once, and takes it if he takes all.
    async fn answer(&mut self, driver: &Driver) -> Result<(), Trouble> {
        if driver.current_offer_id.is_none() || driver.current_offer_id == self.offer {
            return Ok(());
        }
        let client = &self.play.hand.client;
        let Some(before_him) = self.play.heard(client.offers(self.driver).ask().await)? else {
            return Ok(());
        };
        for offer in before_him.offers {
            self.offer = Some(offer.offer_id);
            self.play.say(self.news_of(&offer))?;
            if self.leg_ms.is_none() {
                continue;
            }
            let accepted = client.accept(self.driver, offer.offer_id).ask().await;
            if matches!(accepted, Err(Failure::Unsettled(_))) {
                self.offer = None; // If it is still before him at the next look, he says yes again.
            }
            if let Some(trip) = self.play.tried(accepted)? {
                self.show(&trip)?;
            }
        }
        Ok(())
    }

    fn news_of(&self, offer: &Offer) -> News {
        let Offer { offer_id, booking_id, pickup, destination, distance_m, eta_sec, .. } = offer;
        let left_s = Milliseconds(offer.expires_in_ms).seconds();
        let answer = match self.leg_ms {
            Some(_) => String::new(),
            None => format!("; hansom client accept {}", self.driver),
        };
        News {
            event: "offer",
            about: json!({
                "offer_id": offer_id.to_string(), "booking_id": booking_id.to_string(),
                "distance_m": distance_m, "eta_sec": eta_sec, "expires_in_ms": offer.expires_in_ms,
            }),
            text: format!(
                "{offer_id} from {} ({distance_m} m and {eta_sec} s away) to {}, {left_s:.0} s to \
                 answer{answer}",
                at(pickup),
                at(destination)
            ),
        }
    }

    /// Shows what became of the trip he was on, and goes on with the one he is on.
    async fn follow(&mut self, current: Option<TripId>) -> Result<(), Trouble> {
        let unfinished = self.leg.as_ref().filter(|leg| !leg.status.is_over());
        let left = unfinished.map(|leg| leg.trip).filter(|trip| Some(*trip) != current);
        for trip in left.into_iter().chain(current) {
            self.look_at(trip).await?;
        }
        Ok(())
    }

    async fn look_at(&mut self, trip: TripId) -> Result<(), Trouble> {
        let client = &self.play.hand.client;
        let Some(trip) = self.play.heard(client.trip(trip).ask().await)? else { return Ok(()) };
        let since = self.show(&trip)?;
        let now = self.play.hand.clock.mono();
        if self.leg_ms.is_some_and(|leg_ms| now.since(since) >= leg_ms) {
            self.step(&trip).await?;
        }
        Ok(())
    }

    /// Shows what is new on a trip; gives since when he is on this leg of it.
    fn show(&mut self, trip: &Trip) -> Result<MonoMs, Trouble> {
        let now = self.play.hand.clock.mono();
        let before = self.leg.take().filter(|leg| leg.trip == trip.trip_id);
        let mut leg = match before {
            Some(leg) if leg.status == trip.status => leg,
            before => {
                let seen = before.map_or(0, |leg| leg.seen);
                Leg { seen, ..Leg::new(trip, now, self.at) }
            }
        };
        let (news, since) = (steps(&mut leg.seen, trip), leg.since);
        self.leg = Some(leg);
        news.into_iter().try_for_each(|news| self.play.say(news))?;
        Ok(since)
    }

    /// Takes the step that ends a leg.
    async fn step(&mut self, trip: &Trip) -> Result<(), Trouble> {
        let (client, driver, id) = (&self.play.hand.client, self.driver, trip.trip_id);
        let call = match trip.status {
            TripStatus::DriverAssigned => client.arrive(driver, id),
            // Only his rider knows the code: the one at the keyboard starts it.
            TripStatus::DriverArrived if trip.otp_required => return Ok(()),
            TripStatus::DriverArrived => client.start(driver, id, None),
            TripStatus::InProgress => client.end(driver, id, None),
            // Whoever stopped the car lets it go on.
            TripStatus::Paused | TripStatus::Completed | TripStatus::Cancelled => return Ok(()),
        };
        if let Some(trip) = self.play.tried(call.ask().await)? {
            self.show(&trip)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_car_is_where_the_time_says_and_stays_at_the_end_of_its_leg() {
        let point = |lat| Point::from_degrees(lat, -73.0).unwrap();
        let leg = Leg {
            trip: TripId::from_raw(1),
            seen: 0,
            status: TripStatus::InProgress,
            since: MonoMs(1_000),
            from: point(40.0),
            to: point(41.0),
        };
        for (now, lat) in [(1_000, 40.0), (2_500, 40.5), (4_000, 41.0), (9_000, 41.0)] {
            assert_eq!(leg.at(MonoMs(now), 3_000), point(lat), "{now}");
        }
        assert_eq!(leg.at(MonoMs(1_000), 0), point(40.0), "no time has passed");
    }
}
