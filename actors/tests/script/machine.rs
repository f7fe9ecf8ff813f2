//! Scripts for the replicated machine: a line is a time and a command; out come the outcome and
//! the events. One machine plays both partitions.

use super::names::{self, booking, driver, offer, offer_id, place, rider, shorten, trip};
use actors::booking::attempts::age_ms;
use actors::machine::Machine;
use proto::codec;
use proto::machine::{Level, StateMachine};
use proto::record::command::{
    CodeRule, Command, Entity, Idempotency, OfferFate, Outcome, Proposal, TripStep,
};
use proto::record::event::Event;
use proto::record::fare::Bill;
use proto::record::trail::{Meter, TrailPiece, TrailPoint};
use proto::record::trip::Ending;
use proto::record::{Actor, Attempt, AttemptStatus, Ban, Booking, Commitment, Key, Offer, Profile};
use proto::{NodeId, Point, WallMs};
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
    if let "attempts" | "age" = words[0] {
        let bytes = machine.read(&Key::Booking(booking(words[1])).to_bytes()).unwrap();
        let booking: Booking = codec::decode(&bytes).unwrap();
        return match words[0] {
            "age" => vec![format!("{}ms old", age_ms(&booking, at))],
            _ => booking.attempts.iter().map(brief_attempt).collect(),
        };
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
        ["rider", name] => Command::RegisterRider {
            rider: rider(name),
            name: (*name).into(),
            profile: Profile::default(),
        },
        ["driver", name] => Command::RegisterDriver {
            driver: driver(name),
            name: (*name).into(),
            city: proto::record::CityId(1),
            vehicle: names::vehicle(),
            kyc_verified: true,
            profile: Profile::default(),
        },
        ["driver", name, "unverified"] => Command::RegisterDriver {
            driver: driver(name),
            name: (*name).into(),
            city: proto::record::CityId(1),
            vehicle: names::vehicle(),
            kyc_verified: false,
            profile: Profile::default(),
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
            quote: names::quote(),
        },
        ["offer", id, of, to, attempt] => {
            let offer = offer(id, of, to, attempt.parse().unwrap());
            offers.insert((*id).into(), offer.clone());
            Command::OfferStart { attempts: attempts(offer.attempt), offer }
        }
        // Twice at most, and not within a second.
        ["reassign", id, of, to, attempt] => {
            let offer = offer(id, of, to, attempt.parse().unwrap());
            offers.insert((*id).into(), offer.clone());
            Command::Reassign { offer, max: 2, rest_ms: 1_000 }
        }
        ["end-offer", id, fate] => Command::OfferEnd {
            booking: held(id).booking,
            offer: offer_id(id),
            fate: if *fate == "declined" { OfferFate::Declined } else { OfferFate::Expired },
        },
        ["expire", of] => Command::ExpireBooking { booking: booking(of), attempts: Vec::new() },
        ["cancel", of] => {
            let (booking, attempts) = (booking(of), Vec::new());
            Command::CancelBooking { booking, by: Actor::Rider, reason: "late".into(), attempts }
        }
        ["assign", id, as_trip] => Command::Assign {
            booking: held(id).booking,
            offer: offer_id(id),
            driver: held(id).driver,
            trip: trip(as_trip),
            card: names::card(),
            code: CodeRule::None,
        },
        ["assign", id, as_trip, code] => Command::Assign {
            booking: held(id).booking,
            offer: offer_id(id),
            driver: held(id).driver,
            trip: trip(as_trip),
            card: names::card(),
            code: CodeRule::Trip(code.parse().unwrap()),
        },
        ["released", name] => Command::Released { trip: trip(name) },
        ["hold", id] => Command::Hold { offer: held(id) },
        ["hold-next", id] => Command::HoldNext { offer: held(id) },
        ["promise", id] => {
            let Offer { id, booking, driver, .. } = held(id);
            Command::Promise { booking, offer: id, driver }
        }
        ["end-promise", id] => {
            Command::EndPromise { booking: held(id).booking, offer: offer_id(id) }
        }
        ["let-go", id] => Command::CallOff { driver: held(id).driver, offer: offer_id(id) },
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
            let ended = (*how == "done").then(|| names::ended("t1"));
            Command::Release { driver: held(id).driver, offer: offer_id(id), ended }
        }
        // Points are north of where the trip began, in 1e-5 degrees, and seconds.
        ["trail", name, who, points @ ..] => {
            let point = |text: &&str| {
                let (north, s) = text.split_once('@').unwrap();
                let north = north.parse::<i32>().unwrap() * 100;
                let point = Point::from_e7(407_500_000 + north, -739_800_000).unwrap();
                let recorded_at = WallMs(s.parse::<u64>().unwrap() * 1_000);
                TrailPoint { point, recorded_at, accuracy_m: 5 }
            };
            let points: Vec<_> = points.iter().map(point).collect();
            let pieces = vec![(trip(name), driver(who), TrailPiece::pack(&points))];
            Command::TrailBatch { pieces }
        }
        ["ban", who, until] => {
            let until = WallMs(until.parse().unwrap());
            let ban = Some(Ban { until, reason: "rude".into() });
            match who.starts_with('d') {
                true => Command::BanDriver { driver: driver(who), ban },
                false => Command::BanRider { rider: rider(who), ban },
            }
        }
        ["start-with", name, who, pin] => Command::StepTrip {
            trip: trip(name),
            step: TripStep::Start { pin: Some(pin.parse().unwrap()) },
            by: Actor::Driver,
            driver: Some(driver(who)),
            rider: None,
            rebook: None,
        },
        ["call-off-rebook", name, who, next] => Command::StepTrip {
            trip: trip(name),
            step: TripStep::Cancel { reason: "flat tyre".into() },
            by: Actor::Driver,
            driver: Some(driver(who)),
            rider: None,
            rebook: Some(booking(next)),
        },
        [step, name, who] => {
            let is_driver = who.starts_with('d');
            Command::StepTrip {
                trip: trip(name),
                step: match *step {
                    "arrive" => TripStep::Arrive,
                    "start" => TripStep::Start { pin: None },
                    "pause" => TripStep::Pause,
                    "resume" => TripStep::Resume,
                    "end" => TripStep::End(Ending { odometer_m: Some(4_200), ..Ending::default() }),
                    "call-off" => TripStep::Cancel { reason: "changed mind".into() },
                    other => panic!("no step {other}"),
                },
                by: if is_driver { Actor::Driver } else { Actor::Rider },
                driver: is_driver.then(|| driver(who)),
                rider: (!is_driver).then(|| rider(who)),
                rebook: None,
            }
        }
        other => panic!("no command {other:?}"),
    }
}

