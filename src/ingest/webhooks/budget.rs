//! Memory for bodies whose sender has not proved itself yet: bounded for the process, since anybody who knows
//! an address may send large ones.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::domain::{Error, Result};

const BYTES_MAX: usize = 96 << 20;

static HELD: AtomicUsize = AtomicUsize::new(0);

/// What one request holds, given back with it.
#[derive(Default)]
pub struct Held(usize);

impl Held {
    pub fn grow(&mut self, bytes: usize) -> Result<()> {
        let taken = HELD.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            held.checked_add(bytes).filter(|held| *held <= BYTES_MAX)
        });
        match taken {
            Ok(_) => {
                self.0 += bytes;
                Ok(())
            }
            Err(_) => Err(Error::Unavailable(
                "too many large webhooks at once".to_owned(),
            )),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.fetch_sub(self.0, Ordering::Relaxed);
    }
}
