//! The file descriptors that the process may open, and the share of them that connections may use.

use std::fs;
use std::os::fd::AsRawFd;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that HTTP connections never use: 128 for the admin listener, the rest for reloads,
/// compiling, the log and the file watcher.
const RESERVED: usize = 192;

/// The number of open files that the host assumes when the system does not list them.
const ASSUMED_OPEN: usize = 64;

/// Raises the soft limit of file descriptors of this process (`ulimit -n`) to its hard limit, so
/// that a host can serve more connections. Call it before a host starts. The soft limit is low only
/// to protect programs that use `select`.
///
/// Returns the previous soft limit if it was lower, for child processes that need it.
///
/// ```
/// let _previous = fanfare::raise_descriptor_limit();
/// ```
pub fn raise_descriptor_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => current.filter(|_| current != maximum),
        // The host then serves fewer connections, and logs it.
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of file descriptors (`ulimit -n`) to the hard limit");
            None
        }
    }
}

/// The limit of file descriptors of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// The maximum number of open descriptors.
    pub limit: u64,
    /// The number of descriptors that HTTP connections never use.
    pub reserved: usize,
}

impl Descriptors {
    /// Reads the current limit from the system.
    pub fn read() -> Descriptors {
        Descriptors::of(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
    }

    /// Reserves at most half of the limit, so that a very low limit leaves some for connections.
    fn of(limit: u64) -> Descriptors {
        let half = usize::try_from(limit / 2).unwrap_or(usize::MAX);
        Descriptors { limit, reserved: half.min(RESERVED) }
    }

    /// Returns the number of open descriptors.
    pub fn in_use() -> usize {
        // Listing the folder opens one descriptor itself.
        fs::read_dir("/dev/fd").map_or(ASSUMED_OPEN, |entries| entries.count().saturating_sub(1))
    }

    /// Returns the number of connections that fit besides `in_use` open files: at most `wanted`,
    /// and at least one, because a host without connections serves no client.
    pub fn max_connections(&self, wanted: usize, in_use: usize) -> usize {
        let left = self.unreserved().saturating_sub(u64::try_from(in_use).unwrap_or(u64::MAX));
        wanted.min(usize::try_from(left).unwrap_or(usize::MAX)).max(1)
    }

    /// Whether a socket that was just accepted uses too much of the reserve. HTTP connections and
    /// other open files may use a sixth of it, so that a sixth remains for reloads and compiling
    /// when `admin_connections` fill the share of the admin listener. The system assigns the lowest
    /// free number to a socket, so the number tells how many files are open.
    pub fn uses_reserve(&self, socket: &impl AsRawFd, admin_connections: usize) -> bool {
        let others = self.reserved / 6;
        let floor = self.unreserved().saturating_add(u64::try_from(admin_connections + others).unwrap_or(u64::MAX));
        u64::try_from(socket.as_raw_fd()).is_ok_and(|number| number >= floor)
    }

    fn unreserved(&self) -> u64 {
        self.limit.saturating_sub(u64::try_from(self.reserved).unwrap_or(u64::MAX))
    }

    /// The maximum number of admin connections that the host serves at once. It accepts the same
    /// number beyond that, only to answer that there are too many.
    pub fn max_admin_connections(&self) -> usize {
        (self.reserved / 3).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_use_all_descriptors_except_the_reserve() {
        let plenty = Descriptors::of(65_536);
        assert_eq!((plenty.reserved, plenty.max_admin_connections()), (192, 64));
        assert_eq!(plenty.max_connections(10_000, 30), 10_000);
        assert_eq!(Descriptors::of(1_024).max_connections(10_000, 32), 800);
        assert_eq!(Descriptors::of(u64::MAX).max_connections(10_000, 32), 10_000);
    }

    #[test]
    fn half_of_a_very_low_limit_is_reserved() {
        let low = Descriptors::of(64);
        assert_eq!((low.reserved, low.max_admin_connections()), (32, 10));
        assert_eq!(low.max_connections(10_000, 20), 12);
        assert_eq!(low.max_connections(10_000, 60), 1);
    }

    #[test]
    fn the_number_of_a_socket_tells_whether_it_uses_the_reserve() {
        struct Number(i32);
        impl AsRawFd for Number {
            fn as_raw_fd(&self) -> i32 {
                self.0
            }
        }
        let descriptors = Descriptors::of(1_024);
        assert!(!descriptors.uses_reserve(&Number(832 + 31), 0));
        assert!(descriptors.uses_reserve(&Number(832 + 32), 0));
        assert!(!descriptors.uses_reserve(&Number(832 + 128 + 31), 128));
        assert!(descriptors.uses_reserve(&Number(832 + 128 + 32), 128));
    }

    #[test]
    fn open_files_are_counted() {
        let _files: Vec<_> = (0..200).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        assert!(Descriptors::in_use() > 200);
    }
}
