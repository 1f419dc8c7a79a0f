//! What one request asks of the fake model server, in a header that every proxy passes on.

use std::time::Duration;

use clap::ValueEnum as _;

use super::material::wires::Wire;

/// The header's name.
pub(crate) const HEADER: &str = "x-bench";

/// The path at which the server tells what it has sent, one line a stream, and forgets it.
pub(crate) const SUMS: &str = "/sums";

/// One stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    /// How it is asked for and sent.
    pub(crate) wire: Wire,
    /// The stream's number; it decides where in the text it begins.
    pub(crate) stream: u64,
    /// Events to send.
    pub(crate) events: u64,
    /// Between two events; zero for as fast as it goes.
    pub(crate) every: Duration,
    /// Before the first event, so that the streams do not march in step.
    pub(crate) delay: Duration,
    /// Events in one write; only without a pace.
    pub(crate) at_once: u64,
}

impl Job {
    /// The header's value.
    pub(crate) fn to_header(self) -> String {
        let Self { wire, stream, events, every, delay, at_once } = self;
        format!("{wire} {stream} {events} {} {} {at_once}", every.as_micros(), delay.as_micros())
    }

    /// The job of a header's value.
    pub(crate) fn of_header(value: &str) -> Option<Self> {
        let (wire, numbers) = value.trim().split_once(' ')?;
        let mut numbers = numbers.split(' ').map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        Some(Self {
            wire: Wire::from_str(wire, false).ok()?,
            stream: next()?,
            events: next()?,
            every: Duration::from_micros(next()?),
            delay: Duration::from_micros(next()?),
            at_once: next()?.max(1),
        })
    }
}
