//! `surepull config`: checks configuration files, or prints their schema.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Subcommand;

use super::Exit;
use crate::config;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Says whether a configuration file is valid; where it is not, line, column and remedy.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Prints the JSON schema of the configuration file.
    Schema,
}

pub(super) fn run(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Check { file } => match config::load(file) {
            Ok(configuration) => {
                writeln!(io::stdout(), "{}: valid", file.display())?;
                for danger in configuration.dangers() {
                    writeln!(io::stdout(), "{}: warning: {danger}", file.display())?;
                }
                Ok(Exit::Done)
            }
            Err(error) if error.is_unreadable() => Err(error.into()),
            Err(error) => {
                writeln!(io::stdout(), "{error}")?;
                Ok(Exit::No)
            }
        },
        Command::Schema => {
            io::stdout().write_all(config::schema().as_bytes())?;
            Ok(Exit::Done)
        }
    }
}