/// What dispatch says when it offers in an attempt: those before it have ended.
fn attempts(now: u16) -> Vec<Attempt> {
    let row = |number: u16| Attempt {
        number,
        radius_m: 1_000 * u32::from(number),
        candidates_found: 2,
        started_at: WallMs(u64::from(number)),
        ended_at: (number < now).then(|| WallMs(u64::from(number) + 1)),
        node: NodeId(1),
        term: 1,
        status: AttemptStatus::Searching,
        error: None,
    };
    (1..=now).map(row).collect()
}

/// One line about an attempt.
fn brief_attempt(it: &Attempt) -> String {
    let error = it.error.map_or(String::new(), |error| format!(" {error:?}"));
    let until = it.ended_at.map_or("now".into(), |at| format!("{}ms", at.0));
    format!("attempt {} {:?}{error} {}ms to {until}", it.number, it.status, it.started_at.0)
}

/// One line about an entity.
fn brief(entity: &Entity) -> String {
    match entity {
        Entity::Rider(rider) => format!("{} active {:?}", rider.id, rider.active),
        Entity::Driver(driver) => {
            let say = |commitment: &Commitment| match commitment {
                Commitment::Held { offer } => format!("held {}", offer.id),
                Commitment::Taken { offer, trip, .. } => {
                    format!("taken {} trip {trip:?}", offer.id)
                }
            };
            let current = driver.current.as_ref().map_or("free".into(), say);
            let next = driver.next.as_ref().map(say).map(|next| format!(" next {next}"));
            let next = next.unwrap_or_default();
            format!("{} {:?} {current}{next} v{}", driver.id, driver.duty, driver.version)
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
        Entity::Nothing => "nothing in particular".into(),
        Entity::Queue(queue) => {
            let drivers = queue.places.iter().map(|place| place.driver.to_string());
            format!("{} [{}]", queue.zone, drivers.collect::<Vec<_>>().join(" "))
        }
        Entity::Kept(key) => format!("answered before: {key:?}"),
        Entity::Trip(trip) => {
            let due = if trip.release_due { " release due" } else { "" };
            let tries = trip.code.map_or(String::new(), |code| format!(" tries {}", code.wrong));
            let next = trip.replaced_by.map_or(String::new(), |id| format!(" goes on as {id}"));
            let money = match trip.bill {
                None => String::new(),
                Some(Bill::Cancellation { fee_minor }) => format!(" fee {fee_minor}"),
                Some(Bill::Ride { fare, distance_m, moving_ms, paused_ms, .. }) => {
                    let total = fare.total_minor;
                    format!(" {distance_m} m, {moving_ms} ms, paused {paused_ms} ms: {total}")
                }
            };
            let Meter { taken, repeated, late, doubted, .. } = trip.meter;
            let points = [taken, repeated, late, doubted];
            let points = match points.iter().any(|n| *n > 0) {
                true => format!(" points {points:?}"),
                false => String::new(),
            };
            let (id, state, of, by) = (trip.id, trip.state, trip.booking, trip.driver);
            format!("{id} {state:?} of {of} by {by}{due}{tries}{next}{money}{points}")
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
