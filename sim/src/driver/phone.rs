//! The driver's phone: one WebSocket to one node, positions up, offers down. When the socket drops
//! it dials another node with the last cursor; what it missed is told there, so it asks for nothing.

use super::Me;
use crate::client::seen;
use crate::dice::Dice;
use crate::history::{Shown, What};
use crate::workload::World;
use futures_util::{SinkExt, StreamExt};
use proto::TripId;
use proto::client::{Down, Failure, Offer, Party, Trip};
use proto::units::Point;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// How long opening a socket may take; protocol time.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause before the next node is dialled: up to so long, by chance, so that the thousand phones of
/// a killed node do not come back in one millisecond.
const REDIAL_MS: f64 = 300.0;

/// A socket's read buffer. The library's own default, 128 KiB, is half a gigabyte for a large
/// fleet; an offer has some 600 bytes.
const READ_BUFFER_BYTES: usize = 4 << 10;
/// The largest frame a node may send.
const FRAME_MAX_BYTES: usize = 64 << 10;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Runs a phone until its task is dropped.
pub(super) async fn carry(
    world: Arc<World>,
    me: Arc<Me>,
    mut dice: Dice,
    jobs: mpsc::Sender<Trip>,
) {
    let (mut last, mut cursor) = (None, None);
    loop {
        let node = dice.other_than(world.doors.seats(), last);
        last = Some(node);
        if let Some(socket) = dial(&world, &me, node, cursor.as_deref()).await {
            world.tally.sockets.up();
            talk(&world, &me, (node, socket), &mut cursor, &mut dice, &jobs).await;
            world.tally.sockets.down();
            world.tally.sockets_lost.up();
        }
        let pause_s = dice.between(0.0, REDIAL_MS) / 1000.0;
        tokio::time::sleep(Duration::from_secs_f64(pause_s)).await;
    }
}

async fn dial(world: &World, me: &Me, node: usize, cursor: Option<&str>) -> Option<Socket> {
    let cursor = cursor.map_or_else(String::new, |cursor| format!("?cursor={cursor}"));
    let url = format!("ws://{}/v1/drivers/{}/stream{cursor}", world.doors.at(node), me.id);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(Some(FRAME_MAX_BYTES))
        .max_frame_size(Some(FRAME_MAX_BYTES));
    let dialled = timeout(DIAL_TIMEOUT, connect_async_with_config(url, Some(config), true)).await;
    let (socket, _response) = dialled.ok()?.ok()?;
    Some(socket)
}

/// Reports and listens until the socket drops; notes where to go on.
async fn talk(
    world: &Arc<World>,
    me: &Arc<Me>,
    (node, mut socket): (usize, Socket),
    cursor: &mut Option<String>,
    dice: &mut Dice,
    jobs: &mpsc::Sender<Trip>,
) {
    let mut ticks = tokio::time::interval(world.ping_period);
    // A late ping replaces those that were missed; sending all of them would only add load.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut frame = String::new();
    loop {
        tokio::select! {
            received = socket.next() => match received {
                Some(Ok(Message::Text(text))) => {
                    if let Some(next) = hear(world, me, &text, dice, jobs) {
                        *cursor = Some(next);
                    }
                }
                Some(Ok(
                    Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_),
                )) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            _ = ticks.tick() => {
                write_ping(&mut frame, me.position(world.pace.now()), world.pace.wall().0);
                if socket.send(Message::text(frame.as_str())).await.is_err() {
                    return;
                }
                world.tally.pings.up();
                world.tally.pings_to[node].up();
            }
        }
    }
}

