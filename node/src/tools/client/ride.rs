//! `hansom client ride`: a rider, played until the ride is over.

use super::args::{Keyed, WishArgs};
use super::hand::Hand;
use super::once::call_off;
use super::play::{LOOK_EVERY, News, Play, steps};
use super::tables::{Milliseconds, at, word};
use super::trouble::Trouble;
use crate::node::told_to_stop;
use crate::tools::print;
use proto::client::{Booking, BookingStatus, OfferStatus, Trip, TripStatus};
use proto::{OfferId, RiderId};
use serde_json::json;
use std::collections::BTreeMap;

/// Who rides, and where.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  hansom client ride --name ada --from 40.7585,-73.9850 --to 40.7128,-74.0060
  hansom client ride --name ada --from 40.7585,-73.9850 --to 40.7128,-74.0060 --vehicle suv --seats 5

Shows each change with the seconds since the start. Ctrl-C calls the booking off. Exit status: 0 if
the ride was taken to its end, 1 if it was not.")]
pub(super) struct RideArgs {
    /// The rider's name; he is registered if nobody has it.
    #[arg(long)]
    name: String,
    #[command(flatten)]
    wish: WishArgs,
    #[command(flatten)]
    keyed: Keyed,
}

/// What has been seen of a ride.
#[derive(Debug, Default)]
struct Seen {
    attempt: u16,
    status: Option<BookingStatus>,
    offers: BTreeMap<OfferId, OfferStatus>,
    steps: u32,
    /// The code was shown.
    code: bool,
}

impl Seen {
    /// What is new in a booking.
    fn news(&mut self, booking: &Booking) -> Vec<News> {
        let mut news = Vec::new();
        if booking.attempt > self.attempt {
            self.attempt = booking.attempt;
            news.push(News {
                event: "attempt",
                about: json!({ "attempt": booking.attempt }),
                text: format!("looks for a driver, attempt {}", booking.attempt),
            });
        }
        for made in &booking.offers {
            if self.offers.insert(made.offer_id, made.status) == Some(made.status) {
                continue;
            }
            let status = word(&made.status);
            let driver = made.driver_id.map(|driver| driver.to_string());
            let to = driver.as_ref().map_or("a driver", |driver| driver);
            let away = format!("{} m and {} s away", made.distance_m, made.eta_sec);
            news.push(News {
                event: "offer",
                about: json!({
                    "offer_id": made.offer_id.to_string(), "driver_id": driver,
                    "status": status,
                }),
                text: format!("offer to {to}, {away}: {status}"),
            });
        }
        if self.status != Some(booking.status) {
            self.status = Some(booking.status);
            let status = word(&booking.status);
            let by = booking.cancelled_by.map_or(String::new(), |by| format!(" by {}", word(&by)));
            news.push(News {
                event: "booking",
                about: json!({ "booking_id": booking.booking_id.to_string(), "status": status }),
                text: format!("{} {status}{by}", booking.booking_id),
            });
        }
        news
    }
}

impl Seen {
    /// The code to tell the driver, once.
    fn code(&mut self, trip: &Trip) -> Option<News> {
        let code = trip.otp.as_ref().filter(|_| !self.code)?;
        self.code = true;
        let (trip, driver) = (trip.trip_id, trip.driver_id);
        Some(News {
            event: "code",
            about: json!({ "trip_id": trip.to_string(), "otp": code }),
            text: format!(
                "tell the driver {code}; hansom client start --driver {driver} --otp {code}"
            ),
        })
    }
}

/// Plays a rider; gives how it went.
pub(super) async fn run(hand: &Hand, args: RideArgs) -> Result<String, Trouble> {
    let play = Play::new(hand);
    let registered = hand.ask(hand.client.register_rider(&args.name)).await;
    let rider = registered.map_err(Trouble::repeatable)?.rider_id;
    let end = tokio::select! {
        end = ride(&play, rider, &args) => end,
        () = told_to_stop() => {
            print::talk("calling it off");
            return Err(called_off(hand, rider).await);
        }
    };
    if let Err(trouble) = &end
        && trouble.is_closed_pipe()
    {
        // Nobody watches. What comes of calling off nobody reads either.
        let _unread = call_off(hand, rider).await;
    }
    let (booking, trip) = end?;
    let summary = match hand.json {
        true => json!({ "event": "ended", "status": booking.status }).to_string(),
        false => summary(&booking, trip.as_ref()),
    };
    if booking.status.is_served() {
        return Ok(summary);
    }
    print::data(summary)?;
    let expired = booking.status == BookingStatus::RequestExpired;
    let next = if expired { "; hansom client nearby LAT,LNG shows who is there" } else { "" };
    Err(Trouble::Sentence(format!("no ride: {}{next}", word(&booking.status))))
}

/// Calls off what can be; a ride that was stopped was none either way.
async fn called_off(hand: &Hand, rider: RiderId) -> Trouble {
    match call_off(hand, rider).await {
        Ok(what) => Trouble::Sentence(format!("{what} is called off")),
        Err(trouble) => trouble.repeatable(),
    }
}

