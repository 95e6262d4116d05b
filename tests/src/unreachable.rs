//! Addresses that nobody answers at.

use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};

/// An address that refuses connections for as long as the socket lives: it is bound, so that
/// nobody else gets the port, and does not listen.
pub fn refusing() -> (SocketAddr, TcpSocket) {
    let socket = TcpSocket::new_v4().expect("sockets are to be had");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("there is a free port");
    (socket.local_addr().expect("a bound socket has an address"), socket)
}

/// An address where a connection is neither accepted nor refused for as long as the value lives:
/// the backlog is full, so that the kernel drops further attempts.
pub async fn full_backlog() -> (SocketAddr, impl Sized) {
    let socket = TcpSocket::new_v4().expect("sockets are to be had");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("there is a free port");
    let listener = socket.listen(0).expect("a bound socket can listen");
    let address = listener.local_addr().expect("a bound socket has an address");
    let mut waiting = Vec::new();
    // A backlog of 0 takes one or two connections, by kernel.
    while let Ok(connected) =
        tokio::time::timeout(std::time::Duration::from_millis(200), TcpStream::connect(address)).await
    {
        waiting.push(connected.expect("the listener lives"));
    }
    (address, (listener, waiting))
}
