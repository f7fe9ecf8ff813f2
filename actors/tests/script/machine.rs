//! Scripts for the replicated machine: a line is a time and a command; out come the outcome and
//! the events. One machine plays both partitions.

use super::names::{self, booking, driver, offer, offer_id, place, rider, shorten, trip};
use actors::machine::Machine;
use proto::WallMs;
use proto::codec;
use proto::machine::{Level, StateMachine};
use proto::record::command::{
    Command, Entity, Idempotency, OfferFate, Outcome, Proposal, TripStep,
};
use proto::record::event::Event;
use proto::record::{Actor, Commitment, Key, Offer, TripState};
use std::collections::BTreeMap;

pub(crate) fn interpret(lines: &[&str]) -> Vec<Vec<String>> {
    let (mut machine, mut offers) = (Machine::default(), BTreeMap::new());
    lines.iter().map(|line| step(&mut machine, &mut offers, line)).collect()
}

fn step(machine: &mut Machine, offers: &mut BTreeMap<String, Offer>, line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = WallMs(words[0].strip_suffix("ms").unwrap().parse().unwrap());
    let (words, idempotency) = match words.iter().position(|word| *word == "key") {
        Some(place) => {
            let number = |n: usize| words[place + n].parse().unwrap();
            (&words[1..place], Some(Idempotency { key: number(1), body: number(2) }))
        }
        None => (&words[1..], None),
    };
    if words[0] == "show" {
        return vec![show(machine, words[1])];
    }
    if words[0] == "open-work" {
        let keys = machine.open_work();
        return vec![shorten(format!(
            "{:?}",
            keys.iter().map(|key| Key::from_bytes(key).unwrap()).collect::<Vec<_>>()
        ))];
    }
    let command = parse(words, idempotency, offers);
    let applied =
        machine.apply(at, Level::KNOWN, &codec::encode(&Proposal { idempotency, command }));
    machine.check_invariants();
    let outcome: Outcome = codec::decode(&applied.outcome).unwrap();
    let mut out = vec![match outcome {
        Ok(entity) => format!("ok {}", brief(&entity)),
        Err(code) => format!("refused {code}"),
    }];
    for event in &applied.events {
        let event: Event = codec::decode(event).unwrap();
        out.push(format!("  {:?} {:?}", event.subject, event.what));
    }
    out.into_iter().map(shorten).collect()
}

