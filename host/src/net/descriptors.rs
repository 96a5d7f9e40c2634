//! File descriptors: how many the process may open, and how many of them connections may use.

use std::fs;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that connections never use: 128 for the admin listener, the rest for reloads,
/// compiling, the log and the watcher.
const RESERVED: usize = 192;

/// The assumed number of open files where the system does not list them.
const GUESS: usize = 64;

/// The soft limit before [`raise_limit`].
static ORIGINAL: OnceLock<u64> = OnceLock::new();

/// Raises the soft limit of this process to its hard limit, as servers do: the soft one is low only
/// for the sake of programs that use `select`.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    match (raised, current) {
        (Ok(()), Some(soft)) if current != maximum => _ = ORIGINAL.set(soft),
        (Ok(()), _) => {}
        // The host then serves fewer connections, and logs it.
        (Err(error), _) => tracing::warn!(%error, "the limit of file descriptors (`ulimit -n`) cannot be raised"),
    }
}

/// The soft limit that programs which this process starts should have: the one before
/// [`raise_limit`], if that changed it.
pub fn original_limit() -> Option<u64> {
    ORIGINAL.get().copied()
}

/// The descriptors of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// The largest number that the process may have open.
    pub limit: u64,
    /// The number of them that connections never use.
    pub reserved: usize,
}

impl Descriptors {
    /// Reads the limits that the system sets now.
    pub fn read() -> Descriptors {
        Descriptors::of(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
    }

    /// Under a very low limit half of it is reserved, so that both sides get something.
    fn of(limit: u64) -> Descriptors {
        let half = usize::try_from(limit / 2).unwrap_or(usize::MAX);
        Descriptors { limit, reserved: half.min(RESERVED) }
    }

    /// Returns the number of open descriptors.
    pub fn in_use() -> usize {
        // One of them is the folder that is being read.
        fs::read_dir("/dev/fd").map_or(GUESS, |entries| entries.count().saturating_sub(1))
    }

    /// How many connections there may be at once, of `wanted` ones, beside `in_use` open files. At
    /// least one, or the host would serve nobody.
    pub fn connections(&self, wanted: usize, in_use: usize) -> usize {
        let left = self.unreserved().saturating_sub(u64::try_from(in_use).unwrap_or(u64::MAX));
        wanted.min(usize::try_from(left).unwrap_or(usize::MAX)).max(1)
    }

    /// Whether a socket that was just accepted needs the reserve: whether the files that are open
    /// leave less than a sixth of it for reloads and compiling, besides the `admin_connections`,
    /// which have their own part. The system hands out the lowest free number, so a number tells
    /// how many are open.
    pub fn needs_reserve(&self, socket: &impl AsRawFd, admin_connections: usize) -> bool {
        let others = self.reserved / 6;
        let floor = self.unreserved().saturating_add(u64::try_from(admin_connections + others).unwrap_or(u64::MAX));
        u64::try_from(socket.as_raw_fd()).is_ok_and(|number| number >= floor)
    }

    fn unreserved(&self) -> u64 {
        self.limit.saturating_sub(u64::try_from(self.reserved).unwrap_or(u64::MAX))
    }

    /// How many connections of the admin listener are served at once, and as many again are told
    /// that there are too many.
    pub fn admin_places(&self) -> usize {
        (self.reserved / 3).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_what_the_reserve_leaves() {
        let plenty = Descriptors::of(65_536);
        assert_eq!((plenty.reserved, plenty.admin_places()), (192, 64));
        assert_eq!(plenty.connections(10_000, 30), 10_000);
        assert_eq!(Descriptors::of(1_024).connections(10_000, 32), 800);
        assert_eq!(Descriptors::of(u64::MAX).connections(10_000, 32), 10_000);
    }

    #[test]
    fn a_very_low_limit_is_halved() {
        let low = Descriptors::of(64);
        assert_eq!((low.reserved, low.admin_places()), (32, 10));
        assert_eq!(low.connections(10_000, 20), 12);
        assert_eq!(low.connections(10_000, 60), 1);
    }

    #[test]
    fn a_number_tells_whether_a_socket_needs_the_reserve() {
        struct Number(i32);
        impl AsRawFd for Number {
            fn as_raw_fd(&self) -> i32 {
                self.0
            }
        }
        let descriptors = Descriptors::of(1_024);
        assert!(!descriptors.needs_reserve(&Number(832 + 31), 0));
        assert!(descriptors.needs_reserve(&Number(832 + 32), 0));
        assert!(!descriptors.needs_reserve(&Number(832 + 128 + 31), 128));
        assert!(descriptors.needs_reserve(&Number(832 + 128 + 32), 128));
    }

    #[test]
    fn open_files_are_counted() {
        let _files: Vec<_> = (0..200).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        assert!(Descriptors::in_use() > 200);
    }
}