async fn ride(
    play: &Play<'_>,
    rider: RiderId,
    args: &RideArgs,
) -> Result<(Booking, Option<Trip>), Trouble> {
    let client = &play.hand.client;
    let call = client.book(rider, &args.wish.wish());
    let call = match args.keyed.key {
        Some(key) => call.keyed(key),
        None => call,
    };
    let booking = play.hand.ask(call).await?;
    let mut id = booking.booking_id;
    play.say(News {
        event: "booked",
        about: json!({ "booking_id": id.to_string(), "rider_id": rider.to_string() }),
        text: format!(
            "{} is {rider}; booked {id} from {} to {}",
            args.name,
            at(&booking.pickup),
            at(&booking.destination)
        ),
    })?;
    let mut seen = Seen { status: Some(booking.status), ..Seen::default() };
    let mut trip: Option<Trip> = None;
    loop {
        if let Some(booking) = play.heard(client.booking(id).ask().await)? {
            let (mut news, mut over) = (seen.news(&booking), true);
            if let Some(trip_id) = booking.trip_id {
                if let Some(now) = play.heard(client.trip_of(rider, trip_id).ask().await)? {
                    news.extend(seen.code(&now));
                    let steps = steps(&mut seen.steps, &now);
                    // A trip begins after its booking is assigned and is over before that ends.
                    let at = if booking.status.is_terminal() { 0 } else { news.len() };
                    news.splice(at..at, steps);
                    trip = Some(now);
                }
                over = trip.as_ref().is_some_and(|trip| trip.status.is_over());
            }
            news.into_iter().try_for_each(|news| play.say(news))?;
            if over && booking.status.is_terminal() {
                let Some(next) = booking.replaced_by else { return Ok((booking, trip)) };
                // The driver called off: the ride goes on as another booking.
                (id, trip) = (next, None);
                seen = Seen { status: Some(BookingStatus::Pending), ..Seen::default() };
                play.say(News {
                    event: "replaced",
                    about: json!({ "booking_id": id.to_string() }),
                    text: format!("goes on as {id}"),
                })?;
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How it went, by the cluster's clocks.
fn summary(booking: &Booking, trip: Option<&Trip>) -> String {
    let when = |status: TripStatus| {
        let step = trip?.transitions.iter().find(|step| step.to == status)?;
        Some(step.at_ms)
    };
    let took = |from: Option<u64>, to: Option<u64>| {
        Some(format!("{:.1} s", Milliseconds(to?.saturating_sub(from?)).seconds()))
    };
    let (booked, assigned) = (Some(booking.created_at_ms), when(TripStatus::DriverAssigned));
    let (arrived, started) = (when(TripStatus::DriverArrived), when(TripStatus::InProgress));
    print::record([
        ("booking", Some(booking.booking_id.to_string())),
        ("status", Some(word(&booking.status))),
        ("driver", booking.driver_id.map(|driver| driver.to_string())),
        ("trip", booking.trip_id.map(|trip| trip.to_string())),
        ("offers made", Some(booking.offers.len().to_string())),
        ("driver found after", took(booked, assigned)),
        ("at the pickup after", took(booked, arrived)),
        ("ride took", took(started, when(TripStatus::Completed))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{BookingId, DriverId, Slot, WallMs};

    fn booking(status: &str, attempt: u16, offers: &[(u64, &str)]) -> Booking {
        let (slot, at) = (Slot(1), WallMs(1));
        let offers: Vec<_> = offers
            .iter()
            .map(|(n, status)| {
                json!({
                    "offer_id": OfferId::mint(slot, at, *n).to_string(),
                    "driver_id": DriverId::from_raw(*n).to_string(),
                    "attempt": 1, "rank": 1, "status": status, "distance_m": 30, "eta_sec": 7,
                })
            })
            .collect();
        let place = json!({ "lat": 1.0, "lng": 2.0 });
        serde_json::from_value(json!({
            "booking_id": BookingId::mint(slot, at, 1).to_string(),
            "rider_id": RiderId::from_raw(1).to_string(),
            "status": status, "attempt": attempt, "pickup": place, "destination": place,
            "vehicle_type": "SEDAN", "seats": 1, "capabilities": [], "offers": offers,
            "created_at_ms": 1_000, "updated_at_ms": 2_000,
        }))
        .unwrap()
    }

    #[test]
    fn each_change_is_said_once() {
        let mut seen = Seen { status: Some(BookingStatus::Pending), ..Seen::default() };
        let texts = |news: Vec<News>| -> Vec<String> {
            news.into_iter().map(|news| format!("{} {}", news.event, news.text)).collect()
        };
        let looks = seen.news(&booking("PENDING", 1, &[]));
        assert_eq!(texts(looks), ["attempt looks for a driver, attempt 1"]);
        assert_eq!(seen.news(&booking("PENDING", 1, &[])), []);
        let asked = texts(seen.news(&booking("PENDING", 1, &[(1, "PENDING")])));
        assert!(asked.len() == 1 && asked[0].ends_with("30 m and 7 s away: PENDING"), "{asked:?}");
        // Between two looks one said no and the next one yes.
        let both = booking("ASSIGNED", 1, &[(1, "DECLINED"), (2, "ACCEPTED")]);
        let news = texts(seen.news(&both));
        assert!(news.len() == 3 && news[0].ends_with("DECLINED"), "{news:?}");
        assert!(news[1].ends_with("ACCEPTED") && news[2].ends_with("ASSIGNED"), "{news:?}");
        assert_eq!(seen.news(&both), []);
    }

    #[test]
    fn a_summary_shows_what_there_was() {
        let text = summary(&booking("REQUEST_EXPIRED", 3, &[(1, "EXPIRED")]), None);
        assert!(text.contains("REQUEST_EXPIRED") && text.contains("offers made"), "{text}");
        assert!(!text.contains("found after") && !text.contains("ride took"), "{text}");
    }
}
