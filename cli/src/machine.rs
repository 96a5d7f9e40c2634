//! This machine, as `cluster.servers` may name it.

use std::net::{IpAddr, UdpSocket};

use fanfare::tooling::config::is_loopback;

/// Whether a host is this machine: a name or an address of the loopback interface, one of its
/// addresses, or its name with or without a domain.
pub fn is_here(host: &str) -> bool {
    let name = rustix::system::uname();
    is_loopback(host) || is_own_address(host) || is_name(host, &name.nodename().to_string_lossy())
}

/// Whether this machine has the address: only then can a socket be bound to it.
fn is_own_address(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<IpAddr>().ok().filter(|ip| !ip.is_unspecified() && !ip.is_multicast());
    address.is_some_and(|ip| UdpSocket::bind((ip, 0)).is_ok())
}

fn is_name(host: &str, own: &str) -> bool {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let full = host.eq_ignore_ascii_case(own);
    let one_is_short = !host.contains('.') || !own.contains('.');
    let same = one_is_short && host.parse::<IpAddr>().is_err() && short(host) == short(own);
    !own.is_empty() && (full || same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_and_addresses_of_this_machine_are_here() {
        let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
        for host in ["localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]", "LOCALHOST", own.as_str()] {
            assert!(is_here(host), "{host}");
        }
        // Addresses for documentation, and names that nobody has.
        for host in ["192.0.2.7", "2001:db8::1", "0.0.0.0", "224.0.0.1", "other.example.test", ""] {
            assert!(!is_here(host), "{host}");
        }
    }

    #[test]
    fn a_name_counts_with_and_without_its_domain() {
        assert!(is_name("one", "one.example.test") && is_name("one.example.test", "ONE"));
        assert!(!is_name("one.example.test", "one.other.test") && !is_name("two", "one") && !is_name("", ""));
    }
}
