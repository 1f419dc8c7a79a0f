//! One client connection: HTTP/1.1, or HTTP/2 with prior knowledge.

use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulConnection},
};
use tokio::{
    net::TcpStream,
    runtime::Handle,
    time::{Instant, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    seldom::{Rung, Seldom},
    unread::{NotedBody, StreamExecutor},
};

/// The largest head of a request, and the most that one read or write buffers.
const BUFFER: usize = 64 << 10;

/// A frame of a stream is a few hundred bytes: to put it between the two lines of its chunk and send that costs less than
/// to have the kernel gather the three.
const VECTORED: bool = false;

/// Streams that one HTTP/2 connection may open.
const H2_STREAMS: u32 = 256;

/// What holds for every connection.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// Until a request's head has come.
    pub header_timeout: Duration,
    /// A write that the client does not take; on HTTP/2, a frame for which its stream has no window.
    pub write_timeout: Duration,
    /// Cancelled when connections are to end after their open exchanges.
    pub drain: CancellationToken,
    /// Cancelled when they are to end at once.
    pub abort: CancellationToken,
    /// Told when a connection learns of either.
    pub rung: Rung,
    /// The owner of the tasks that HTTP/2 streams run in.
    pub tasks: TaskTracker,
    /// Where these run: one connection may bring the load of many.
    pub streams: Handle,
}

/// Serves `stream` until it ends, is drained or aborted.
pub async fn serve_connection<S, F, B>(stream: TcpStream, settings: ConnectionSettings, service: S)
where
    S: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if stream.set_nodelay(true).is_err() {
        // The peer is gone already.
        return;
    }
    let Ok(Ok(version)) = timeout(settings.header_timeout, told_version(&stream)).await else {
        return;
    };
    let mut timed = TimeoutStream::new(stream);
    timed.set_write_timeout(Some(settings.write_timeout));
    // Of a version that is known, hyper waits for the first head as for every other.
    let asked = (version == Told::Perhaps2).then(Arc::<AtomicBool>::default);
    let service = service_fn({
        let asked = asked.clone();
        move |request| {
            if let Some(asked) = &asked {
                asked.store(true, Ordering::Relaxed);
            }
            // hyper keeps room for this future as long as the connection lives; the box is freed with the response's head.
            let response = Box::pin(service(request));
            async move { Ok::<_, Infallible>(NotedBody::of(response.await)) }
        }
    });
    let io = TokioIo::new(Box::pin(timed));
    match version {
        Told::Http1 => {
            let connection = pin!(http1_builder(&settings).serve_connection(io, service));
            drive(connection, &settings, asked.as_deref()).await;
        }
        // Boxed, or every HTTP/1.1 connection would keep room for it.
        Told::Perhaps2 => {
            let builder = auto_builder(&settings);
            let mut connection = Box::pin(builder.serve_connection(io, service));
            drive(connection.as_mut(), &settings, asked.as_deref()).await;
        }
    }
}

/// Lets a connection run until it ends by itself or is told to. `asked` is true once a request's head has come, where hyper
/// does not see to that: its own timeout begins only when it knows the protocol's version.
async fn drive<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    settings: &ConnectionSettings,
    asked: Option<&AtomicBool>,
) {
    let first_head = asked.map(|_| Instant::now() + settings.header_timeout);
    let mut awaited = Awaited { drain: true, first_head };
    let mut signal = pin!(Seldom::new(&settings.rung, next_signal(settings, awaited)));
    loop {
        tokio::select! {
            biased;
            signal = &mut signal => match signal {
                Signal::Abort => return,
                Signal::Drain => {
                    awaited.drain = false;
                    connection.as_mut().graceful_shutdown();
                }
                Signal::FirstHeadDue => {
                    awaited.first_head = None;
                    if asked.is_some_and(|asked| !asked.load(Ordering::Relaxed)) {
                        return;
                    }
                }
            },
            ended = connection.as_mut() => {
                if ended.is_err() {
                    tracing::debug!(code = "connection_broke");
                }
                return;
            }
        }
        signal.set(Seldom::new(&settings.rung, next_signal(settings, awaited)));
    }
}

/// What a connection is told from outside.
#[derive(Clone, Copy, Debug)]
enum Signal {
    /// End at once.
    Abort,
    /// End after the open exchange.
    Drain,
    /// The first head ought to be here.
    FirstHeadDue,
}

/// What was not told yet.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    drain: bool,
    first_head: Option<Instant>,
}

async fn next_signal(settings: &ConnectionSettings, awaited: Awaited) -> Signal {
    let first_head = async {
        match awaited.first_head {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = settings.abort.cancelled() => Signal::Abort,
        () = settings.drain.cancelled(), if awaited.drain => Signal::Drain,
        () = first_head => Signal::FirstHeadDue,
    }
}

/// What the first bytes tell about the protocol's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// HTTP/1.
    Http1,
    /// HTTP/2, or not enough bytes to tell.
    Perhaps2,
}

/// Looks at the first bytes without taking them: hyper's own detection takes them, and then reads every HTTP/1.1
/// connection into a buffer of twice the size.
async fn told_version(stream: &TcpStream) -> io::Result<Told> {
    const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut first = [0; PREFACE.len()];
    let count = stream.peek(&mut first).await?;
    let first = first.get(..count).unwrap_or_default();
    Ok(if PREFACE.starts_with(first) { Told::Perhaps2 } else { Told::Http1 })
}

fn http1_builder(settings: &ConnectionSettings) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .writev(VECTORED)
        .max_buf_size(BUFFER);
    builder
}

fn auto_builder(settings: &ConnectionSettings) -> auto::Builder<StreamExecutor> {
    let executor = StreamExecutor {
        tasks: settings.tasks.clone(),
        runtime: settings.streams.clone(),
        write_timeout: settings.write_timeout,
    };
    let mut builder = auto::Builder::new(executor);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .writev(VECTORED)
        .max_buf_size(BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_mins(1))
        .max_concurrent_streams(H2_STREAMS)
        .max_send_buf_size(BUFFER)
        .max_header_list_size(64 << 10);
    builder
}
