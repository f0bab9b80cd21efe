//! The `surepull` program; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    surepull::cli::main().into()
}
