//! Every state of a register against every command, as a text to read and compare.

use super::machine::interpret;

/// How to bring an entity into a state, by script.
const SETUP: &[&str] = &[
    "driver d1",
    "driver d2",
    "online d1",
    "online d2",
    "rider r1",
    "rider r2",
    "book b1 r1",
    "book b2 r2",
];

const DRIVER: &[(&str, &[&str])] = &[
    ("free", &[]),
    ("offline", &["offline d1"]),
    ("held by o1", &["hold o1"]),
    ("held by o2", &["hold o2"]),
    ("taken by o1", &["hold o1", "accept o1"]),
    ("taken by o1, with trip", &["hold o1", "accept o1", "confirm o1 t1"]),
    ("taken by o2", &["hold o2", "accept o2"]),
    ("free, o1 expired", &["hold o1", "expire-hold o1"]),
    ("free, o1 declined", &["hold o1", "decline o1"]),
    ("free, o1 taken by another", &["hold o1", "accept o1", "release o1 taken"]),
    ("free, o1 done", &["hold o1", "accept o1", "release o1 done"]),
];
const DRIVER_COMMANDS: &[&str] = &[
    "online d1",
    "offline d1",
    "hold o1",
    "expire-hold o1",
    "decline o1",
    "accept o1",
    "accept o1 key 7 7",
    "confirm o1 t1",
    "release o1 taken",
    "release o1 done",
];

const BOOKING: &[(&str, &[&str])] = &[
    ("open", &[]),
    ("offering o1", &["offer o1 b1 d1 1"]),
    ("offering o1, o3", &["offer o1 b1 d1 1", "offer o3 b1 d2 1"]),
    ("open, o1 declined", &["offer o1 b1 d1 1", "end-offer o1 declined"]),
    ("offering in attempt 2", &["offer o3 b1 d2 2"]),
    ("assigned by o1", &["offer o1 b1 d1 1", "assign o1 t1"]),
    ("assigned by o3", &["offer o1 b1 d1 1", "offer o3 b1 d2 1", "assign o3 t3"]),
    ("cancelled", &["offer o1 b1 d1 1", "cancel b1"]),
    ("expired", &["offer o1 b1 d1 1", "expire b1"]),
    ("completed", &["offer o1 b1 d1 1", "assign o1 t1", "start t1 d1", "end t1 d1"]),
    ("cancelled as a trip", &["offer o1 b1 d1 1", "assign o1 t1", "call-off t1 d1"]),
];
const BOOKING_COMMANDS: &[&str] = &[
    "offer o1 b1 d1 1",
    "end-offer o1 declined",
    "end-offer o1 expired",
    "assign o1 t1",
    "assign o1 t2",
    "cancel b1",
    "expire b1",
    "book b3 r1",
];

const TRIP: &[(&str, &[&str])] = &[
    ("assigned", &[]),
    ("arrived", &["arrive t1 d1"]),
    ("in progress", &["start t1 d1"]),
    ("paused", &["start t1 d1", "pause t1 d1"]),
    ("completed", &["start t1 d1", "end t1 d1"]),
    ("cancelled", &["call-off t1 r1"]),
];
const TRIP_COMMANDS: &[&str] = &[
    "arrive t1 d1",
    "start t1 d1",
    "pause t1 d1",
    "resume t1 d1",
    "end t1 d1",
    "call-off t1 d1",
    "call-off t1 r1",
    "start t1 d2",
    "start t1 r1",
    "call-off t1 r2",
    "released t1",
];

/// All tables.
pub(crate) fn all() -> String {
    // Offers must be named before a driver's script can hold them; they are offered to a booking
    // of their own there.
    let named: &[&str] = &["offer o1 b1 d1 1", "offer o2 b2 d1 1"];
    let trip: &[&str] = &["offer o1 b1 d1 1", "assign o1 t1"];
    let known: &[&str] = &["offer o2 b2 d1 1"];
    [
        table("driver d1", named, DRIVER, DRIVER_COMMANDS),
        table("booking b1", known, BOOKING, BOOKING_COMMANDS),
        table("trip t1", trip, TRIP, TRIP_COMMANDS),
    ]
    .join("\n")
}

fn table(title: &str, first: &[&str], states: &[(&str, &[&str])], commands: &[&str]) -> String {
    let mut text = format!("== {title}\n");
    for (state, path) in states {
        text += &format!("{state}\n");
        for command in commands {
            let script: Vec<String> = SETUP
                .iter()
                .chain(first)
                .chain(*path)
                .chain([command])
                .enumerate()
                .map(|(n, line)| format!("{}ms {line}", n + 1))
                .collect();
            let lines: Vec<&str> = script.iter().map(String::as_str).collect();
            // An offer that a table's command names must have been made in its path or here.
            let out = std::panic::catch_unwind(|| interpret(&lines));
            let said = match out {
                Ok(mut outputs) => outputs.pop().unwrap().join(" |"),
                Err(_) => "(no such offer)".into(),
            };
            text += &format!("    {command:<22} {said}\n");
        }
    }
    text
}
