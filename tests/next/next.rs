//! The next build, as far as a rolling upgrade is concerned: this one, and a feature level more.
//! It never ships; the process tests put it in the place of running nodes.
//!
//! From level 2 on a rider's name is stored in capitals. That stands for whatever a build may do
//! otherwise than the one before: done by some replicas and not by others, they would differ.

use clap::Parser;
use node::Build;
use proto::WallMs;
use proto::codec::{self, CodecError};
use proto::machine::{Applied, Level, StateMachine};
use proto::record::command::{Command, Proposal};
use std::process::ExitCode;

/// What this build knows.
const LEVEL: Level = Level(2);

/// This build's machine but for that.
struct Next(Box<dyn StateMachine>);

impl StateMachine for Next {
    fn apply(&mut self, at: WallMs, level: Level, command: &[u8]) -> Applied {
        if level >= LEVEL
            && let Ok(mut proposal) = codec::decode::<Proposal>(command)
            && let Command::RegisterRider { name, .. } = &mut proposal.command
        {
            *name = name.to_uppercase();
            return self.0.apply(at, level, &codec::encode(&proposal));
        }
        self.0.apply(at, level, command)
    }
    fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.read(key)
    }
    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), CodecError> {
        self.0.restore(key, value)
    }
    fn scan(&self, after: Option<&[u8]>, max: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0.scan(after, max)
    }
    fn open_work(&self) -> Vec<Vec<u8>> {
        self.0.open_work()
    }
}

#[derive(Debug, Parser)]
enum Cli {
    /// Run a node.
    Node(Box<node::Args>),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli::Node(args) = Cli::parse();
    let machine = |faults| {
        let this = (Build::this().machine)(faults);
        Box::new(Next(this)) as Box<dyn StateMachine>
    };
    node::run_as(*args, Build { level: LEVEL, machine }).await
}
