//! Memory of streams that are open and hardly move.

use std::time::Duration;

use super::{
    Options,
    job::Job,
    load,
    material::wires::Wire,
    process::Server,
    report::{Figure, Report, Row},
    rounds::{start_thinkgate, upstream},
};

/// What every stream has brought when the memory is read, and is yet to bring.
const EVENTS: u64 = 60;

/// Between two events of one stream.
const EVERY: Duration = Duration::from_millis(200);

/// Opens `streams` streams on fresh processes, round for round, and reads their resident memory while all are open.
pub(crate) async fn measure(options: &Options, streams: u64) -> Report {
    let mut names = vec!["floor".to_owned()];
    names.extend(options.modes.iter().cloned());
    let mut rows = Vec::new();
    for name in names {
        let mut figures = Vec::new();
        let (mut errors, mut wrong) = (0, 0);
        for _ in 0..options.rounds.min(3) {
            let folder = tempfile::tempdir().unwrap();
            let upstream = upstream(&folder);
            let server = if name == "floor" {
                let log = folder.path().join("floor.log");
                Server::start_self("floor", Some(upstream.address), &log)
            } else {
                start_thinkgate(options, &folder, &upstream, &name, &name)
            };
            let (per_stream, seen) = round(options.wire, &server, &upstream, streams).await;
            figures.push(per_stream);
            errors += seen.errors;
            wrong += seen.wrong;
        }
        let figures = vec![("kB/stream", Figure::of(figures.into_iter()))];
        rows.push(Row { name, figures, of_sums: None, errors, wrong, audited: None });
    }
    Report { title: format!("memory: {streams} open streams, {}", options.variant()), rows }
}

async fn round(wire: Wire, server: &Server, upstream: &Server, streams: u64) -> (f64, load::Seen) {
    let job = |stream: u64| Job {
        wire,
        stream,
        events: EVENTS,
        every: EVERY,
        delay: EVERY.mul_f64(stream as f64 / streams as f64),
        at_once: 1,
    };
    let limit = Duration::from_mins(2);
    // One stream warms what all of them share.
    load::play(server.address, upstream.address, &[Job { events: 5, ..job(0) }], limit).await;
    let before = server.resident_kb();
    let jobs: Vec<Job> = (0..streams).map(job).collect();
    let reading = load::play(server.address, upstream.address, &jobs, limit);
    let looking = async {
        let into_the_middle = EVERY * u32::try_from(EVENTS * 2 / 3).unwrap();
        tokio::time::sleep(into_the_middle).await;
        server.resident_kb()
    };
    let (seen, after) = tokio::join!(reading, looking);
    ((after - before) / streams as f64, seen)
}
