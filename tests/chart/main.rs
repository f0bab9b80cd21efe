//! The Helm chart: what the real `helm` renders of it, and refuses.

#[path = "../common/assets.rs"]
mod assets;
mod generated;
#[path = "../common/helm.rs"]
mod helm;
mod refused;
mod rendered;
