use std::net::SocketAddr;

/// How many sockets of this machine's processes are connected to the address, or trying: those of
/// the side that connected. Linux alone tells.
pub fn connections_to(address: SocketAddr) -> usize {
    let SocketAddr::V4(address) = address else { return 0 };
    let remote = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    table
        .lines()
        .filter(|line| {
            let mut fields = line.split_ascii_whitespace();
            // What has no inode is what the system keeps of a socket that is closed.
            fields.nth(2) == Some(&remote) && fields.nth(6).is_some_and(|inode| inode != "0")
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg_attr(not(target_os = "linux"), ignore = "reads /proc")]
    #[tokio::test]
    async fn a_socket_is_counted_for_as_long_as_it_is_held() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        assert_eq!(connections_to(address), 0);
        let one = tokio::net::TcpStream::connect(address).await.expect("somebody listens");
        let two = tokio::net::TcpStream::connect(address).await.expect("somebody listens");
        assert_eq!(connections_to(address), 2);
        drop((one, two));
        assert_eq!(connections_to(address), 0);
    }
}
