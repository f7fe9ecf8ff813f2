//! Temporary front door.
#[derive(clap::Parser)]
enum Cli {
    Node(Box<node::Args>),
    Demo(Box<sim::demo::Args>),
}
#[tokio::main]
async fn main() -> std::process::ExitCode {
    match <Cli as clap::Parser>::parse() {
        Cli::Node(args) => node::run(*args).await,
        Cli::Demo(args) => match Box::pin(sim::demo::run(
            *args,
            std::sync::Arc::new(node::clock::SystemClock::new()),
        ))
        .await
        {
            Ok(true) => 0.into(),
            Ok(false) => 1.into(),
            Err(e) => {
                eprintln!("hansom demo: {e}");
                if e.is_usage() { 2.into() } else { 1.into() }
            }
        },
    }
}
