//! The threads that score streams: each has its own graphs, its own tokenisers and its own exchanges.
//!
//! A thread takes up to [`MAX_ROWS`] exchanges at a time and runs one chunk of each in one batch, then the next of
//! those that have one, while others join. It waits a moment for a batch to fill, never for long, and hardly at all where
//! somebody waits for the scores.
//!
//! The second model, where there is one, has the time that the first leaves: a window is read while no chunk waits. What
//! it has not said by the deadline is done without.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    lane::{ALL_WAITING_BYTES, Inner, Lane},
    model::ModelError,
    models::{Machine, Models},
};
use crate::{
    classify::{ClassifyError, Network, SecondFailure, Voice, readers::MAX_ROWS},
    config::{Classifier, ConfigErrors},
    record::{ClassifierFailure, metrics::Metrics},
    session::Session,
};

/// How long a batch may wait to be filled.
const FILL_TIME: Duration = Duration::from_millis(30);

/// How long where somebody waits for the scores.
const HURRIED_FILL_TIME: Duration = Duration::from_millis(3);

/// The threads, and what they share.
#[derive(Debug)]
pub struct Scorers {
    shared: Arc<Shared>,
    models: Models,
    next: AtomicUsize,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Who waits for an exchange's scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Nobody: they are recorded.
    ByNobody,
    /// The exchange goes on, and may be ended by them.
    ByTheExchange,
    /// Text is held back for them: every word is scored, chunk or no chunk.
    ByText,
}

/// What may wait for its scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScoringLimits {
    /// How long.
    pub(super) deadline: Duration,
    /// How many bytes of one text.
    pub(super) waiting_bytes: usize,
}

/// Why nothing can score.
#[derive(Debug, thiserror::Error)]
pub enum ScorersError {
    /// A model that the configuration names cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A model does not run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// No thread could be started.
    #[error("cannot start a scorer thread: {0}")]
    Thread(#[from] io::Error),
}

/// What exchanges and threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) metrics: Arc<Metrics>,
    pub(super) limits: ScoringLimits,
    /// None once the threads are to end.
    queues: Mutex<Vec<Sender<Arc<Inner>>>>,
    waiting_bytes: AtomicUsize,
}

/// One thread's belongings.
struct Thread {
    shared: Arc<Shared>,
    machine: Machine,
    lanes: Vec<Arc<Inner>>,
}

/// How far a batch is filled.
#[derive(Clone, Copy, Debug, Default)]
struct Filling {
    /// Exchanges that have a chunk.
    rows: usize,
    /// Somebody waits for the scores.
    hurried: bool,
}

/// What a row of a batch holds.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// The exchange's place among the thread's.
    lane: usize,
    voice: Voice,
    /// Scored as if the text ended here.
    is_tail: bool,
}

// === impl Awaited ===

impl Awaited {
    /// Who waits for the scores of `session`.
    #[must_use]
    pub fn by(session: &Session) -> Self {
        if session.gates() {
            Self::ByText
        } else if session.acts_on_scores() {
            Self::ByTheExchange
        } else {
            Self::ByNobody
        }
    }
}

// === impl Scorers ===

impl Scorers {
    /// Loads the models that the configuration names and starts their threads: as many as it says, or half as many as
    /// there are cores, but never more than these. None where the classifier is off.
    pub fn configured(
        config: &Classifier,
        metrics: Arc<Metrics>,
    ) -> Result<Option<Self>, ScorersError> {
        let Some(models) = Models::configured(config)? else { return Ok(None) };
        let limits =
            ScoringLimits { deadline: config.deadline, waiting_bytes: config.waiting_bytes };
        Self::start(models, config.threads, limits, metrics).map(Some)
    }

    fn start(
        models: Models,
        threads: Option<usize>,
        limits: ScoringLimits,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ScorersError> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let count = threads.unwrap_or(cores / 2).clamp(1, cores);
        let (senders, queues): (Vec<_>, Vec<_>) = (0..count).map(|_| channel()).unzip();
        let queues_of_lanes = Mutex::new(senders);
        let waiting_bytes = AtomicUsize::new(0);
        let shared = Arc::new(Shared { metrics, limits, queues: queues_of_lanes, waiting_bytes });
        let mut running = Vec::new();
        for (number, queue) in queues.into_iter().enumerate() {
            let own = Thread {
                shared: Arc::clone(&shared),
                machine: models.machine()?,
                lanes: Vec::new(),
            };
            let name = format!("scorer-{number}");
            running.push(thread::Builder::new().name(name).spawn(move || own.work(&queue))?);
        }
        let next = AtomicUsize::new(0);
        Ok(Self { shared, models, next, threads: Mutex::new(running) })
    }

    /// The models that the threads run.
    #[must_use]
    pub const fn models(&self) -> &Models {
        &self.models
    }

