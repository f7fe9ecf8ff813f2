//! Free ports for nodes that are killed and come back. Not port 0: the system hands out those from
//! the range of outgoing connections, and while a node is dead any client's connection (even a
//! dialling of that very port, which on loopback may meet itself) could take its port away.

use rand::TryRng;
use rand::rngs::SysRng;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// Below the outgoing range of Linux (32768 and up), above the ports that services like.
const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;
/// Ports tried before giving up; with half of the range taken, all of them fail once in 10^30.
const TRIES_MAX: usize = 100;

/// A loopback address that was free a moment ago for TCP and UDP, and is not among `taken`.
pub(crate) fn free(taken: &[SocketAddr]) -> std::io::Result<SocketAddr> {
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrInUse);
    for _ in 0..TRIES_MAX {
        // Not from the run's seed: two runs with one seed must not meet on one port.
        let random = SysRng.try_next_u32().map_err(std::io::Error::other)?;
        let Ok(port) = u16::try_from(FIRST + random % COUNT) else { continue };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if taken.contains(&address) {
            continue;
        }
        match (TcpListener::bind(address), UdpSocket::bind(address)) {
            (Ok(_), Ok(_)) => return Ok(address),
            (Err(error), _) | (_, Err(error)) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_can_be_bound() {
        let one = free(&[]).unwrap();
        let two = free(&[one]).unwrap();
        assert_ne!(one, two);
        assert!(one.port() < 32_768);
        TcpListener::bind(one).unwrap();
    }
}
