//! Puts Pingora's proxy together with a connector of our own.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;

use futures::FutureExt;
use pingora_core::apps::HttpServerOptions;
use pingora_core::server::Fds;
use pingora_core::server::configuration::ServerConf;
use pingora_core::services::Service as _;
use pingora_proxy::{ProcessCustomSession, ProxyServiceBuilder};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::Proxy;
use super::connector::Connector;
use super::phases::Phases;

/// Pingora makes such a proxy only as part of a service, which gives it to nobody but those that serve
/// connections of a protocol of their own. So a service is started for long enough to accept one
/// connection, ours, and the proxy is taken from there.
pub(super) async fn proxy(conf: ServerConf, connector: Connector, phases: Phases) -> io::Result<Arc<Proxy>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;

    let (give, mut take) = mpsc::channel(1);
    let serve: ProcessCustomSession<Phases, Connector> = Arc::new(move |proxy, _, _| {
        // Only the first is wanted; whoever else may connect gets nothing.
        let _ = give.try_send(proxy);
        async { None }.boxed()
    });
    let mut options = HttpServerOptions::default();
    options.force_custom = true;
    // Refused with an answer of our own; Pingora's would name Pingora.
    options.allow_connect_method_proxying = true;
    let mut service =
        ProxyServiceBuilder::new(&Arc::new(conf), phases).custom(connector, serve).server_options(options).build();
    service.add_tcp(&address.to_string());
    let mut sockets = Fds::new();
    sockets.add(address.to_string(), listener.into_raw_fd());

    let (stop, stopped) = watch::channel(false);
    let connection = TcpStream::connect(address).await?;
    let proxy = tokio::select! {
        proxy = take.recv() => proxy,
        () = service.start_service(Some(Arc::new(sockets.into())), stopped, 1) => None,
    };
    // Ends the task that accepts, and with it the socket.
    let _ = stop.send(true);
    drop(connection);
    proxy.ok_or_else(|| io::Error::other("the service ended before it accepted a connection"))
}
