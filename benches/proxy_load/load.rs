//! The client: opens streams, reads each to its end, keeps every event's delay and a digest of the bytes.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use memchr::memmem::Finder;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::{
    job::{HEADER, Job, SUMS},
    material::{events::STAMP_DIGITS, wires::Shape},
    sum::{Running, Sum},
    upstream,
};

/// What all streams of one round showed.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Nanoseconds from the upstream's write to our read, of every event; empty in a burst.
    pub(crate) delays: Vec<u64>,
    /// HTTP chunks that streams which ended well came in.
    pub(crate) chunks: u64,
    /// From the first request to the last byte.
    pub(crate) took: Duration,
    /// Streams that did not end well.
    pub(crate) errors: usize,
    /// Streams whose bytes are not those that the upstream sent.
    pub(crate) wrong: usize,
    sums: BTreeMap<u64, Sum>,
}

/// Plays `jobs` through the proxy at `proxy`; asks `upstream` itself what it had sent.
pub(crate) async fn play(
    proxy: SocketAddr,
    upstream: SocketAddr,
    jobs: &[Job],
    limit: Duration,
) -> Seen {
    sums_of(upstream).await;
    let begin = Instant::now();
    let mut reading = JoinSet::new();
    for &job in jobs {
        reading.spawn(
            async move { (job, tokio::time::timeout(limit, read_stream(proxy, job)).await) },
        );
    }
    let mut seen = Seen::default();
    while let Some(ended) = reading.join_next().await {
        match ended.unwrap() {
            (job, Ok(Ok(stream))) => {
                seen.delays.extend(stream.delays);
                seen.chunks += stream.chunk_count;
                seen.sums.insert(job.stream, stream.sum.sum());
            }
            (_, Ok(Err(_)) | Err(_)) => seen.errors += 1,
        }
    }
    seen.took = begin.elapsed();
    let sent = sums_of(upstream).await;
    seen.wrong = seen.sums.iter().filter(|(stream, sum)| sent.get(stream) != Some(sum)).count();
    seen
}

async fn sums_of(upstream: SocketAddr) -> BTreeMap<u64, Sum> {
    let mut stream = TcpStream::connect(upstream).await.unwrap();
    let request = format!("GET {SUMS} HTTP/1.1\r\nhost: {upstream}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let line = |line: &str| {
        let mut numbers = line.split(' ').map(|number| number.parse().unwrap());
        let mut next = || numbers.next().unwrap();
        (next(), Sum { length: next(), hash: next() })
    };
    body.lines().map(line).collect()
}

/// One stream, as far as it was read.
struct Stream {
    shape: &'static dyn Shape,
    sum: Running,
    delays: Vec<u64>,
    /// Decoded bytes of an event that is not complete; only while delays are kept.
    event: Vec<u8>,
    keeps_delays: bool,
    chunks: Chunks,
    chunk_count: u64,
}

async fn read_stream(proxy: SocketAddr, job: Job) -> io::Result<Stream> {
    let mut socket = TcpStream::connect(proxy).await?;
    socket.set_nodelay(true)?;
    let shape = job.wire.shape();
    let (path, body) = (shape.path(), shape.request());
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {proxy}\r\ncontent-type: application/json\r\n\
         {HEADER}: {}\r\ncontent-length: {}\r\n\r\n{body}",
        job.to_header(),
        body.len(),
    );
    socket.write_all(request.as_bytes()).await?;
    let mut stream = Stream {
        shape,
        sum: Running::default(),
        delays: Vec::new(),
        event: Vec::new(),
        keeps_delays: !job.every.is_zero(),
        chunks: Chunks::Size(0),
        chunk_count: 0,
    };
    let mut buffer = vec![0; 64 << 10];
    let mut filled = 0;
    // The head, and what came with it.
    let body = loop {
        let read = socket.read(buffer.get_mut(filled..).unwrap()).await?;
        filled += read;
        let head = buffer.get(..filled).unwrap();
        if let Some(end) = memchr::memmem::find(head, b"\r\n\r\n") {
            break end + 4;
        }
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    if !buffer.starts_with(b"HTTP/1.1 200") {
        return Err(io::Error::other("not answered"));
    }
    stream.take(buffer.get(body..filled).unwrap())?;
    while stream.chunks != Chunks::End {
        let read = socket.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        stream.take(buffer.get(..read).unwrap())?;
    }
    Ok(stream)
}

impl Stream {
    /// Takes bytes of the wire.
    fn take(&mut self, wire: &[u8]) -> io::Result<()> {
        let now = if self.keeps_delays { upstream::now() } else { 0 };
        let mut chunks = std::mem::replace(&mut self.chunks, Chunks::End);
        let read = chunks.decode(wire, |bytes| {
            self.sum.write(bytes);
            if self.keeps_delays {
                self.event.extend_from_slice(bytes);
            }
        });
        self.chunks = chunks;
        self.chunk_count += read?;
        self.note_delays(now);
        Ok(())
    }

    fn note_delays(&mut self, now: u64) {
        let [before_stamp, end] =
            [self.shape.before_stamp(), self.shape.end_of_event()].map(Finder::new);
        let mut done = 0;
        while let Some(length) = end.find(self.event.get(done..).unwrap()) {
            let event = self.event.get(done..done + length).unwrap();
            if let Some(at) = before_stamp.find(event) {
                let at = at + before_stamp.needle().len();
                let stamp = std::str::from_utf8(event.get(at..at + STAMP_DIGITS).unwrap()).unwrap();
                self.delays.push(now.saturating_sub(stamp.parse().unwrap()));
            }
            done += length + end.needle().len();
        }
        self.event.drain(..done);
    }
}

/// Where in a chunked body the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunks {
    /// In a size line, with this size so far.
    Size(usize),
    /// In a chunk's data, with this much left.
    Data(usize),
    /// In the line end behind a chunk's data.
    DataEnd,
    /// Behind the last chunk.
    End,
}

impl Chunks {
    /// Gives the data of chunks to `take`; gives back how many chunks end in these bytes.
    fn decode(&mut self, mut wire: &[u8], mut take: impl FnMut(&[u8])) -> io::Result<u64> {
        let mut ended = 0;
        while let (Some((&byte, rest)), false) = (wire.split_first(), *self == Self::End) {
            match *self {
                Self::Size(size) => {
                    wire = rest;
                    *self = match byte {
                        b'\r' => continue,
                        b'\n' if size == 0 => Self::End,
                        b'\n' => Self::Data(size),
                        digit => {
                            let digit = char::from(digit).to_digit(16);
                            let digit = digit.ok_or_else(|| io::Error::other("no chunk size"))?;
                            Self::Size(size * 16 + digit as usize)
                        }
                    };
                }
                Self::Data(left) => {
                    let (data, rest) = wire.split_at(left.min(wire.len()));
                    take(data);
                    wire = rest;
                    *self = match left - data.len() {
                        0 => {
                            ended += 1;
                            Self::DataEnd
                        }
                        left => Self::Data(left),
                    };
                }
                Self::DataEnd => {
                    wire = rest;
                    if byte == b'\n' {
                        *self = Self::Size(0);
                    }
                }
                Self::End => {}
            }
        }
        Ok(ended)
    }
}
