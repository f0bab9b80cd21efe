//! The command tree. A file for each command; exit codes in `exit`.

mod config;
mod exit;
mod serve;

pub use exit::Exit;

use std::io::{self, Write};

use clap::{Parser, Subcommand};

use crate::telemetry::{self, LogFormat};

/// Makes every image pull of a Kubernetes cluster certain: the right policy, the right bytes, the right credentials.
#[derive(Debug, Parser)]
#[command(name = "surepull", version, propagate_version = true)]
#[command(after_help = exit::HELP)]
struct Cli {
    /// How log lines look.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        env = "SUREPULL_LOG_FORMAT"
    )]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the admission webhook.
    Serve(Box<serve::Arguments>),
    /// Checks configuration files, or prints their schema.
    #[command(subcommand)]
    Config(config::Command),
}

/// Runs the command that the arguments of the process name.
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too. Where they cannot be written, nobody reads.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Error
            } else {
                Exit::Done
            };
        }
    };
    let outcome = telemetry::init(cli.log_format)
        .map_err(anyhow::Error::from)
        .and_then(|()| match cli.command {
            Command::Serve(arguments) => serve::run(&arguments),
            Command::Config(command) => config::run(&command),
        });
    match outcome {
        Ok(exit) => exit,
        // The reader of a pipe has enough.
        Err(error) if is_broken_pipe(&error) => Exit::Done,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            Exit::Error
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_is_sound() {
        super::Cli::command().debug_assert();
    }
}
