//! Arguments to a command; everything else is in the library.

use std::process::ExitCode;

/// Requests are many small allocations of many sizes, at which the system's allocator spends a fifth of the time. The
/// second version without huge pages gives back at once what one thread made and another has freed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    voxray::cli::main()
}
