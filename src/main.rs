//! The `surepull` program; all of it is in the library.

use std::process::ExitCode;

/// That of musl is slow where threads share it.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    surepull::cli::main().into()
}
