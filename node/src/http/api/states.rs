//! The state machines in the API's document: the trip's table is worked out from the machine itself.

use crate::http::views::trip_status;
use actors::trip;
use proto::record::TripState;
use proto::record::command::TripStep;
use proto::record::trip::Ending;
use utoipa::Modify;

/// Bookings and offers, as text: their moves are Hansom's, not a client's.
const OTHERS: &str = "\n\n**A booking** is `PENDING` while it looks for a driver, then `ASSIGNED`, then \
    `COMPLETED`. It may end as `REQUEST_EXPIRED` while it looks, and as `CANCELLED` until its trip is \
    started. If its driver calls off, it is `CANCELLED` and `replaced_by` names the booking that goes \
    on for it. While its driver is on his way it may change to a better one, if the policy has that: then \
    `driver_id` and `trip_id` are others, and the trip before ended as `CANCELLED` by `SYSTEM` with the \
    reason `REASSIGNED`. If the policy has that, it may be `PROMISED` to a driver who has a rider aboard: \
    `driver_id` comes when that ride has ended, and then it is `ASSIGNED`; or it is `PENDING` again, if he \
    does not come in time.\n\n**An offer** is `PENDING`, then for ever `ACCEPTED`, `DECLINED`, `EXPIRED` (nobody \
    answered in time) or `CANCELLED` (the booking was filled or called off first); an accepted one is \
    `REASSIGNED` where the booking went on with a better driver. One that its driver took as his next ride is \
    `PROMISED`, then `ACCEPTED`, or `LAPSED` where nothing came of it.\n\n\
    **A trip**, and what each step makes of it, or why not:\n\n";

/// Adds them to what stands above the endpoints.
pub(super) struct States;

impl Modify for States {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let description = api.info.description.get_or_insert_default();
        description.push_str(OTHERS);
        description.push_str(&trips());
    }
}

/// The trip's table, in Markdown.
fn trips() -> String {
    let steps = [
        ("arrive", TripStep::Arrive),
        ("start", TripStep::Start { pin: None }),
        ("pause", TripStep::Pause),
        ("resume", TripStep::Resume),
        ("end", TripStep::End(Ending::default())),
        ("cancel", TripStep::Cancel { reason: String::new() }),
    ];
    let names: Vec<&str> = steps.iter().map(|(name, _)| *name).collect();
    let mut table = format!("| from \\ step | {} |\n|{}\n", names.join(" | "), "---|".repeat(7));
    for state in TripState::ALL {
        let cell = |(_, step): &(&str, TripStep)| match trip::next(state, step) {
            Ok(to) => format!("**{}**", trip_status(to)),
            Err(code) => code.to_string(),
        };
        let cells: Vec<String> = steps.iter().map(cell).collect();
        table += &format!("| `{}` | {} |\n", trip_status(state), cells.join(" | "));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_each_state_and_says_what_the_machine_does() {
        let table = trips();
        assert_eq!(table.lines().count(), 2 + TripState::ALL.len());
        let row = "| `PAUSED` | TRIP_ALREADY_STARTED | TRIP_ALREADY_STARTED | TRIP_ALREADY_PAUSED | \
                   **IN_PROGRESS** | **COMPLETED** | CANNOT_CANCEL_IN_PROGRESS |";
        assert!(table.contains(row), "{table}");
    }
}
