//! Processor time of other processes, as Linux keeps it: what a machine that is busy otherwise does not change.

use std::fs;
use std::path::Path;

/// Of a second. Linux tells it to programs in hundredths, whatever it counts in itself.
const TICK: f64 = 0.01;

/// Seconds that a process, and those that it started, have used so far.
pub fn seconds(of: u32) -> f64 {
    let own = Stat::read(of).map_or(0, |stat| stat.ticks);
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let started: u64 = ids
        .filter_map(Stat::read)
        .filter(|stat| stat.parent == of)
        .map(|stat| stat.ticks)
        .sum();
    (own + started) as f64 * TICK
}

/// The process that a cluster's folder names.
pub fn postmaster(cluster: &Path) -> Option<u32> {
    let file = fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
    file.lines().next()?.parse().ok()
}

struct Stat {
    parent: u32,
    ticks: u64,
}

impl Stat {
    fn read(of: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{of}/stat")).ok()?;
        // Behind the name, which may hold anything.
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        // User's and system's time, its own and that of children which have ended.
        let ticks = fields.get(11..15)?.iter();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            ticks: ticks.filter_map(|field| field.parse::<u64>().ok()).sum(),
        })
    }
}
