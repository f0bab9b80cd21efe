//! What surepull decides: slots and facts in, edits, warnings and audit notes out. Nothing here does I/O.
//!
//! A decision has two halves. [`draft`] looks at the object, its stored state and the settings, and says which
//! questions the outside world has to answer. [`Draft::settle`] turns the answers into an [`Outcome`].

mod always;
mod draft;
mod edit;
mod json_patch;
mod notes;
mod pin;
mod policy;
mod pull_secrets;
mod puller;
mod record;
mod review;
mod settings;
mod settle;
mod text;

pub use always::violations;
pub use draft::{Draft, Question, draft};
pub use edit::{Change, Edit, Field};
pub use json_patch::json_patch;
pub(crate) use notes::{annotation_value, clean, warnings};
pub use pull_secrets::{Account, AccountQuestion, PullSecret, When};
pub use puller::Puller;
pub use record::{PINNED, Record};
pub use review::{Review, Skipped};
pub use settings::{Action, Always, Errors, Mode, Pin, PullSecrets, Settings, Skip, Targets};
pub use settle::{Facts, Failure, Outcome};
pub(crate) use text::json_text;

#[cfg(test)]
mod tests;
