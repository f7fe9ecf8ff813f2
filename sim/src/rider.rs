//! A rider: asks at his time, looks now and then how his booking stands, and calls it off when
//! nobody was found in time.

use crate::city::Request;
use crate::client::seen;
use crate::dice::Dice;
use crate::history::{Shown, What};
use crate::steady::Looks;
use crate::workload::World;
use proto::client::{BookingStatus, Failure, NewBooking};
use proto::units::MonoMs;
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
        assigned = matches!(status, BookingStatus::Assigned | BookingStatus::Promised);
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
    let call = world.client.api.book(rider, &NewBooking::sedan(request.pickup, request.dropoff));
    let name = call.name();
    match world.client.ask(call, dice).await {
        Ok(booked) => {
            world.tally.booked.up();
            let (booking, asked_ms) = (booked.booking_id, world.history.ms(asked));
            world.history.note(What::BookingAcked { booking, rider, asked_ms });
            Some(booking)
        }
        Err(failure) => {
            world.history.note(seen(name, &failure));
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
    let asked_ms = world.history.now_ms();
    match world.client.ask(world.client.api.booking(booking), dice).await {
        Ok(now) => {
            world.history.note(What::Shown(Shown::booking(asked_ms, booking, &(&now).into())));
            Look::Is(now.status)
        }
        Err(Failure::Refused(_) | Failure::Unreadable(_)) => Look::Gone,
        Err(Failure::Unsettled(_)) => Look::NoAnswer,
    }
}

async fn call_off(world: &World, rider: RiderId, booking: BookingId, dice: &mut Dice) {
    let call = world.client.api.cancel_booking(rider, booking, "no driver in time");
    world.history.note(What::CancelAsked { booking });
    let asked_ms = world.history.now_ms();
    let Ok(now) = world.client.ask(call, dice).await else { return };
    world.history.note(What::Shown(Shown::booking(asked_ms, booking, &(&now).into())));
    if now.status == BookingStatus::Cancelled {
        world.history.note(What::CancelAcked { booking });
    }
}
