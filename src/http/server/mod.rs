//! The server: listeners, connections, limits, and an end that loses no request.
//!
//! [`Server::bind`] takes the address, [`Server::run`] serves until it is told to stop and then drains: no connection
//! is accepted any more, requests under way are finished, idle connections are closed; what takes longer than the
//! drain timeout is cut. What answers is a router of any kind. [`connection::serve`] serves one connection over any
//! other transport.

pub mod connection;
pub mod limits;
mod listen;
pub mod maintenance;
mod timed;
pub mod tls;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

pub use connection::{Peer, Site, Versions};
pub use limits::Limits;
pub use listen::Address;
use listen::{Accepted, Listener};

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: Address,
        /// Why.
        cause: io::Error,
    },
}

impl ServeError {
    /// Whether another server has the address.
    pub fn is_in_use(&self) -> bool {
        let Self::Listen { cause, .. } = self;
        cause.kind() == io::ErrorKind::AddrInUse
    }
}

/// How the server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request was answered.
    All,
    /// So many connections were cut.
    Cut(usize),
}

/// A server that has its address.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    address: Address,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Server {
    /// Takes the address; clients may connect from now on, and wait. With `tls`, they must speak it.
    pub async fn bind(address: &Address, tls: Option<Arc<rustls::ServerConfig>>) -> Result<Self, ServeError> {
        let listener = Listener::bind(address).await?;
        let address = listener.address().map_err(|cause| ServeError::Listen { address: address.clone(), cause })?;
        Ok(Self { listener, address, tls })
    }

    /// Where it listens: the port that was found, if any was asked for.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Serves until `stop` is ready, then drains.
    pub async fn run(self, site: Site, stop: impl Future<Output = ()>) -> Drained {
        let drain_timeout = site.limits.drain_timeout;
        let places = Arc::new(Semaphore::new(site.limits.connections));
        let site = Arc::new(site);
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                _ = connections.join_next(), if !connections.is_empty() => {}
                (place, accepted) = self.accept(&places) => {
                    let connection = Connection { site: Arc::clone(&site), watcher: graceful.watcher(), place };
                    connection.spawn(accepted, self.tls.clone(), &mut connections);
                }
            }
        }
        // From here on nobody can connect: the socket is closed before the last requests are answered.
        drop(self);
        if timeout(drain_timeout, graceful.shutdown()).await.is_ok() {
            return Drained::All;
        }
        while connections.try_join_next().is_some() {}
        let left = connections.len();
        connections.shutdown().await;
        if left == 0 { Drained::All } else { Drained::Cut(left) }
    }

    /// The next connection, when there is a place for it.
    async fn accept(&self, places: &Arc<Semaphore>) -> (Option<OwnedSemaphorePermit>, Accepted) {
        // The semaphore is never closed.
        let place = Arc::clone(places).acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return (place, accepted),
                // The client has gone again.
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(e) => {
                    tracing::warn!(error = %e, "cannot accept a connection");
                    sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MILLIS)).await;
                }
            }
        }
    }
}

/// What a connection takes along.
struct Connection {
    site: Arc<Site>,
    watcher: Watcher,
    place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn spawn(self, accepted: Accepted, tls: Option<Arc<rustls::ServerConfig>>, connections: &mut JoinSet<()>) {
        match accepted {
            Accepted::Tcp(stream, peer) => connections.spawn(self.serve(stream, peer, tls)),
            Accepted::Unix(stream) => connections.spawn(self.serve(stream, Peer::Unix, tls)),
        };
    }

    async fn serve<I>(self, io: I, peer: Peer, tls: Option<Arc<rustls::ServerConfig>>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { site, watcher, place } = self;
        match tls {
            None => connection::serve(io, peer, site, watcher).await,
            Some(config) => {
                let handshake = timeout(site.limits.header_timeout, TlsAcceptor::from(config).accept(io));
                match handshake.await {
                    Ok(Ok(io)) => connection::serve(io, peer, site, watcher).await,
                    Ok(Err(e)) => tracing::debug!(peer = %peer, error = %e, "no TLS connection came about"),
                    Err(_) => tracing::debug!(peer = %peer, "a TLS handshake took too long"),
                }
            }
        }
        drop(place);
    }
}
