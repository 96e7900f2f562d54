//! Admin connections, bounded: so many at once, and each for so long. A client that opens them and says nothing cannot keep others
//! from the pages, nor use up the descriptors of the cache's own clients.

use crate::limits;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// A listener that holds back what would be too many connections.
pub struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
    lifetime: Duration,
}

impl Bounded {
    pub fn new(listener: TcpListener) -> Bounded {
        let lifetime = Duration::from_secs(limits::ADMIN_CONNECTION_S);
        Bounded { listener, places: Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS)), lifetime }
    }
}

impl axum::serve::Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                // The semaphore lives as long as this listener and is never closed.
                unreachable!("the semaphore is not closed");
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let ends = Box::pin(sleep(self.lifetime));
                    return (Connection { stream, ends, _place: place }, peer);
                }
                // Out of descriptors, or the peer has gone: try again, but not in a busy loop.
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One admin connection. When its time is over it reads as ended.
pub struct Connection {
    stream: TcpStream,
    ends: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ends.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.ends.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::serve::Listener;
    use std::future::poll_fn;

    #[tokio::test(flavor = "current_thread")]
    async fn places_are_bounded_and_come_back_when_time_is_over() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut bounded =
            Bounded { listener, places: Arc::new(Semaphore::new(1)), lifetime: Duration::from_millis(30) };
        let address = bounded.local_addr().unwrap();
        let _silent = TcpStream::connect(address).await.unwrap();
        let _waiting = TcpStream::connect(address).await.unwrap();
        let (mut first, _) = bounded.accept().await;
        let second = tokio::time::timeout(Duration::from_millis(10), bounded.accept()).await;
        assert!(second.is_err(), "the only place is taken");
        let mut space = [0; 8];
        let mut space = ReadBuf::new(&mut space);
        let error = poll_fn(|cx| Pin::new(&mut first).poll_read(cx, &mut space)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(first);
        tokio::time::timeout(Duration::from_secs(5), bounded.accept()).await.expect("a place is free again");
    }
}
