//! The accept loop.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

/// How long the loop rests when no connection can be accepted, so that others can close theirs.
const REST: Duration = Duration::from_millis(50);

/// When accepting ends, and how many connections may be open at a time.
#[derive(Clone, Debug)]
pub struct Accepting {
    /// Cancelled when no more connections are wanted.
    pub stop: CancellationToken,
    /// One permit per connection; no limit where absent.
    pub limit: Option<Arc<Semaphore>>,
}

/// Accepts until told to stop and hands each connection, with its permit, to `serve`.
pub async fn accept_connections(
    listener: TcpListener,
    accepting: Accepting,
    mut serve: impl FnMut(TcpStream, Option<OwnedSemaphorePermit>),
) {
    loop {
        let next = tokio::select! {
            biased;
            () = accepting.stop.cancelled() => return,
            next = accept(&listener, accepting.limit.as_ref()) => next,
        };
        match next {
            Ok((stream, permit)) => serve(stream, permit),
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                // EMFILE and its kin pass when connections close; the ones that wait stay in the queue.
                tracing::warn!(code = "accept_failed", os_error = error.raw_os_error());
                tokio::time::sleep(REST).await;
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    limit: Option<&Arc<Semaphore>>,
) -> io::Result<(TcpStream, Option<OwnedSemaphorePermit>)> {
    let permit = match limit {
        Some(limit) => Arc::clone(limit).acquire_owned().await.ok(),
        None => None,
    };
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
