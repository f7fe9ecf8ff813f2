//! What this node does with a request it owns: one arm a request, each a line or two that names
//! the shell or the command.

use super::inlet::Groups;
use super::search::{Nearby, merge};
use super::store::Stands;
use super::world::Context;
use super::{Runtime, booking, cell, driver, improve, promise};
use crate::cell::index::{Hits, Query};
use crate::trip::Mover;
use futures_util::future::join_all;
use proto::code::{Code, Refusal};
use proto::codec;
use proto::pings::{BadPing, PingBatch};
use proto::record::ask::{
    Accept, Accepted, Found, Moved, PromiseBooking, Push, Request, Search, Session, Stand,
    Standings, Take,
};
use proto::record::cell::{Ping, PingFate, PingFates};
use proto::record::command::Command;
use proto::record::{Actor, Commitment, Driver};
use proto::{DriverId, NodeId};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The most pings or ids in one request; beyond it the sender should have split.
pub(super) const BATCH_MAX: usize = 8_192;

fn encoded<T: Serialize>(answer: Result<T, Refusal>) -> Result<Vec<u8>, Refusal> {
    answer.map(|answer| codec::encode(&answer))
}

pub(super) async fn serve(
    runtime: &Runtime,
    request: Request,
    _context: Context,
) -> Result<Vec<u8>, Refusal> {
    match request {
        Request::RegisterDriver(ask) => {
            let driver = DriverId::of_name(&ask.name);
            let command = Command::RegisterDriver {
                driver,
                name: ask.name,
                city: ask.city,
                vehicle: ask.vehicle,
                kyc_verified: ask.kyc_verified,
                profile: ask.profile,
            };
            encoded(runtime.propose_driver(driver, ask.idempotency, command).await)
        }
        Request::GetDriver(ask) => encoded(runtime.driver(ask.driver).await),
        Request::SetDuty(ask) => {
            let (driver, idempotency) = (ask.driver, ask.idempotency);
            let command = Box::new(Command::SetDuty { driver, online: ask.online });
            let message = |reply| driver::Message::SetDuty { command, idempotency, reply };
            encoded(runtime.ask_driver(driver, message).await)
        }
        Request::BanDriver(ask) => {
            let (driver, idempotency) = (ask.driver, ask.idempotency);
            let command = Box::new(Command::BanDriver { driver, ban: ask.ban });
            let message = |reply| driver::Message::SetDuty { command, idempotency, reply };
            encoded(runtime.ask_driver(driver, message).await)
        }
        Request::Claim(ask) => {
            let message = |reply| driver::Message::Claim {
                booking: ask.booking,
                score_ms: ask.cost_ms.saturating_sub(ask.favour_ms),
                contended: ask.contended,
                soon: ask.soon,
                reply,
            };
            encoded(runtime.ask_driver(ask.driver, message).await)
        }
        Request::HoldDriver(ask) => {
            let driver = ask.offer.driver;
            let message = |reply| driver::Message::Hold { offer: Box::new(ask.offer), reply };
            encoded(runtime.ask_driver(driver, message).await)
        }
        Request::HoldNext(ask) => {
            let driver = ask.offer.driver;
            let message = |reply| driver::Message::HoldNext { offer: Box::new(ask.offer), reply };
            encoded(runtime.ask_driver(driver, message).await)
        }
        Request::Accept(ask) => {
            let Accept { driver, offer, idempotency } = ask;
            let message = |reply| driver::Message::Accept { offer, idempotency, reply };
            encoded(match runtime.ask_driver(driver, message).await {
                Ok(Accepted::Trip(trip)) => Ok(*trip),
                Ok(Accepted::Next { .. }) => {
                    Err(Refusal::new(Code::Retry, "his, when the ride before it has ended"))
                }
                Err(refusal) => Err(refusal),
            })
        }
        Request::Take(ask) => {
            let Take { driver, offer, idempotency } = ask;
            let message = |reply| driver::Message::Accept { offer, idempotency, reply };
            encoded(runtime.ask_driver(driver, message).await)
        }
        Request::Decline(ask) => {
            let message = |reply| driver::Message::Decline {
                offer: ask.offer,
                idempotency: ask.idempotency,
                reply,
            };
            encoded(runtime.ask_driver(ask.driver, message).await)
        }
        Request::ReleaseDriver(ask) => {
            let message =
                |reply| driver::Message::Release { offer: ask.offer, ended: ask.ended, reply };
            encoded(runtime.ask_driver(ask.driver, message).await)
        }
        Request::Attach(ask) => {
            runtime.0.soft.attach(ask.driver, ask.session);
            encoded(runtime.driver(ask.driver).await.map(|driver| before(&driver)))
        }
        Request::Sessions(ask) => encoded(sessions(runtime, ask.sessions).await),
        Request::Standings(ask) => encoded(standings(runtime, ask)),

        Request::RegisterRider(ask) => {
            let rider = proto::RiderId::of_name(&ask.name);
            let (name, profile) = (ask.name, ask.profile);
            let command = Command::RegisterRider { rider, name, profile };
            encoded(runtime.propose_rider(rider.slot(), ask.idempotency, command).await)
        }
        Request::BanRider(ask) => {
            let command = Command::BanRider { rider: ask.rider, ban: ask.ban };
            encoded(runtime.propose_rider(ask.rider.slot(), ask.idempotency, command).await)
        }
        Request::GetRider(ask) => encoded(runtime.rider(ask.rider).await),
        Request::CreateBooking(ask) => {
            let world = runtime.world();
            let slot = ask.rider.slot();
            let policy = world.policy.load();
            let drive = world.eta.drive(&policy, ask.pickup.point, ask.destination.point);
            let quote = policy.quote_drive(ask.need.kind, drive);
            let command = Command::CreateBooking {
                quote,
                booking: world.mint.booking(slot, world.clock.wall()),
                rider: ask.rider,
                city: ask.city,
                pickup: ask.pickup,
                destination: ask.destination,
                need: ask.need,
                payment_method: ask.payment_method,
                shown_estimate_minor: ask.shown_estimate_minor,
            };
            let (booking, at) = runtime.propose_booking_at(slot, ask.idempotency, command).await?;
            if booking.created_at == at {
                // Born of this very command. The answer to a repeat is an old picture of a
                // booking that has its shell, or needs none.
                runtime.dispatch(booking.clone());
            }
            encoded(Ok(booking))
        }
        Request::GetBooking(ask) => encoded(runtime.booking(ask.booking).await),
        Request::CancelBooking(ask) => encoded(runtime.cancel(ask).await),
        Request::AssignBooking(ask) => {
            let world = runtime.world();
            let slot = ask.booking.slot();
            let minted = world.mint.trip(slot, world.clock.wall());
            let (booking, offer, driver, card) = (ask.booking, ask.offer, ask.driver, ask.card);
            let code = runtime.start_code();
            let command = Command::Assign { booking, offer, driver, trip: minted, card, code };
            let assigned = runtime.propose_trip(slot, None, command).await;
            if let Ok(trip) = &assigned {
                runtime.watch_trip(trip);
                let settled = booking::Message::Settled(Some(offer));
                runtime.0.bookings.tell_living(booking, settled);
                runtime.0.promises.tell_living(booking, promise::Message::Look);
            }
            encoded(assigned)
        }
        Request::PromiseBooking(ask) => {
            let PromiseBooking { booking, offer, driver } = ask;
            let command = Command::Promise { booking, offer, driver };
            encoded(runtime.promise(command, booking, offer).await)
        }
        Request::EndPromise(ask) => encoded(runtime.end_promise(ask).await),
        Request::YieldDriver(ask) => {
            runtime.ask_to_yield(ask.booking, ask.driver);
            encoded(Ok(()))
        }
        Request::TellBooking(ask) => {
            let news = booking::Message::News(ask.offer, ask.news);
            if !runtime.0.bookings.tell_living(ask.booking, news) {
                let news = improve::Message::News(ask.offer, ask.news);
                runtime.0.watches.tell_living(ask.booking, news);
            }
            encoded(Ok(()))
        }
        Request::Wake(ask) => {
            for (booking, car) in ask.woken {
                runtime.0.bookings.tell_living(booking, booking::Message::Wake(car));
            }
            encoded(Ok(()))
        }
        Request::GetTrip(ask) => encoded(runtime.trip(ask.trip).await),
        Request::DriverStep(ask) => {
            let mover = Mover { by: Actor::Driver, driver: Some(ask.driver), rider: None };
            encoded(runtime.step_trip(ask.trip, ask.step, mover, ask.idempotency).await)
        }
        Request::RiderStep(ask) => {
            let mover = Mover { by: Actor::Rider, driver: None, rider: Some(ask.rider) };
            encoded(runtime.step_trip(ask.trip, ask.step, mover, ask.idempotency).await)
        }
        Request::OperatorStep(ask) => {
            let mover = Mover { by: Actor::System, driver: None, rider: None };
            encoded(runtime.step_trip(ask.trip, ask.step, mover, ask.idempotency).await)
        }
        Request::AddTrail(ask) => encoded(runtime.add_trail(ask).await),
        Request::ReadTrail(ask) => encoded(runtime.trail(ask).await),

        Request::Pings(ask) => encoded(pings(runtime, &ask.pings)),
        Request::Search(ask) => encoded(search(runtime, ask)),
        Request::Mirror(ask) => {
            runtime.take_copies(ask);
            encoded(Ok(()))
        }
        Request::Withdraw(ask) => {
            let view = runtime.world().membership.view();
            for ring_key in view.owners_within(ask.pickup, ask.radius_m).into_values().flatten() {
                runtime.0.cells.tell_living(ring_key, cell::Message::Withdraw(ask.booking));
            }
            encoded(Ok(()))
        }
        Request::Restand(ask) => {
            let restand = cell::Message::Restand(vec![ask.standing]);
            runtime.0.cells.tell_living(ask.ring_key, restand);
            encoded(Ok(()))
        }
        Request::Moved(ask) => {
            for (ring_key, driver, at) in ask.moved {
                runtime.0.cells.tell_living(ring_key, cell::Message::Forget(driver, Some(at)));
            }
            encoded(Ok(()))
        }
        Request::RiderBookings(ask) => encoded(runtime.bookings_of(ask).await),
        Request::DriverTrips(ask) => encoded(runtime.trips_of(ask).await),
        Request::PushDown(ask) => {
            encoded(Ok(runtime.world().sockets.show(ask.session, ask.push).await))
        }
        Request::Follow(ask) => encoded(runtime.follow(ask.follows).await),
        Request::Whereabouts(ask) => encoded(runtime.whereabouts(&ask.drivers)),
        Request::Fixes(ask) => encoded(runtime.fixes(ask.sought)),
        Request::Areas(ask) => encoded(runtime.areas(&ask)),
        Request::Loads(_) => encoded(Ok(runtime.heaviest())),
        Request::Aboard(ask) => {
            runtime.note_aboard(ask);
            encoded(Ok(()))
        }
        Request::NextInQueue(ask) => encoded(runtime.next_in_queue(ask).await),
        Request::GetQueue(ask) => encoded(runtime.queue(ask.zone).await),
        Request::Explain(ask) => encoded(Ok(runtime.explain(ask.booking).await)),
        Request::Consensus(_) => {
            Err(Refusal::new(Code::BadPeer, "a frame for the ledger, which no actor reads"))
        }
    }
}

