//! A model server that does what its script says, byte for byte.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};

use super::{eventually, soon};

/// Lets a script go on when the test says so.
#[derive(Clone, Debug)]
pub(crate) struct Signal(Arc<Semaphore>);

/// What happens after a request was read.
#[derive(Clone, Debug)]
enum Step {
    Send(Vec<u8>),
    Flood { chunk: Vec<u8>, times: usize },
    Wait(Signal),
    UntilPeerCloses,
    Close,
    Reset,
}

/// The answer to one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    steps: Vec<Step>,
    before_body: bool,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    requests: Mutex<Vec<Recorded>>,
    sent: AtomicUsize,
    peers_gone: AtomicUsize,
    connections: AtomicUsize,
}

/// The running server.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

// === impl Signal ===

impl Signal {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    pub(crate) fn give(&self) {
        self.0.add_permits(1);
    }

    async fn wait(&self) {
        self.0.acquire().await.expect("never closed").forget();
    }
}

// === impl Script ===

impl Script {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A whole response with a length.
    pub(crate) fn answer(kind: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Self::new().send(head).send(body)
    }

    /// The head of a stream in chunked coding.
    pub(crate) fn stream() -> Self {
        Self::stream_of("text/event-stream")
    }

    /// The same with another content type.
    pub(crate) fn stream_of(content_type: &str) -> Self {
        Self::new().send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
        ))
    }

    /// One chunk of chunked coding.
    pub(crate) fn chunk(self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let mut coded = format!("{:x}\r\n", bytes.len()).into_bytes();
        coded.extend_from_slice(bytes);
        coded.extend_from_slice(b"\r\n");
        self.send(coded)
    }

    /// The last chunk.
    pub(crate) fn end(self) -> Self {
        self.send("0\r\n\r\n")
    }

    pub(crate) fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Send(bytes.as_ref().to_vec()))
    }

    pub(crate) fn flood(self, chunk: impl AsRef<[u8]>, times: usize) -> Self {
        self.then(Step::Flood { chunk: chunk.as_ref().to_vec(), times })
    }

    pub(crate) fn wait(self, signal: &Signal) -> Self {
        self.then(Step::Wait(signal.clone()))
    }

    pub(crate) fn until_peer_closes(self) -> Self {
        self.then(Step::UntilPeerCloses)
    }

    pub(crate) fn close(self) -> Self {
        self.then(Step::Close)
    }

    pub(crate) fn reset(self) -> Self {
        self.then(Step::Reset)
    }

    /// Does not read the request's body.
    pub(crate) fn before_body(mut self) -> Self {
        self.before_body = true;
        self
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

// === impl Upstream ===

impl Upstream {
    /// Answers every request with `script`.
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(connection(stream, script.clone(), Arc::clone(&shared)));
            }
        });
        Self { address, state, task }
    }

    /// Answers each request with the next of `scripts`, and what comes after them with the last.
    pub(crate) async fn start_in_turn(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let scripts = Arc::new(scripts);
        let task = tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let (scripts, shared) = (Arc::clone(&scripts), Arc::clone(&shared));
                tokio::spawn(async move {
                    stream.set_nodelay(true).expect("a socket");
                    while let Some(request) = read_request(&mut stream, true).await {
                        let turn = {
                            let mut requests = shared.requests.lock().expect("no panic");
                            requests.push(request);
                            requests.len().min(scripts.len()) - 1
                        };
                        if !play(&mut stream, &scripts[turn], &shared).await {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, state, task }
    }

    /// The same behind TLS.
    pub(crate) async fn start_tls(script: Script, acceptor: tokio_rustls::TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (acceptor, script, shared) =
                    (acceptor.clone(), script.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, &script, &shared).await;
                    }
                });
            }
        });
        Self { address, state, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.state.requests.lock().expect("no panic").clone()
    }

    /// Bytes of responses that could be written so far.
    pub(crate) fn sent(&self) -> usize {
        self.state.sent.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Waits until `count` requests have come.
    pub(crate) async fn received(&self, count: usize) {
        eventually("a request at the upstream", || self.requests().len() >= count).await;
    }

    /// Waits until `count` peers have gone while a script was still going on.
    pub(crate) async fn cancelled(&self, count: usize) {
        eventually("the upstream's cancellation", || {
            self.state.peers_gone.load(Ordering::SeqCst) >= count
        })
        .await;
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(stream: TcpStream, script: Script, state: Arc<State>) {
    stream.set_nodelay(true).expect("a socket");
    let resets = script.steps.iter().any(|step| matches!(step, Step::Reset));
    if resets {
        // Closing with unread bytes resets; a zero linger resets in any case.
        stream.set_zero_linger().expect("a socket");
    }
    serve(stream, &script, &state).await;
}

/// Reads requests and plays the script for each, until the peer or the script closes.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, script: &Script, state: &State) {
    while let Some(request) = read_request(&mut stream, !script.before_body).await {
        state.requests.lock().expect("no panic").push(request);
        if !play(&mut stream, script, state).await {
            return;
        }
    }
}

/// Whether another request may come.
async fn play(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    script: &Script,
    state: &State,
) -> bool {
    for step in &script.steps {
        let written = match step {
            Step::Send(bytes) => write(stream, bytes, state).await,
            Step::Flood { chunk, times } => {
                let mut written = true;
                for _ in 0..*times {
                    written = written && write(stream, chunk, state).await;
                }
                written
            }
            Step::Wait(signal) => {
                signal.wait().await;
                true
            }
            Step::UntilPeerCloses => {
                let mut sink = [0; 1024];
                while !matches!(stream.read(&mut sink).await, Ok(0) | Err(_)) {}
                false
            }
            Step::Close => {
                drop(stream.shutdown().await);
                return false;
            }
            Step::Reset => return false,
        };
        if !written {
            state.peers_gone.fetch_add(1, Ordering::SeqCst);
            return false;
        }
    }
    true
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8], state: &State) -> bool {
    for piece in bytes.chunks(16 << 10) {
        if stream.write_all(piece).await.is_err() || stream.flush().await.is_err() {
            return false;
        }
        state.sent.fetch_add(piece.len(), Ordering::SeqCst);
    }
    true
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin), with_body: bool) -> Option<Recorded> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = find(&bytes, b"\r\n\r\n") {
            break at + 4;
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes).expect("a head in ASCII");
    if with_body {
        let field = |name: &str| {
            head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        if let Some(length) = field("content-length") {
            let length: usize = length.parse().expect("a length");
            let have = body.len();
            body.resize(length.max(have), 0);
            stream.read_exact(&mut body[have..]).await.ok()?;
        } else if field("transfer-encoding").is_some() {
            body = read_chunked(stream, body).await?;
        }
    }
    Some(Recorded { head, body })
}

async fn read_chunked(stream: &mut (impl AsyncRead + Unpin), mut raw: Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let line_end = loop {
            if let Some(found) = find(&raw[at..], b"\r\n") {
                break at + found;
            }
            more(stream, &mut raw).await?;
        };
        let size = usize::from_str_radix(std::str::from_utf8(&raw[at..line_end]).ok()?, 16).ok()?;
        at = line_end + 2;
        while raw.len() < at + size + 2 {
            more(stream, &mut raw).await?;
        }
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(&raw[at..at + size]);
        at += size + 2;
    }
}

async fn more(stream: &mut (impl AsyncRead + Unpin), raw: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 4096];
    let count = soon("the rest of a request", stream.read(&mut piece)).await.ok()?;
    raw.extend_from_slice(&piece[..count]);
    (count > 0).then_some(())
}

pub(super) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
