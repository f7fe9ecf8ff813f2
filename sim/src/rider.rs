//! A rider: asks at his time, looks now and then how his booking stands, and calls it off when
//! nobody was found in time.

use crate::city::Request;
use crate::client::{Answer, Ask, Party};
use crate::dice::Dice;
use crate::history::What;
use crate::steady::Looks;
use crate::wire::{Booking, BookingStatus};
use crate::workload::World;
use proto::units::{MonoMs, Point};
use proto::{BookingId, RiderId};
use std::sync::Arc;
use std::time::Duration;

/// One rider's part, from asking to the end of his booking.
pub(crate) async fn ride(world: Arc<World>, rider: RiderId, request: Request, mut dice: Dice) {
    let asked = world.client.mono();
    let Some(booking) = book(&world, rider, request, asked, &mut dice).await else { return };
    let patience = world.pace.wall_of(world.habits.patience_ms);
    let gives_up_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    let mut pause = world.looks.next(None, &world.pace, &mut dice);
    let mut assigned = false;
    loop {
        let left_ms = gives_up_ms.saturating_sub(world.client.mono().since(asked));
        let left = Duration::from_millis(left_ms).max(Duration::from_millis(10));
        tokio::time::sleep(if assigned { pause } else { pause.min(left) }).await;
        pause = world.looks.next(Some(pause), &world.pace, &mut dice);
        let status = match look(&world, booking, &mut dice).await {
            Look::Is(status) => status,
            Look::NoAnswer => continue,
            // Acked and not there: he has seen enough, and the judge will see it too.
            Look::Gone => return,
        };
        if status.is_terminal() {
            world.tally.ended.up();
            return;
        }
        assigned = status == BookingStatus::Assigned;
        if !assigned && world.client.mono().since(asked) >= gives_up_ms {
            // Done, ended before, or assigned this very moment: the next look tells.
            call_off(&world, rider, booking, &mut dice).await;
            pause = Looks::soon(pause);
        }
    }
}

async fn book(
    world: &World,
    rider: RiderId,
    request: Request,
    asked: MonoMs,
    dice: &mut Dice,
) -> Option<BookingId> {
    let place = |point: Point| serde_json::json!({ "lat": point.lat(), "lng": point.lng() });
    let body = serde_json::json!({
        "pickup": place(request.pickup), "destination": place(request.dropoff),
        "vehicle_type": "SEDAN", "seats": 1,
    });
    let ask = Ask::post("/v1/bookings", body.to_string(), dice).by(Party::Rider(rider));
    match world.client.ask::<Booking>(&ask, dice).await {
        Answer::Done(Booking { booking_id: booking, .. }) => {
            world.tally.booked.up();
            let asked_ms = world.history.ms(asked);
            world.history.note(What::BookingAcked { booking, rider, asked_ms });
            Some(booking)
        }
        Answer::Refused(refused) => {
            let (request, code, detail) = (ask.name(), refused.code, refused.detail);
            world.history.note(What::Refused { request, code, detail });
            world.history.note(What::BookingUnsettled { rider });
            None
        }
        Answer::Unsettled => {
            world.history.note(What::BookingUnsettled { rider });
            None
        }
    }
}

/// What a rider sees of his booking.
enum Look {
    Is(BookingStatus),
    NoAnswer,
    Gone,
}

async fn look(world: &World, booking: BookingId, dice: &mut Dice) -> Look {
    let ask = Ask::get(format!("/v1/bookings/{booking}"));
    match world.client.ask::<Booking>(&ask, dice).await {
        Answer::Done(booking) => Look::Is(booking.status),
        Answer::Refused(_) => Look::Gone,
        Answer::Unsettled => Look::NoAnswer,
    }
}

async fn call_off(world: &World, rider: RiderId, booking: BookingId, dice: &mut Dice) {
    let body = r#"{"reason":"no driver in time"}"#.into();
    let ask = Ask::post(format!("/v1/bookings/{booking}/cancel"), body, dice);
    let ask = ask.by(Party::Rider(rider));
    world.history.note(What::CancelAsked { booking });
    if let Answer::Done(now) = world.client.ask::<Booking>(&ask, dice).await
        && now.status == BookingStatus::Cancelled
    {
        world.history.note(What::CancelAcked { booking });
    }
}