/// What a phone must be shown when it connects: the offer that waits for its answer.
fn before(driver: &Driver) -> Vec<Push> {
    match &driver.current {
        Some(Commitment::Held { offer }) => vec![Push::Offer(offer.clone())],
        Some(Commitment::Taken { .. }) | None => Vec::new(),
    }
}

/// Notes the sockets of a node, and says what is before each driver.
async fn sessions(
    runtime: &Runtime,
    sessions: Vec<(DriverId, Session)>,
) -> Result<Vec<(DriverId, Push)>, Refusal> {
    if sessions.len() > BATCH_MAX {
        return Err(Code::TooLarge.into());
    }
    let read = sessions.into_iter().map(|(driver, session)| {
        runtime.0.soft.attach(driver, session);
        runtime.driver(driver)
    });
    let mut pushes = Vec::new();
    // Who is not registered, or led elsewhere by now, has nothing before him here; a new leader is
    // told as well.
    for driver in join_all(read).await.into_iter().flatten() {
        pushes.extend(before(&driver).into_iter().map(|push| (driver.id, push)));
    }
    Ok(pushes)
}

/// Notes where drivers were seen, sends word to cells that are behind, and says how they stand.
fn standings(runtime: &Runtime, ask: Standings) -> Result<Stand, Refusal> {
    if ask.seen.len() > BATCH_MAX {
        return Err(Code::TooLarge.into());
    }
    let view = runtime.world().membership.view();
    let mut stand = Stand::default();
    let mut moved: BTreeMap<NodeId, Vec<_>> = BTreeMap::new();
    for (driver, ring_key, at) in ask.seen {
        match runtime.standing(driver) {
            Some(Stands::So(standing)) => stand.standings.push(standing),
            Some(Stands::Unregistered) => {
                stand.unregistered.push(driver);
                continue;
            }
            Some(Stands::AsHeard(standing)) => {
                stand.heard.push(standing);
                continue; // where he was seen is for the leader to know
            }
            None => continue,
        }
        if let Some((ring_key, at)) = runtime.0.soft.seen(driver, ring_key, at)
            && let Some(owner) = view.cell_owner(ring_key)
        {
            moved.entry(owner).or_default().push((ring_key, driver, at));
        }
    }
    for (node, moved) in moved {
        let runtime = runtime.clone();
        tokio::spawn(async move {
            // A stale twin lives at most the freshness window.
            let ask = Moved { node, moved };
            let _lost = runtime.world().router.ask(ask, runtime.background()).await;
        });
    }
    Ok(stand)
}

