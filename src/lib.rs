//! surepull makes every image pull of a Kubernetes cluster certain: the right policy, the right bytes, the right
//! credentials. `ARCHITECTURE.md` is the map of these rooms; an inner one never imports an outer one.

pub mod admission;
pub mod certificates;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod credentials;
pub mod image;
pub mod mutation;
pub mod pipeline;
pub mod registry;
pub mod reload;
pub mod server;
pub mod telemetry;
pub mod workload;