/// The one frame that is sent thousands of times a second, written without a serializer.
fn write_ping(frame: &mut String, at: Point, ts: u64) {
    frame.clear();
    let (lat, lng) = (at.lat(), at.lng());
    // Writing to a string cannot fail.
    let _infallible = write!(frame, r#"{{"type":"ping","lat":{lat:.7},"lng":{lng:.7},"ts":{ts}}}"#);
}

/// Does what a message says; gives where to go on after it.
fn hear(
    world: &Arc<World>,
    me: &Arc<Me>,
    text: &str,
    dice: &mut Dice,
    jobs: &mpsc::Sender<Trip>,
) -> Option<String> {
    let down = match serde_json::from_str::<Down>(text) {
        Ok(down) => down,
        Err(error) => {
            world.tally.outcome("unreadable frame");
            let (code, detail) = ("UNREADABLE".into(), format!("{error}: {text}"));
            world.history.note(What::Refused { request: "socket".into(), code, detail });
            return None;
        }
    };
    let cursor = down.cursor().map(ToOwned::to_owned);
    match down {
        Down::Offer { offer, cursor: _ } => {
            if !me.is_news(offer.offer_id) {
                return cursor;
            }
            world.tally.offers.up();
            let (driver, booking) = (me.id, offer.booking_id);
            world.history.note(What::OfferSeen { offer: offer.offer_id, booking, driver });
            if let Ok(hand) = Arc::clone(&me.answering).try_acquire_owned() {
                let (world, me, dice) = (Arc::clone(world), Arc::clone(me), dice.fork());
                let jobs = jobs.clone();
                tokio::spawn(async move {
                    answer(&world, &me, *offer, dice, &jobs).await;
                    drop(hand);
                });
            }
        }
        Down::Trip { trip_id, status, cursor: _ } if status.is_over() => {
            me.called_off.send_replace(Some(trip_id));
        }
        // A trip we never heard of: the answer to our yes was lost for good. Not while a yes is on
        // its way, for that will bring the trip itself.
        Down::Trip { trip_id, status: _, cursor: _ } => {
            let idle = me.answering.available_permits() == super::ANSWERS_MAX;
            if idle && !me.knows(trip_id) {
                let (world, me, dice) = (Arc::clone(world), Arc::clone(me), dice.fork());
                let jobs = jobs.clone();
                tokio::spawn(async move { adopt(&world, &me, trip_id, dice, &jobs).await });
            }
        }
        Down::Error { code, detail: _ } => world.tally.outcome(&format!("socket error {code}")),
        Down::Hello { .. } | Down::OfferEnded { .. } | Down::Cursor { .. } | Down::Unknown => {}
    }
    cursor
}

/// Looks at an offer for a moment, then says yes or no until that is settled.
async fn answer(world: &World, me: &Me, offer: Offer, mut dice: Dice, jobs: &mpsc::Sender<Trip>) {
    let (least_ms, most_ms) = world.habits.think_ms;
    let think_s = dice.between(least_ms as f64, most_ms as f64) / 1000.0 / world.habits.speed;
    tokio::time::sleep(Duration::from_secs_f64(think_s)).await;
    let id = offer.offer_id;
    if !dice.chance(world.habits.acceptance) {
        // Whatever comes back, the offer is not his: declined, or gone before.
        let _answer = world.client.ask(world.client.api.decline(me.id, id), &mut dice).await;
        return;
    }
    let call = world.client.api.accept(me.id, id);
    let name = call.name();
    let asked_ms = world.history.now_ms();
    match world.client.ask(call, &mut dice).await {
        Ok(trip) => {
            world.tally.assigned.up();
            let shown = Shown::trip(asked_ms, trip.trip_id, &(&trip).into());
            world.history.note(What::Shown(shown));
            let (booking, driver) = (trip.booking_id, trip.driver_id);
            world.history.note(What::AcceptAcked {
                offer: id,
                booking,
                trip: trip.trip_id,
                driver,
            });
            take(me, trip, jobs);
        }
        Err(failure) => {
            world.history.note(seen(name, &failure));
            // Too late, or another got it: he stays where he is. Unless nobody knows.
            let active = world.client.api.active_trip(Party::Driver(me.id));
            if matches!(failure, Failure::Unsettled(_))
                && let Ok(trip) = world.client.ask(active, &mut dice).await
            {
                take(me, trip, jobs);
            }
        }
    }
}

async fn adopt(world: &World, me: &Me, trip: TripId, mut dice: Dice, jobs: &mpsc::Sender<Trip>) {
    if let Ok(trip) = world.client.ask(world.client.api.trip(trip), &mut dice).await
        && !trip.status.is_over()
        && trip.driver_id == me.id
    {
        take(me, trip, jobs);
    }
}

/// Hands a trip to the wheel, once. A full queue means that the cluster has long been caught.
fn take(me: &Me, trip: Trip, jobs: &mpsc::Sender<Trip>) {
    if me.is_new_trip(trip.trip_id) {
        let _full = jobs.try_send(trip);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_is_the_json_the_contract_names() {
        let mut frame = String::from("old");
        write_ping(&mut frame, Point::from_degrees(40.75, -73.98).unwrap(), 1_700_000_000_123);
        let json: serde_json::Value = serde_json::from_str(&frame).unwrap();
        assert_eq!(json["type"], "ping");
        assert_eq!((json["lat"].as_f64(), json["lng"].as_f64()), (Some(40.75), Some(-73.98)));
        assert_eq!(json["ts"], 1_700_000_000_123u64);
    }
}
