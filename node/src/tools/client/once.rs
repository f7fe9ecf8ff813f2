//! The commands that ask one thing, looking up what was not named.

use super::args::{
    AnswerArgs, CancelArgs, Cancelled, DriverArgs, EndArgs, Freshness, Keyed, RiderArgs, StartArgs,
    StepArgs,
};
use super::hand::Hand;
use super::trouble::Trouble;
use super::{Command, Register, drive, ride, tables};
use proto::client::{
    Around, Booking, BookingStatus, Call, Client, Driven, Fix, Offers, Party, Trip,
};
use proto::units::Clock as _;
use proto::{Code, DriverId, OfferId, RiderId, TripId};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// The pause between two looks for an offer.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs a command; gives what it has to show at the end.
pub(super) async fn run(hand: &Hand, command: Command) -> Result<String, Trouble> {
    let client = &hand.client;
    match command {
        Command::Drive(args) => drive::run(hand, args).await,
        Command::Ride(args) => ride::run(hand, args).await,
        Command::Register(Register::Rider { name, keyed }) => {
            hand.change(client.register_rider(&name), keyed, tables::rider).await
        }
        Command::Register(Register::Driver { name, details, keyed }) => {
            let call = client.register_driver(&details.named(&name));
            hand.change(call, keyed, tables::driver).await
        }
        Command::Online(DriverArgs { driver, keyed }) => {
            hand.change(client.go_online(driver), keyed, tables::driver).await
        }
        Command::Offline(DriverArgs { driver, keyed }) => {
            hand.change(client.go_offline(driver), keyed, tables::driver).await
        }
        Command::Ping { driver, at } => {
            let fix = Fix::at(at, hand.clock.wall());
            hand.show(client.ping(driver, fix), tables::counts).await
        }
        Command::Nearby { at, radius: radius_m, limit, within: within_s, vehicle } => {
            let vehicle_type = vehicle.map(Into::into);
            let around = Around { center: at, radius_m, limit, vehicle_type, within_s };
            hand.show(client.nearby(&around), tables::nearby).await
        }
        Command::Book { rider, wish, keyed } => {
            hand.change(client.book(rider, &wish.wish()), keyed, tables::booking).await
        }
        Command::Offers { driver, wait } => offers(hand, driver, wait).await,
        Command::Accept(args) => {
            let (call, keyed, found) = answer(hand, args, Client::accept).await?;
            about(found, hand.change(call, keyed, tables::trip).await)
        }
        Command::Decline(args) => {
            let (call, keyed, found) = answer(hand, args, Client::decline).await?;
            about(found, hand.change(call, keyed, tables::driver).await)
        }
        Command::Arrive(args) => step(hand, args, Client::arrive).await,
        Command::Start(StartArgs { step: args, otp }) => {
            step(hand, args, |client, driver, trip| client.start(driver, trip, otp.as_deref()))
                .await
        }
        Command::Pause(args) => step(hand, args, Client::pause).await,
        Command::Resume(args) => step(hand, args, Client::resume).await,
        Command::End(EndArgs { step: args, odometer }) => {
            step(hand, args, |client, driver, trip| client.end(driver, trip, odometer)).await
        }
        Command::Cancel(args) => cancel(hand, args).await,
        Command::Booking { booking, freshness } => {
            hand.show(fresh(client.booking(booking), freshness), tables::booking).await
        }
        Command::Trip { trip, freshness } => {
            hand.show(fresh(client.trip(trip), freshness), tables::trip).await
        }
        Command::Rider(RiderArgs { rider, freshness }) => {
            hand.show(fresh(client.rider(rider), freshness), tables::rider).await
        }
        Command::Driver { driver, freshness } => {
            hand.show(fresh(client.driver(driver), freshness), tables::driver).await
        }
        Command::History(args) => match args.party() {
            Some(Party::Rider(rider)) => {
                let page = |cursor: Option<&str>| client.bookings(rider, cursor).read_as();
                let all = pages(hand, page).await?;
                hand.shown(all, |all: &Vec<Booking>, now| tables::bookings(all, now))
            }
            Some(Party::Driver(driver)) => {
                let page = |cursor: Option<&str>| client.driven(driver, cursor).read_as();
                let all = pages(hand, page).await?;
                hand.shown(all, |all: &Vec<Driven>, now| tables::driven(all, now))
            }
            None => Err(nobody()),
        },
    }
}

fn nobody() -> Trouble {
    Trouble::Usage("say --rider or --driver".to_owned())
}

fn fresh<T: DeserializeOwned + Send>(
    call: Call<'_, T>,
    Freshness { stale_ok }: Freshness,
) -> Call<'_, T> {
    if stale_ok { call.stale_ok() } else { call }
}

fn about<T>(found: Option<String>, done: Result<T, Trouble>) -> Result<T, Trouble> {
    match found {
        Some(id) => done.map_err(|trouble| trouble.about(&id)),
        None => done,
    }
}

