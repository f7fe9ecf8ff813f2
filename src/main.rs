//! The front door: parses the command and hands it on.

mod bench;

use clap::{Parser, Subcommand};
use node::clock::SystemClock;
use std::process::ExitCode;
use std::sync::Arc;

/// A dispatch makes and drops many small things on two threads at once.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A dispatch cluster: a ring of equal nodes that matches riders with drivers, carries each trip
/// to its end, and survives any of them dying.
#[derive(Debug, Parser)]
#[command(version, after_long_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  See it work: three nodes, a city, a node killed, another one's disk lost
    hansom demo

  Five nodes under everything that happens to machines and networks, and a report
    hansom chaos --minutes 60 --report ./chaos

  Policies of dispatch side by side, in a virtual city
    hansom judge

  One node, then ask it (any node answers for any key)
    hansom node --single
    curl -s 127.0.0.1:8001/v1/riders -d '{\"name\":\"ada\"}'
    hansom ring
    hansom lookup 40.7580,-73.9855

  A ride by hand, in two terminals
    hansom client drive --name dee --at 40.7580,-73.9855 --accept
    hansom client ride --name ada --from 40.7585,-73.9850 --to 40.7128,-74.0060

Every setting of a node can be given by the environment; `hansom node --help` names the variables.
Exit status: 0 done, 1 failed, 2 bad usage or configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node, or hand its replicas over (`hansom node drain`).
    Node(Box<NodeCommand>),
    /// Show the members of a cluster and what each owns.
    Ring(node::tools::RingArgs),
    /// Show who owns an id or a coordinate.
    Lookup(node::tools::LookupArgs),
    /// Show the values that dispatch is tuned by, or set some on all nodes.
    Policy(node::tools::PolicyArgs),
    /// Show the airports and other places where drivers wait their turn, or who waits; or set them.
    Zones(node::tools::ZonesArgs),
    /// Play a rider or a driver by hand.
    Client(Box<node::tools::client::ClientArgs>),
    /// Inspect, verify or recover the data directory of a node that does not run.
    #[command(subcommand)]
    Ledger(node::tools::offline::LedgerCommand),
    /// Make keys for clients' tokens, and tokens.
    #[command(subcommand)]
    Token(node::tools::token::TokenCommand),
    /// Driving times on real streets: build them, ask, check and measure.
    #[command(subcommand)]
    Roads(Box<roads::cli::Command>),
    /// Measure, beside a bare loop on the same machine.
    #[command(subcommand)]
    Bench(Box<bench::Bench>),
    /// Run a city against a cluster of real processes, kill some, and judge what the clients saw.
    Demo(Box<sim::demo::Args>),
    Chaos(Box<sim::chaos::Args>),
    Judge(Box<judge::Args>),
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
struct NodeCommand {
    #[command(subcommand)]
    action: Option<node::tools::Action>,
    #[command(flatten)]
    args: node::Args,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Node(command) => match *command {
            NodeCommand { action: Some(node::tools::Action::Drain(args)), .. } => {
                node::tools::drain(args).await
            }
            NodeCommand { action: None, args } => Box::pin(node::run(args)).await,
        },
        Command::Ring(args) => node::tools::ring(args).await,
        Command::Lookup(args) => node::tools::lookup(args).await,
        Command::Policy(args) => node::tools::policy(args).await,
        Command::Zones(args) => node::tools::zones(args).await,
        Command::Client(args) => node::tools::client::run(*args).await,
        Command::Ledger(command) => node::tools::offline::run(command),
        Command::Token(command) => node::tools::token::run(command),
        Command::Roads(command) => roads::cli::run(*command, &SystemClock::new()),
        Command::Bench(bench) => bench::run(*bench).await,
        Command::Demo(args) => {
            judged("demo", sim::demo::run(*args, Arc::new(SystemClock::new())).await)
        }
        Command::Judge(args) => judged_policies(&args),
        Command::Chaos(args) => {
            judged("chaos", sim::chaos::run(*args, Arc::new(SystemClock::new())).await)
        }
    }
}

/// 0 if there is a comparison, 2 if the files or the fleet make none.
#[expect(clippy::print_stderr, reason = "the front door's talk")]
fn judged_policies(args: &judge::Args) -> ExitCode {
    match judge::run(args, &SystemClock::new()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hansom judge: {error}");
            ExitCode::from(2)
        }
    }
}

/// 0 if the judge found nothing, 1 if it did or the run failed, 2 if what was asked makes no sense.
#[expect(clippy::print_stderr, reason = "the front door's talk")]
fn judged(command: &str, verdict: Result<bool, sim::demo::DemoError>) -> ExitCode {
    match verdict {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hansom {command}: {error}");
            ExitCode::from(if error.is_usage() { 2 } else { 1 })
        }
    }
}