/// Applies pings of cells that this node owns, as their sender sees the ring.
fn pings(runtime: &Runtime, batch: &PingBatch) -> Result<PingFates, Refusal> {
    if batch.len() > BATCH_MAX {
        return Err(Code::TooLarge.into());
    }
    let read = batch.iter().collect::<Result<Vec<Ping>, BadPing>>();
    let pings = read.map_err(|error| Refusal::new(Code::BadPeer, error.to_string()))?;
    let mut fates = vec![PingFate::Refused; pings.len()];
    let mut groups = Groups::default();
    groups.sort(runtime, &pings);
    for group in groups.touched() {
        group.apply(runtime, &pings, &mut fates);
    }
    Ok(PingFates::of(&fates))
}

/// Asks this node's cells within the circle, those that are the asked owner's. A demand is posted to every cell that the ring
/// gives this node, even one that nobody has pinged yet; who else waits is counted in the nearest of them, where all stand who
/// look as far.
fn search(runtime: &Runtime, ask: Search) -> Result<Found, Refusal> {
    let world = runtime.world();
    let now = world.clock.mono();
    let Search { center, radius_m, need, seek, max, fresh_ms, ending_m, post, copies, .. } = ask;
    let query = Query { center, radius_m, need, seek, fresh_ms, max, ending_m };
    // Asker and asked may see different rings for a moment: what either of them means counts.
    let mut ring_keys: BTreeSet<u64> = ask.ring_keys.into_iter().collect();
    let mut owned = Vec::new();
    if copies {
        let warm = |key: &u64| runtime.0.cells.living(*key).is_some_and(|cell| cell.is_warm(now));
        if !ring_keys.iter().all(warm) {
            return Err(Refusal::new(Code::NotOwner, "no copies, or they are too young"));
        }
    } else {
        let near = world.membership.view().keys_within(center, radius_m);
        let mine = near.into_iter().filter(|key| key.owner == world.node);
        owned.extend(mine.map(|key| key.ring_key));
        ring_keys.extend(&owned);
    }
    let cell_of = |ring_key: u64| match post {
        Some(_) if owned.contains(&ring_key) => runtime.cell(ring_key),
        Some(_) | None => runtime.0.cells.living(ring_key),
    };
    let nearest = owned.first().copied().and_then(cell_of);
    let waiting = nearest.zip(post).map_or(0, |(cell, demand)| cell.waiting_near(&demand, now));
    let found = ring_keys.into_iter().filter_map(|ring_key| {
        let Hits { candidates, ending, dropped } = cell_of(ring_key)?.search(&query, post, now);
        Some(Ok(Found { candidates, ending, waiting, dropped }))
    });
    let Nearby { candidates, ending, dropped, .. } = merge(found.map(Some), max);
    Ok(Found { candidates, ending, waiting, dropped })
}