async fn offers(hand: &Hand, driver: DriverId, wait: bool) -> Result<String, Trouble> {
    loop {
        let answer: Value = hand.ask(hand.client.offers(driver).read_as()).await?;
        let none = answer["offers"].as_array().is_none_or(Vec::is_empty);
        if !(none && wait) {
            let table = |offers: &Offers, now| match offers.offers.is_empty() {
                true => "no offer is before him; --wait waits for one".to_owned(),
                false => tables::offers(offers, now),
            };
            return hand.shown(answer, table);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The call that answers an offer, and the offer if it had to be looked up.
async fn answer<'a, T>(
    hand: &'a Hand,
    AnswerArgs { driver, offer, keyed }: AnswerArgs,
    call: impl FnOnce(&'a Client, DriverId, OfferId) -> Call<'a, T>,
) -> Result<(Call<'a, T>, Keyed, Option<String>), Trouble> {
    if let Some(offer) = offer {
        return Ok((call(&hand.client, driver, offer), keyed, None));
    }
    let before_him = hand.ask(hand.client.offers(driver)).await?.offers;
    let none = "no offer is before him\n  hansom client offers DRIVER --wait waits for one";
    let offer = before_him.first().ok_or_else(|| Trouble::Sentence(none.to_owned()))?.offer_id;
    Ok((call(&hand.client, driver, offer), keyed, Some(offer.to_string())))
}

/// A step of a trip, of the one he is on if none is named.
async fn step<'a>(
    hand: &'a Hand,
    StepArgs { trip, driver, keyed }: StepArgs,
    call: impl FnOnce(&'a Client, DriverId, TripId) -> Call<'a, Trip>,
) -> Result<String, Trouble> {
    if let Some(trip) = trip {
        return hand.change(call(&hand.client, driver, trip), keyed, tables::trip).await;
    }
    let trip = hand.ask(hand.client.active_trip(Party::Driver(driver))).await?.trip_id;
    let done = hand.change(call(&hand.client, driver, trip), keyed, tables::trip).await;
    done.map_err(|trouble| trouble.about(&trip))
}

async fn cancel(hand: &Hand, args: CancelArgs) -> Result<String, Trouble> {
    let CancelArgs { what, by, reason, keyed } = args;
    let party = by.party().ok_or_else(nobody)?;
    let (what, found) = match what {
        Some(what) => (what, false),
        None => (current(hand, party).await?, true),
    };
    let client = &hand.client;
    match (what, party) {
        (Cancelled::Trip(trip), party) => {
            let done = hand.change(client.cancel_trip(party, trip, &reason), keyed, tables::trip);
            about(found.then(|| trip.to_string()), done.await)
        }
        (Cancelled::Booking(booking), Party::Rider(rider)) => {
            let call = client.cancel_booking(rider, booking, &reason);
            let done = hand.change(call, keyed, tables::booking);
            about(found.then(|| booking.to_string()), done.await)
        }
        (Cancelled::Booking(_), Party::Driver(_)) => {
            let sentence =
                "a booking is its rider's; a driver declines its offer, or cancels its trip";
            Err(Trouble::Usage(sentence.to_owned()))
        }
    }
}

/// What a party could call off.
async fn current(hand: &Hand, party: Party) -> Result<Cancelled, Trouble> {
    let client = &hand.client;
    let rider = match party {
        Party::Driver(_) => {
            return Ok(Cancelled::Trip(hand.ask(client.active_trip(party)).await?.trip_id));
        }
        Party::Rider(rider) => rider,
    };
    let none = || Trouble::Sentence("the rider has no booking that could be called off".to_owned());
    let booking = hand.ask(client.rider(rider)).await?.active_booking_id.ok_or_else(none)?;
    let booking = hand.ask(client.booking(booking)).await?;
    match (booking.status, booking.trip_id) {
        (BookingStatus::Assigned, Some(trip)) => Ok(Cancelled::Trip(trip)),
        _ => Ok(Cancelled::Booking(booking.booking_id)),
    }
}

/// Calls off whatever a rider has, for one who stops playing; gives what that was.
pub(super) async fn call_off(hand: &Hand, rider: RiderId) -> Result<String, Trouble> {
    let party = Party::Rider(rider);
    let mut what = current(hand, party).await?;
    loop {
        let done = match what {
            Cancelled::Trip(trip) => {
                let call = hand.client.cancel_trip(party, trip, "");
                hand.ask(call).await.map(|trip| trip.trip_id.to_string())
            }
            Cancelled::Booking(booking) => {
                let call = hand.client.cancel_booking(rider, booking, "");
                hand.ask(call).await.map(|booking| booking.booking_id.to_string())
            }
        };
        match (done, what) {
            // A driver was faster, once: from then on it is a trip.
            (Err(trouble), Cancelled::Booking(_)) if trouble.is(Code::BookingAssigned) => {
                what = current(hand, party).await?;
                if matches!(what, Cancelled::Booking(_)) {
                    return Err(trouble);
                }
            }
            (done, _) => return done,
        }
    }
}

/// All pages of a list, as one.
async fn pages<'a>(
    hand: &Hand,
    page: impl Fn(Option<&str>) -> Call<'a, Value>,
) -> Result<Value, Trouble> {
    let (mut all, mut cursor): (Vec<Value>, Option<String>) = (Vec::new(), None);
    loop {
        let mut answer = hand.ask(page(cursor.as_deref())).await?;
        if let Value::Array(some) = answer["bookings"].take() {
            all.extend(some);
        }
        let Some(next) = answer["next_cursor"].as_str() else { return Ok(Value::Array(all)) };
        cursor = Some(next.to_owned());
    }
}
