//! Decisions.

mod settings;

pub use settings::{Always, Mode, Pin, PullSecrets, Settings, Skip, Targets};
