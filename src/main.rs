//! The `fanlight` binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(fanlight::cli::main())
}
