//! A fake model server on loopback. It costs little: an event is a few strings put together.
//!
//! A paced stream is written by one thread that serves all of them by a heap of due times; a burst is written by
//! its connection's own thread, one write an event, as a server does that flushes after each.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    job::{HEADER, Job, SUMS},
    material::{events::Script, wires::Wire},
    sum::{Running, Sum},
};

/// Serves until it is killed; tells its address on standard output.
pub(crate) fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    super::process::announce(listener.local_addr().unwrap());
    let shared = Arc::new(Shared { script: Script::new(), sums: Mutex::default() });
    let (pacer, jobs) = channel();
    let pacing = Arc::clone(&shared);
    thread::spawn(move || pace(&pacing.script, &jobs));
    for stream in listener.incoming().flatten() {
        let (shared, pacer) = (Arc::clone(&shared), pacer.clone());
        let serving = thread::Builder::new().stack_size(128 << 10);
        // A proxy that goes away ends its connections: nothing to report.
        serving.spawn(move || drop(serve_connection(&stream, &shared, &pacer))).unwrap();
    }
}

struct Shared {
    script: Script,
    sums: Mutex<BTreeMap<u64, Sum>>,
}

fn serve_connection(stream: &TcpStream, shared: &Shared, pacer: &Sender<Paced>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(4096, stream.try_clone()?);
    loop {
        let Some(request) = read_request(&mut reader)? else { return Ok(()) };
        let mut sending = Sending::new(stream.try_clone()?, request.job);
        if request.sums {
            send_sums(stream, shared)?;
            continue;
        }
        sending.head()?;
        let sending = if request.job.every.is_zero() {
            while sending.step(&shared.script)? {}
            sending
        } else {
            let (done, finished) = channel();
            let paced = Paced { due: Instant::now() + request.job.delay, sending, done };
            pacer.send(paced).map_err(io::Error::other)?;
            finished.recv().map_err(io::Error::other)?
        };
        sending.finish(shared)?;
    }
}

fn send_sums(mut stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    let sums = std::mem::take(&mut *shared.sums.lock().unwrap());
    let line = |(stream, sum): (u64, Sum)| format!("{stream} {} {}\n", sum.length, sum.hash);
    let body: String = sums.into_iter().map(line).collect();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

struct Request {
    job: Job,
    sums: bool,
}

fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let sums = line.split(' ').nth(1) == Some(SUMS);
    let nothing = Duration::ZERO;
    let mut job =
        Job { wire: Wire::Chat, stream: 0, events: 0, every: nothing, delay: nothing, at_once: 1 };
    let mut length = 0;
    let mut chunked = false;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case(HEADER) {
            job = Job::of_header(value).ok_or(io::ErrorKind::InvalidData)?;
        } else if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(io::Error::other)?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = true;
        }
    }
    if chunked {
        skip_chunks(reader)?;
    }
    io::copy(&mut reader.take(length), &mut io::sink())?;
    Ok(Some(Request { job, sums }))
}

/// Reads a body in chunked coding, as an Envoy sends it on whose length may have changed.
fn skip_chunks(reader: &mut BufReader<TcpStream>) -> io::Result<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        // The chunk, and the end of its line.
        io::copy(&mut reader.take(size + 2), &mut io::sink())?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// A stream that is being sent.
struct Sending {
    stream: TcpStream,
    job: Job,
    sent: u64,
    sum: Running,
    buffer: Vec<u8>,
}

impl Sending {
    fn new(stream: TcpStream, job: Job) -> Self {
        Self { stream, job, sent: 0, sum: Running::default(), buffer: Vec::new() }
    }

    fn head(&mut self) -> io::Result<()> {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {}\r\ncache-control: no-cache\r\n\
             transfer-encoding: chunked\r\n\r\n",
            self.job.wire.shape().content_type()
        );
        self.stream.write_all(head.as_bytes())
    }

    /// Sends what goes in one write; false when nothing is left.
    fn step(&mut self, script: &Script) -> io::Result<bool> {
        let Job { wire, stream, events, at_once, .. } = self.job;
        if self.sent == events {
            return Ok(false);
        }
        self.buffer.clear();
        let until = (self.sent + at_once).min(events);
        let (stream, stamp) = (script.stream(wire, stream, events), now());
        for position in self.sent..until {
            let event = stream.event(position, stamp);
            self.chunk(&event)?;
        }
        self.sent = until;
        self.stream.write_all(&self.buffer)?;
        Ok(true)
    }

    fn chunk(&mut self, events: &str) -> io::Result<()> {
        self.sum.write(events.as_bytes());
        write!(self.buffer, "{:x}\r\n{events}\r\n", events.len())
    }

    /// The sum is known before the end is sent, so that whoever has read the end can ask for it.
    fn finish(mut self, shared: &Shared) -> io::Result<()> {
        let Job { wire, stream, events, .. } = self.job;
        self.buffer.clear();
        self.chunk(&shared.script.stream(wire, stream, events).ending())?;
        shared.sums.lock().unwrap().insert(stream, self.sum.sum());
        self.buffer.extend_from_slice(b"0\r\n\r\n");
        self.stream.write_all(&self.buffer)
    }
}

/// Nanoseconds since 1970: one clock for both ends.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}

/// A stream whose next event is due at a time.
struct Paced {
    due: Instant,
    sending: Sending,
    done: Sender<Sending>,
}

/// Sends every stream's events at their times.
fn pace(script: &Script, jobs: &Receiver<Paced>) {
    let mut streams: BTreeMap<u64, Paced> = BTreeMap::new();
    let mut due: BinaryHeap<Reverse<(Instant, u64)>> = BinaryHeap::new();
    let mut last = 0;
    loop {
        let wait = due.peek().map_or(Duration::from_hours(1), |Reverse((at, _))| {
            at.saturating_duration_since(Instant::now())
        });
        match jobs.recv_timeout(wait) {
            Ok(paced) => {
                last += 1;
                due.push(Reverse((paced.due, last)));
                streams.insert(last, paced);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        while let Some(&Reverse((at, id))) = due.peek()
            && at <= now
        {
            due.pop();
            let Some(paced) = streams.get_mut(&id) else { continue };
            if let Ok(true) = paced.sending.step(script) {
                due.push(Reverse((at + paced.sending.job.every, id)));
            } else if let Some(paced) = streams.remove(&id) {
                // Its connection's thread may have ended with the connection.
                drop(paced.done.send(paced.sending));
            }
        }
    }
}
