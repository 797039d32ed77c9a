//! The live feed's rows: numbering them, reading them, being told of new ones; and tickets.

mod listen;
mod read;
mod sequence;
mod tickets;

pub use listen::{Heard, Listener, wake};
pub use read::{Page, bounds, page};
pub use sequence::{Round, Sequencer};
pub use tickets::{issue, redeem};

/// Servers to the sequencer: there is something to number.
const WRITTEN: &str = "voxray_live_written";
/// The sequencer to servers: these tenants have new events.
const NUMBERED: &str = "voxray_live_numbered";
