//! The Helm chart: what the real `helm` renders of it, and refuses.
#![allow(dead_code, missing_docs, unreachable_pub)]

#[path = "../common/assets.rs"]
mod assets;
mod generated;
#[path = "../common/helm.rs"]
mod helm;
#[path = "../common/presets.rs"]
mod presets;
mod refused;
mod rendered;
mod valid;
