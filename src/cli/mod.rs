//! The command line, one file a command. Results go to standard output, everything else to standard
//! error.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 the data directory is in use. `gate` has its own.

mod demo;
mod doctor;
mod export;
mod gate;
mod import;
mod key;
mod livekit_key;
mod load;
mod migrate;
mod open;
mod print;
mod recount;
mod retention;
mod serve;
mod span;
mod tenant;
mod webhook;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::SettingsError;
use crate::domain::Error;
use crate::store::embedded::EmbeddedError;

/// Observability for voice agents, on one Postgres.
#[derive(Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Example:\n  voxray serve --listen 0.0.0.0:8787"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Arguments,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Demo(demo::Arguments),
    Migrate(migrate::Arguments),
    #[command(subcommand)]
    Tenant(tenant::Command),
    #[command(subcommand)]
    Key(key::Command),
    #[command(subcommand)]
    LivekitKey(livekit_key::Command),
    #[command(subcommand)]
    Webhook(webhook::Command),
    Import(import::Arguments),
    Export(export::Arguments),
    Gate(Box<gate::Arguments>),
    Retention(retention::Arguments),
    Doctor(doctor::Arguments),
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(format!("the runtime does not start: {error}")).report(),
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// Wrong arguments, or a question for help. To a pipeline that asks a gate, 2 would say something else.
fn misused(error: &clap::Error) -> ExitCode {
    let is_gate = std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == "gate");
    // Where it cannot be told there is nobody to tell.
    let _ = error.print();
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ if is_gate => ExitCode::from(gate::ERROR),
        _ => ExitCode::from(2),
    }
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let done = |()| ExitCode::SUCCESS;
    match cli.command {
        None => Box::pin(serve::run(cli.serve)).await.map(done),
        Some(Command::Demo(arguments)) => Box::pin(demo::run(arguments)).await.map(done),
        Some(Command::Serve(arguments)) => Box::pin(serve::run(arguments)).await.map(done),
        Some(Command::Migrate(arguments)) => migrate::run(arguments).await.map(done),
        Some(Command::Tenant(command)) => tenant::run(command).await.map(done),
        Some(Command::Key(command)) => key::run(command).await.map(done),
        Some(Command::LivekitKey(command)) => livekit_key::run(command).await.map(done),
        Some(Command::Webhook(command)) => Box::pin(webhook::run(command)).await.map(done),
        Some(Command::Import(arguments)) => Box::pin(import::run(arguments)).await.map(done),
        Some(Command::Export(arguments)) => Box::pin(export::run(arguments)).await.map(done),
        Some(Command::Gate(arguments)) => gate::run(*arguments).await,
        Some(Command::Retention(arguments)) => retention::run(arguments).await.map(done),
        Some(Command::Doctor(arguments)) => doctor::run(arguments).await,
    }
}

/// Why a command ends without success.
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self {
            code: 1,
            message: message.into(),
        }
    }

    fn report(&self) -> ExitCode {
        eprintln!("voxray: {}", self.message);
        ExitCode::from(self.code)
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self {
            code: 2,
            message: error.to_string(),
        }
    }
}

impl From<Error> for Failure {
    /// Told whole: whoever runs a command may know the cause.
    fn from(error: Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<EmbeddedError> for Failure {
    fn from(error: EmbeddedError) -> Self {
        let code = if matches!(error, EmbeddedError::InUse { .. }) {
            3
        } else {
            1
        };
        Self {
            code,
            message: error.to_string(),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}