fn parse(
    words: &[&str],
    idempotency: Option<Idempotency>,
    offers: &mut BTreeMap<String, Offer>,
) -> Command {
    let held = |name: &str| offers[name].clone();
    match words {
        ["rider", name] => Command::RegisterRider { rider: rider(name), name: (*name).into() },
        ["driver", name] => Command::RegisterDriver {
            driver: driver(name),
            name: (*name).into(),
            city: proto::record::CityId(1),
            vehicle: names::vehicle(),
            kyc_verified: true,
        },
        ["driver", name, "unverified"] => Command::RegisterDriver {
            driver: driver(name),
            name: (*name).into(),
            city: proto::record::CityId(1),
            vehicle: names::vehicle(),
            kyc_verified: false,
        },
        ["online", name] => Command::SetDuty { driver: driver(name), online: true },
        ["offline", name] => Command::SetDuty { driver: driver(name), online: false },
        ["book", of, who] => Command::CreateBooking {
            booking: booking(of),
            rider: rider(who),
            city: proto::record::CityId(1),
            pickup: place(),
            destination: place(),
            need: names::need(),
            payment_method: "cash".into(),
            shown_estimate_minor: None,
        },
        ["offer", id, of, to, attempt] => {
            let offer = offer(id, of, to, attempt.parse().unwrap());
            offers.insert((*id).into(), offer.clone());
            Command::OfferStart { offer }
        }
        ["end-offer", id, fate] => Command::OfferEnd {
            booking: held(id).booking,
            offer: offer_id(id),
            fate: if *fate == "declined" { OfferFate::Declined } else { OfferFate::Expired },
        },
        ["expire", of] => Command::ExpireBooking { booking: booking(of) },
        ["cancel", of] => {
            Command::CancelBooking { booking: booking(of), by: Actor::Rider, reason: "late".into() }
        }
        ["assign", id, as_trip] => Command::Assign {
            booking: held(id).booking,
            offer: offer_id(id),
            driver: held(id).driver,
            trip: trip(as_trip),
        },
        ["released", name] => Command::Released { trip: trip(name) },
        ["hold", id] => Command::Hold { offer: held(id) },
        ["expire-hold", id] => Command::ExpireHold { driver: held(id).driver, offer: offer_id(id) },
        ["decline", id] => Command::Decline { driver: held(id).driver, offer: offer_id(id) },
        ["accept", id] => Command::Accept {
            driver: held(id).driver,
            offer: offer_id(id),
            key: idempotency.map(|asked| asked.key),
        },
        ["confirm", id, name] => {
            Command::Confirm { driver: held(id).driver, offer: offer_id(id), trip: trip(name) }
        }
        ["release", id, how] => {
            let ended = (*how == "done").then(|| (trip("t1"), TripState::Completed));
            Command::Release { driver: held(id).driver, offer: offer_id(id), ended }
        }
        [step, name, who] => {
            let is_driver = who.starts_with('d');
            Command::StepTrip {
                trip: trip(name),
                step: match *step {
                    "arrive" => TripStep::Arrive,
                    "start" => TripStep::Start,
                    "pause" => TripStep::Pause,
                    "resume" => TripStep::Resume,
                    "end" => TripStep::End { odometer_m: Some(4_200) },
                    "call-off" => TripStep::Cancel { reason: "changed mind".into() },
                    other => panic!("no step {other}"),
                },
                by: if is_driver { Actor::Driver } else { Actor::Rider },
                driver: is_driver.then(|| driver(who)),
                rider: (!is_driver).then(|| rider(who)),
            }
        }
        other => panic!("no command {other:?}"),
    }
}

/// One line about an entity.
fn brief(entity: &Entity) -> String {
    match entity {
        Entity::Rider(rider) => format!("{} active {:?}", rider.id, rider.active),
        Entity::Driver(driver) => {
            let current = match &driver.current {
                None => "free".into(),
                Some(Commitment::Held { offer }) => format!("held {}", offer.id),
                Some(Commitment::Taken { offer, trip, .. }) => {
                    format!("taken {} trip {trip:?}", offer.id)
                }
            };
            format!("{} {:?} {current} v{}", driver.id, driver.duty, driver.version)
        }
        Entity::Booking(booking) => {
            let offers: Vec<String> = booking
                .offers
                .iter()
                .map(|(offer, state)| format!("{}:{state:?}", offer.id))
                .collect();
            let Some(state) = format!("{:?}", booking.state).split(' ').next().map(String::from)
            else {
                return String::new();
            };
            format!("{} {state} attempt {} [{}]", booking.id, booking.attempt, offers.join(" "))
        }
        Entity::Kept(key) => format!("answered before: {key:?}"),
        Entity::Trip(trip) => {
            let due = if trip.release_due { " release due" } else { "" };
            format!("{} {:?} of {} by {}{due}", trip.id, trip.state, trip.booking, trip.driver)
        }
    }
}

fn show(machine: &Machine, name: &str) -> String {
    let (key, n) = (name.as_bytes()[0], name);
    let read = |key: Key| machine.read(&key.to_bytes());
    let entity = match key {
        b'r' => read(Key::Rider(rider(n))).map(|b| Entity::Rider(codec::decode(&b).unwrap())),
        b'd' => read(Key::Driver(driver(n)))
            .map(|b| Entity::Driver(Box::new(codec::decode(&b).unwrap()))),
        b'b' => read(Key::Booking(booking(n)))
            .map(|b| Entity::Booking(Box::new(codec::decode(&b).unwrap()))),
        _ => read(Key::Trip(trip(n))).map(|b| Entity::Trip(Box::new(codec::decode(&b).unwrap()))),
    };
    entity.map_or("nothing".into(), |entity| shorten(brief(&entity)))
}
