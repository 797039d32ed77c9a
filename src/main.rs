//! Arguments to a command; everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    voxray::cli::main()
}
