//! What the tests, the demo and the benchmark share.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::print_stdout)]

pub mod client;
pub mod mutate;
pub mod serve;
pub mod vectors;
