//! `hansom client`: a rider or a driver, played by hand. One command asks one thing, and two play a
//! part to its end: `drive` and `ride`. What it knows of the cluster is what any program has,
//! [`proto::client`].

mod args;
mod drive;
mod hand;
mod once;
mod play;
mod ride;
mod tables;
mod trouble;

use super::print;
use args::{
    AnswerArgs, CancelArgs, DriverArgs, EndArgs, HistoryArgs, Keyed, NewDriverArgs, Reaching,
    RiderArgs, StartArgs, StepArgs, WishArgs, place,
};
use hand::Hand;
use proto::{BookingId, DriverId, Point, RiderId, TripId};
use std::process::ExitCode;

/// A rider or a driver, played by hand.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  A ride in two terminals, against a node on this machine
    hansom client drive --name dee --at 40.7580,-73.9855 --accept
    hansom client ride --name ada --from 40.7585,-73.9850 --to 40.7128,-74.0060

  The same step by step
    hansom client register driver dee
    hansom client register rider ada
    hansom client online dee
    hansom client ping dee 40.7580,-73.9855      (counts for ten seconds: book within them)
    hansom client book --rider ada --from 40.7585,-73.9850 --to 40.7128,-74.0060
    hansom client offers dee --wait
    hansom client accept dee
    hansom client arrive --driver dee
    hansom client start --driver dee
    hansom client end --driver dee
    hansom client history --rider ada

  For a program, from another cluster, with a token
    HANSOM_TOKEN=... hansom client --node http://10.0.0.5:8001,http://10.0.0.6:8001 --json trip trp_...

A rider and a driver may be named by id or by the name that they registered under. A trip or an offer
that is not named is the one they have.

Every try of a change goes under one key, so that it is made once. If no try is answered for five
seconds, nobody knows whether it was made; the error says the key, and the same command with --key
settles it.

Exit status: 0 done, 1 refused or not settled, 2 bad usage.")]
pub struct ClientArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    reaching: Reaching,
}

/// What is asked or played.
#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Play a driver until Ctrl-C: on duty, a position a second, offers as they come.
    Drive(drive::DriveArgs),
    /// Play a rider: book, show each change until the ride is over, and how it went.
    Ride(ride::RideArgs),
    /// Register a rider or a driver. The same again is the same.
    #[command(subcommand)]
    Register(Register),
    /// A driver goes on duty.
    Online(DriverArgs),
    /// A driver goes off duty; an offer before him is declined.
    Offline(DriverArgs),
    /// Say where a driver is. Searches believe it for ten seconds.
    Ping {
        /// By id or name.
        #[arg(value_parser = args::driver)]
        driver: DriverId,
        /// lat,lng in degrees.
        #[arg(value_parser = place, allow_hyphen_values = true)]
        at: Point,
    },
    /// Show the cars around a place.
    Nearby {
        /// lat,lng in degrees.
        #[arg(value_parser = place, allow_hyphen_values = true)]
        at: Point,
        /// How far, in metres.
        #[arg(long, value_name = "METRES")]
        radius: Option<u32>,
        /// How many at most.
        #[arg(long, value_name = "CARS")]
        limit: Option<u16>,
        /// Cars too whose rides end there within so many seconds, 600 at most.
        #[arg(long, value_name = "SECONDS")]
        within: Option<u32>,
        /// Only cars that can stand in for this type.
        #[arg(long, value_name = "TYPE")]
        vehicle: Option<args::Kind>,
    },
    /// Book a ride; a driver is looked for at once.
    Book {
        /// By id or name.
        #[arg(long, value_parser = args::rider)]
        rider: RiderId,
        #[command(flatten)]
        wish: WishArgs,
        #[command(flatten)]
        keyed: Keyed,
    },
    /// Show the offer before a driver.
    Offers {
        /// By id or name.
        #[arg(value_parser = args::driver)]
        driver: DriverId,
        /// Until there is one.
        #[arg(long)]
        wait: bool,
    },
    /// A driver says yes to the offer before him; the answer is the trip.
    Accept(AnswerArgs),
    /// A driver says no to the offer before him.
    Decline(AnswerArgs),
    /// The driver is at the pickup.
    Arrive(StepArgs),
    /// The rider is aboard.
    Start(StartArgs),
    /// The car stands for a while.
    Pause(StepArgs),
    /// It goes on.
    Resume(StepArgs),
    /// The trip is over.
    End(EndArgs),
    /// Call off a trip that has not been started, or a rider's booking.
    Cancel(CancelArgs),
    /// Show a booking.
    Booking {
        /// bkg_...
        booking: BookingId,
        #[command(flatten)]
        freshness: args::Freshness,
    },
    /// Show a trip, with every step it took.
    Trip {
        /// trp_...
        trip: TripId,
        #[command(flatten)]
        freshness: args::Freshness,
    },
    /// Show a rider.
    Rider(RiderArgs),
    /// Show a driver.
    Driver {
        /// By id or name.
        #[arg(value_parser = args::driver)]
        driver: DriverId,
        #[command(flatten)]
        freshness: args::Freshness,
    },
    /// List all bookings of a rider, or all ended trips of a driver, newest first.
    History(HistoryArgs),
}

/// Who is registered.
#[derive(Debug, Clone, clap::Subcommand)]
enum Register {
    /// A rider.
    Rider {
        /// Unique in the cluster.
        name: String,
        #[command(flatten)]
        keyed: Keyed,
    },
    /// A driver and his vehicle; off duty.
    Driver {
        /// Unique in the cluster.
        name: String,
        #[command(flatten)]
        details: NewDriverArgs,
        #[command(flatten)]
        keyed: Keyed,
    },
}

/// Runs a command.
pub async fn run(args: ClientArgs) -> ExitCode {
    let done = match Hand::new(args.reaching) {
        Ok(hand) => Box::pin(once::run(&hand, args.command)).await,
        Err(trouble) => Err(trouble),
    };
    match done {
        Err(trouble) if trouble.is_usage() => {
            print::talk(format_args!("hansom client: {trouble}"));
            ExitCode::from(2)
        }
        Err(trouble) if trouble.is_closed_pipe() => ExitCode::SUCCESS,
        done => print::finish("hansom client", done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Args as _;

    #[test]
    fn the_command_line_makes_sense_down_to_its_leaves() {
        ClientArgs::augment_args(clap::Command::new("client")).debug_assert();
    }
}