    /// A way to the threads for an exchange that begins.
    #[must_use]
    pub fn lane(&self, awaited: Awaited) -> Lane {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).len().max(1);
        let thread = self.next.fetch_add(1, Ordering::Relaxed) % threads;
        let readers = self.models.readers(false);
        let readers = match awaited {
            Awaited::ByNobody => readers,
            Awaited::ByTheExchange => readers.hurried(),
            Awaited::ByText => readers.hurried().with_tails(),
        };
        Lane::new(Arc::clone(&self.shared), thread, readers)
    }

    /// Ends the threads once they have scored what waits.
    pub fn close(&self) {
        self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!(code = "scorer_panicked");
            }
        }
    }
}

// === impl Shared ===

impl Shared {
    /// Puts an exchange into its thread's queue; says whether there is one.
    pub(super) fn enqueue(&self, thread: usize, lane: Arc<Inner>) -> bool {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.get(thread).is_some_and(|queue| queue.send(lane).is_ok())
    }

    /// Makes room for text that waits, if there is any.
    pub(super) fn admit(&self, bytes: usize) -> bool {
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let admitted = bytes == 0 || before + bytes <= ALL_WAITING_BYTES;
        if !admitted {
            self.release(bytes);
        }
        admitted
    }

    /// Gives back the room of text that waits no more.
    pub(super) fn release(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Shared by no threads: the queue's other end is the caller's.
    #[cfg(test)]
    pub(super) fn unread(
        metrics: Arc<Metrics>,
        limits: ScoringLimits,
    ) -> (Arc<Self>, Receiver<Arc<Inner>>) {
        let (sender, queue) = channel();
        let queues = Mutex::new(vec![sender]);
        let waiting_bytes = AtomicUsize::new(0);
        (Arc::new(Self { metrics, limits, queues, waiting_bytes }), queue)
    }

    /// Bytes of text that wait.
    #[cfg(test)]
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn note_failure(&self, failure: ClassifierFailure) {
        self.metrics.note_classifier_failure(failure);
    }

    /// Notes that an exchange goes on without the second model.
    pub(super) fn note_second_failure(&self, failure: ClassifierFailure) {
        self.metrics.note_second_failure(failure);
    }
}

// === impl Thread ===

impl Thread {
    fn work(mut self, queue: &Receiver<Arc<Inner>>) {
        while self.gather(queue) {
            if !self.run_batch() {
                self.run_window();
            }
            self.begin_tails();
            self.look_after_second();
            self.publish();
            self.lanes.retain(|lane| {
                let is_busy = {
                    let readers = lane.readers();
                    readers.next_ready(&[]).or_else(|| readers.next_tail(&[])).is_some()
                        || readers.has_questions()
                };
                is_busy || !lane.leave_queue()
            });
            // Every exchange has its turn in a full batch.
            let first = usize::from(!self.lanes.is_empty());
            self.lanes.rotate_left(first);
        }
    }

