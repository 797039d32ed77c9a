//! Processes: which of them lives, whose data it serves, how it is told to stop. By `/proc`, and with
//! less certainty by `ps` where there is none.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// What a postmaster writes into `postmaster.pid`. Survives a `kill -9`, so it proves nothing alone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PidFile {
    pub pid: i32,
    pub socket_folder: PathBuf,
    pub status: String,
}

impl PidFile {
    pub fn path(data: &Path) -> PathBuf {
        data.join("postmaster.pid")
    }

    pub fn read(data: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(Self::path(data)).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().collect();
        let line = |number: usize| lines.get(number - 1).map_or("", |line| line.trim());
        Some(Self {
            pid: line(1).parse().ok()?,
            socket_folder: line(5).into(),
            status: line(8).to_owned(),
        })
    }

    pub fn is_ready(&self) -> bool {
        self.status.starts_with("ready")
    }
}

/// Lives and can still do something. A zombie is dead, though `kill -0` finds it.
pub(super) fn is_alive(pid: i32) -> bool {
    if has_proc() {
        return Stat::read(pid).is_some_and(|stat| stat.is_alive());
    }
    match Pid::from_raw(pid) {
        Some(pid) => !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)),
        None => false,
    }
}

/// Lives and is the postmaster of this data folder: a number from an old file may by now be anybody's.
pub(super) fn is_postmaster(pid: i32, data: &Path) -> bool {
    let data = data.as_os_str().as_encoded_bytes();
    is_alive(pid)
        && match has_proc() {
            true => arguments(pid).iter().any(|argument| argument == data),
            false => command_line(pid)
                .windows(data.len())
                .any(|part| part == data),
        }
}

/// A process on its way out has no arguments any more, but is still there for a moment.
pub(super) fn is_leaving(pid: i32) -> bool {
    has_proc() && is_alive(pid) && arguments(pid).iter().all(Vec::is_empty)
}

/// The number in an old file stands in the way of a new postmaster: its process is a zombie or a
/// stranger, and Postgres's own check takes either for a live server.
pub(super) fn blocks_in_vain(pid: i32, data: &Path) -> bool {
    Path::new(&format!("/proc/{pid}")).exists() && !is_postmaster(pid, data)
}

/// Backends that outlived their postmaster. Ask only when that one is dead.
pub(super) fn orphaned_backends(data: &Path) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let pids = names.filter_map(|name| name.to_str()?.parse().ok());
    pids.filter(|&pid| is_alive(pid) && works_in(pid, data))
        .collect()
}

/// Every process of Postgres works in its data folder. A container's root may not look at that; then
/// a backend without a postmaster for a parent may be ours.
fn works_in(pid: i32, data: &Path) -> bool {
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(folder) => folder == data,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let titled = arguments(pid)
                .first()
                .is_some_and(|title| title.starts_with(b"postgres: "));
            let parent = Stat::read(pid).and_then(|stat| Stat::read(stat.parent));
            titled && parent.is_none_or(|parent| parent.name != "postgres")
        }
        Err(_) => false,
    }
}

/// Asks a process to end. One that is gone already needs no asking.
pub(super) fn signal(pid: i32, signal: Signal) {
    let Some(target) = Pid::from_raw(pid) else {
        return;
    };
    if let Err(error) = kill_process(target, signal)
        && error != rustix::io::Errno::SRCH
    {
        tracing::warn!(pid, %error, "cannot signal postgres");
    }
}

fn has_proc() -> bool {
    Path::new("/proc/self/stat").exists()
}

fn arguments(pid: i32) -> Vec<Vec<u8>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect()
}

fn command_line(pid: i32) -> Vec<u8> {
    let output = Command::new("ps")
        .args(["-ww", "-o", "command=", "-p", &pid.to_string()])
        .output();
    output.map(|output| output.stdout).unwrap_or_default()
}

/// The start of `/proc/PID/stat`.
struct Stat {
    name: String,
    state: char,
    parent: i32,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&String::from_utf8_lossy(
            &fs::read(format!("/proc/{pid}/stat")).ok()?,
        ))
    }

    /// `PID (NAME) STATE PARENT …`, where the name may itself hold parentheses and spaces.
    fn parse(text: &str) -> Option<Self> {
        let (head, tail) = text.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let mut fields = tail.split_whitespace();
        let state = fields.next()?.chars().next()?;
        Some(Self {
            name: name.to_owned(),
            state,
            parent: fields.next()?.parse().ok()?,
        })
    }

    fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_read_by_line() {
        let text = "4711\n/d/postgres\n1700000000\n5432\n/d/run\n\n  123 456\nready   \n";
        let file = PidFile::parse(text).unwrap();
        assert_eq!(
            (file.pid, file.socket_folder.as_path()),
            (4711, Path::new("/d/run"))
        );
        assert!(file.is_ready());
    }

    #[test]
    fn a_half_written_pid_file_is_not_ready() {
        assert!(!PidFile::parse("4711\n/d/postgres\n").unwrap().is_ready());
        assert_eq!(PidFile::parse(""), None);
    }

    #[test]
    fn a_process_name_may_hold_anything() {
        let stat = Stat::parse("12 (odd) (name) Z 1 2 3").unwrap();
        assert_eq!(
            (stat.name.as_str(), stat.state, stat.parent),
            ("odd) (name", 'Z', 1)
        );
        assert!(!stat.is_alive());
    }

    #[test]
    fn a_zombie_is_dead() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let gone = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            !is_alive(pid)
        });
        assert!(gone || !has_proc(), "a zombie must not count as alive");
        child.wait().unwrap();
        assert!(!is_alive(pid));
    }

    #[test]
    fn a_number_that_now_belongs_to_another_is_no_postmaster() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(is_alive(me));
        assert!(!is_postmaster(me, Path::new("/nowhere/postgres")));
    }
}
