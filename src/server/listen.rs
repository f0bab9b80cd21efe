//! Sockets: binding them, and accepting while there is room.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::{Error, Limits, connection};

/// Connections that the kernel keeps waiting.
const BACKLOG: i32 = 1024;
/// How long sent bytes may go unacknowledged: ends connections whose other side is gone or does not read.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// The two sockets, bound and listening, not yet served.
#[derive(Debug)]
pub struct Listeners {
    https: StdListener,
    ops: StdListener,
}

impl Listeners {
    /// Binds both. An IPv6 wildcard takes IPv4 too, and is an IPv4 wildcard on a machine without IPv6.
    pub fn bind(https: SocketAddr, ops: SocketAddr) -> Result<Self, Error> {
        Ok(Self {
            https: bind(https)?,
            ops: bind(ops)?,
        })
    }

    /// The address of the webhook, with the port that was chosen.
    pub fn https_address(&self) -> io::Result<SocketAddr> {
        self.https.local_addr()
    }

    /// The address of probes and metrics, with the port that was chosen.
    pub fn ops_address(&self) -> io::Result<SocketAddr> {
        self.ops.local_addr()
    }

    pub(super) fn into_parts(self) -> Result<(TcpListener, TcpListener), Error> {
        Ok((hand_over(self.https)?, hand_over(self.ops)?))
    }
}

fn hand_over(listener: StdListener) -> Result<TcpListener, Error> {
    let address = listener.local_addr();
    TcpListener::from_std(listener).map_err(|source| Error::Bind {
        address: address.unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into()),
        source,
    })
}

fn bind(address: SocketAddr) -> Result<StdListener, Error> {
    match listen(address) {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() && no_ipv6(&error) => {
            let fallback = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            tracing::info!(%address, %fallback, "this machine has no IPv6: listening on IPv4 only");
            listen(fallback).map_err(|source| (fallback, source))
        }
        outcome => outcome.map_err(|source| (address, source)),
    }
    .map_err(|(address, source)| Error::Bind { address, source })
}

fn no_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

fn listen(address: SocketAddr) -> io::Result<StdListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Accepted connections inherit these.
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// One listener's way in.
pub(super) struct Door {
    pub(super) router: Router,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) limits: Limits,
    pub(super) connections: Gauge,
    pub(super) handshake_failures: Counter,
}

impl Door {
    /// Accepts until told to close, never more connections at a time than allowed.
    pub(super) async fn open(
        self: Arc<Self>,
        listener: TcpListener,
        mut closing: watch::Receiver<()>,
    ) {
        let slots = Arc::new(Semaphore::new(self.limits.connections));
        loop {
            let next = async {
                // Never closed, so always a permit.
                let slot = slots.clone().acquire_owned().await.ok();
                (slot, accept(&listener).await)
            };
            let (slot, stream) = tokio::select! {
                _ = closing.changed() => return,
                next = next => next,
            };
            let (door, closing) = (self.clone(), closing.clone());
            tokio::spawn(async move {
                door.connections.inc();
                connection::serve(&door, stream, closing).await;
                door.connections.dec();
                drop(slot);
            });
        }
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // The connection's own fault, and its end.
            Err(error) if is_gone(&error) => {}
            // Ours, most likely too many open files: only time helps.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