    /// Waits until there is an exchange to score; says whether there will ever be one.
    fn gather(&mut self, queue: &Receiver<Arc<Inner>>) -> bool {
        let now = Instant::now();
        let mut filling = Filling::default();
        for lane in &self.lanes {
            filling.add(take_passages(&self.shared, &mut self.machine, lane, now));
        }
        let was_idle = self.lanes.is_empty();
        if was_idle {
            let Ok(first) = queue.recv() else { return false };
            filling.add(self.join(first));
        }
        let begun = Instant::now();
        while filling.rows < MAX_ROWS {
            let left = (begun + filling.time()).saturating_duration_since(Instant::now());
            // Those that are at work already need not wait.
            let next = if was_idle {
                queue.recv_timeout(left)
            } else {
                queue.try_recv().map_err(|_| RecvTimeoutError::Timeout)
            };
            match next {
                Ok(lane) => filling.add(self.join(lane)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        true
    }

    /// Takes an exchange on.
    fn join(&mut self, lane: Arc<Inner>) -> Filling {
        let filling = take_passages(&self.shared, &mut self.machine, &lane, Instant::now());
        self.lanes.push(lane);
        filling
    }

    /// Begins to score, for those that hold text back, what is left when every chunk was run.
    fn begin_tails(&mut self) {
        for lane in &self.lanes {
            if let Err(error) = lane.readers().begin_tails(&mut self.machine.first.words) {
                // The same words come again, as those of a chunk: then it is known whose they are.
                tracing::warn!(code = "classifier_failed", %error);
            }
        }
    }

    /// Runs one chunk of as many voices as a batch has rows; says whether there were any.
    fn run_batch(&mut self) -> bool {
        let Machine { first, batch, .. } = &mut self.machine;
        batch.clear();
        let mut rows: Vec<Row> = Vec::new();
        for (number, lane) in self.lanes.iter().enumerate() {
            let mut readers = lane.readers();
            readers.settle_prompt();
            let mut voices = Vec::new();
            while rows.len() < readers.max_rows()
                && let Some(voice) = readers.next_ready(&voices)
            {
                voices.push(voice);
                if lane.is_wanted(voice) {
                    readers.fill(voice, batch);
                    rows.push(Row { lane: number, voice, is_tail: false });
                } else {
                    readers.forget(voice);
                }
            }
        }
        // What is scored as if its text ended has the room that is left.
        for (number, lane) in self.lanes.iter().enumerate() {
            let mut readers = lane.readers();
            let mut voices = Vec::new();
            while rows.len() < readers.max_rows()
                && let Some(voice) = readers.next_tail(&voices)
            {
                voices.push(voice);
                readers.fill_tail(voice, batch);
                rows.push(Row { lane: number, voice, is_tail: true });
            }
        }
        if rows.is_empty() {
            return false;
        }
        let begun = Instant::now();
        let ran = first.graph.run(batch);
        self.shared.metrics.classifier().duration.observe(begun.elapsed().as_secs_f64());
        for (row, Row { lane, voice, is_tail }) in rows.into_iter().enumerate() {
            let Some(lane) = self.lanes.get(lane) else { continue };
            let mut readers = lane.readers();
            let taken = ran.clone().and_then(|()| {
                if is_tail {
                    readers.take_in_tail(voice, batch, row)
                } else {
                    readers.take_in(voice, batch, row)
                }
            });
            match taken {
                Ok(()) => readers.settle_prompt(),
                Err(error) => {
                    fail(lane, voice, &error);
                    readers.forget(voice);
                }
            }
        }
        true
    }

    /// Has the second model read one window.
    fn run_window(&mut self) {
        let Machine { second: Some(second), batch, .. } = &mut self.machine else { return };
        for lane in &self.lanes {
            batch.clear();
            let Some(question) = lane.readers().ask(batch) else { continue };
            if !lane.is_wanted(question.voice) {
                lane.readers().forget(question.voice);
                continue;
            }
            let begun = Instant::now();
            let ran = second.graph.run(batch);
            let metrics = self.shared.metrics.classifier();
            metrics.second_windows.inc();
            metrics.duration.observe(begun.elapsed().as_secs_f64());
            lane.readers().answer(question, ran.map(|()| &*batch));
            return;
        }
    }

    /// Goes on without the second model where it has failed, is late, or nobody waits for it any more.
    fn look_after_second(&self) {
        if self.machine.second.is_none() {
            return;
        }
        let now = Instant::now();
        for lane in &self.lanes {
            let mut readers = lane.readers();
            if let Some(failure) = readers.second_failure() {
                tracing::warn!(code = "classifier_second_failed", error = %failure);
                self.shared.note_second_failure(match failure {
                    SecondFailure::Error(_) => ClassifierFailure::Error,
                    SecondFailure::Overflow => ClassifierFailure::Overflow,
                });
            }
            readers.note_time(now.into_std());
            let waits = readers.waits_since().map(|since| now.into_std().duration_since(since));
            if waits.is_some_and(|waits| waits > self.shared.limits.deadline) {
                lane.give_second_up(&mut readers);
            } else if !lane.is_followed() {
                readers.fail_second(None);
            }
        }
    }

    /// Tells what every voice has shown that has something new to show.
    fn publish(&self) {
        for lane in &self.lanes {
            let mut readers = lane.readers();
            for (voice, scores) in readers.news() {
                lane.publish(voice, scores);
            }
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // After a panic nobody else tells these exchanges.
        for lane in &self.lanes {
            lane.abandon();
        }
    }
}

// === impl Filling ===

impl Filling {
    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.hurried |= other.hurried;
    }

    fn time(self) -> Duration {
        if self.hurried { HURRIED_FILL_TIME } else { FILL_TIME }
    }
}

/// Turns what waits of an exchange into tokens, up to its next chunk.
fn take_passages(shared: &Shared, machine: &mut Machine, lane: &Inner, now: Instant) -> Filling {
    let mut readers = lane.readers();
    while readers.next_ready(&[]).is_none()
        && let Some(passage) = lane.take_waiting(now)
    {
        if let Some(second) = &mut machine.second {
            readers.take_for_second(&mut second.words, &passage);
        }
        match readers.take(&mut machine.first.words, &passage) {
            Ok(()) => {
                let bytes = passage.bytes() as u64;
                shared.metrics.classifier().scored_bytes.inc_by(bytes);
            }
            Err(error) => fail(lane, passage.voice, &error),
        }
    }
    let rows = usize::from(readers.next_ready(&[]).is_some());
    Filling { rows, hurried: readers.are_awaited() }
}

fn fail(lane: &Inner, voice: Voice, error: &ClassifyError) {
    tracing::warn!(code = "classifier_failed", %error);
    lane.fail(voice, ClassifierFailure::Error);
}
