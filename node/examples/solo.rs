//! temporary
use clap::Parser;
#[derive(Parser)] struct C { #[command(flatten)] a: node::Args }
#[tokio::main] async fn main() -> std::process::ExitCode { node::run(C::parse().a).await }
