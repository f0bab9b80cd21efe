//! Logs, and the one registry of metrics. Each room owns its metric families; here they meet.

use std::fmt;
use std::io::IsTerminal;

use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// The environment variable that holds the log filter, such as `debug` or `info,surepull=trace`.
pub const LOG_FILTER: &str = "SUREPULL_LOG";

/// The content type of what [`encode`] writes.
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Logging that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter does not parse.
    #[error("the log filter in {LOG_FILTER} is not valid: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The process logs already.
    #[error("logging is set up already: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends log lines to stderr from here on, and panics with them.
pub fn init(format: LogFormat) -> Result<(), Error> {
    let filter = match std::env::var(LOG_FILTER) {
        Ok(filter) if !filter.trim().is_empty() => EnvFilter::builder().parse(filter)?,
        // Who asks by kube's client says himself what came of it.
        _ => EnvFilter::new("info,kube_client::client=off"),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => lines.finish().try_init()?,
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init()?,
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, message, "a task panicked");
    }));
    Ok(())
}

/// A registry that holds what is true of the whole program: `surepull_build_info`.
///
/// Names are registered in full (`surepull_…`), so that a search for a metric finds its place in the source; the
/// encoding appends the suffixes (`_total`, `_info`).
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register(
        "surepull_build",
        "The version of surepull",
        Info::new([("version", env!("CARGO_PKG_VERSION"))]),
    );
    registry
}

/// All metrics as `OpenMetrics` text.
pub fn encode(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_which_version_runs() {
        let text = encode(&registry()).expect("writing to a string");
        assert!(
            text.contains("surepull_build_info{version=\"0.1.0\"} 1"),
            "{text}"
        );
    }
}
