//! What the integration tests share.

#![allow(dead_code, reason = "no test uses all of it")]

pub(crate) mod mutate;
pub(crate) mod vectors;
