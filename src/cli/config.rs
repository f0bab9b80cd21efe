//! `surepull config`: checks configuration files, or prints their schema.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Subcommand;

use super::Exit;
use crate::config::{self, Credentials};
use crate::credentials::{Files, ProviderMetrics, Providers};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Says whether a configuration file is valid; where it is not, line, column and remedy. Warns of what the files
    /// of credentials and the credential providers that it names will not do.
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
                for warning in warnings(&configuration.credentials) {
                    writeln!(io::stdout(), "{}: warning: {warning}", file.display())?;
                }
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

/// What there is to say of the files of credentials, and of the providers. That one is not here is no mistake: it may be
/// mounted elsewhere.
fn warnings(rules: &Credentials) -> Vec<String> {
    let said = |error| format!("{:#}", anyhow::Error::from(error));
    let paths = rules.docker_config.iter().cloned();
    // One of the folders suffices; of the files each has to be as it should be.
    let (folders, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    let reads = files.chunks(1).chain([&*folders]).map(Files::read);
    let mut warnings: Vec<_> = reads
        .flat_map(|read| match read {
            Ok(Files { keyring, skipped }) => {
                let mut remarks = keyring.pattern_remarks(rules.patterns);
                remarks.extend(skipped.into_iter().map(said));
                remarks
            }
            Err(error) => vec![said(error)],
        })
        .collect();
    let providers = Providers::load(rules.providers.as_ref(), ProviderMetrics::default());
    warnings.extend(providers.err().map(|error| error.to_string()));
    warnings
}
