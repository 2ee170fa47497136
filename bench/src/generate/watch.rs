//! Owns what is seen of a run from outside: its seconds, put together from both sides, and what it
//! costs. It makes no load.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use crate::clock::{Clock, SECOND};
use crate::compare::cpus::Cpus;
use crate::compare::memory::Footprint;
use crate::compare::usage::Usage;
use crate::figures::{Busy, Cost, Latency, Moment, Run, Share, SoFar};

use super::bench::Route;
use super::calls::Calls;
use super::cost::{self, Reading};
use super::order::{Group, Order};
use super::placement::Placement;
use super::record::{Beat, SharedWindow, Tally, Window};

/// One second of a run, for progress.
pub struct Watched<'a> {
    pub moment: Moment,
    pub sent: u64,
    /// Seconds of the window that are left.
    pub left: u64,
    /// With all that were before it.
    pub so_far: SoFar<'a>,
}

/// Follows a run.
pub struct Watch {
    clock: Clock,
    cpus: Cpus,
    placement: Placement,
    /// The proxy's first process, if it is ours.
    root: Option<u32>,
    /// Agents, and backends if there are any.
    threads: (i32, Option<i32>),
    /// So many tell of each second.
    tellers: u32,
    window: Option<Window>,
    first: Option<Reading>,
    last: Option<Reading>,
    cost: Option<Cost>,
    times: (u64, u64),
    /// None: they are not to be counted, or the host does not let them be.
    calls: Option<Calls>,
    /// None: the window has not ended.
    busy: Option<Busy>,
    /// What was told of seconds that not all have told of.
    open: BTreeMap<u64, (Beat, u32)>,
    series: Vec<Moment>,
    /// Of all seconds that were told.
    ended: u64,
    latency: Latency,
    /// The proxy is read at both ends of the window alone.
    is_afar: bool,
    /// When it was read first.
    read_at: u64,
    usage: Option<Usage>,
}

impl Watch {
    pub fn new(
        clock: Clock,
        cpus: Cpus,
        placement: &Placement,
        root: Option<u32>,
        threads: (i32, Option<i32>),
    ) -> Watch {
        Watch {
            clock,
            cpus,
            placement: placement.clone(),
            root,
            threads,
            tellers: 1,
            window: None,
            first: None,
            last: None,
            cost: None,
            times: (0, 0),
            calls: None,
            busy: None,
            open: BTreeMap::new(),
            series: Vec::new(),
            ended: 0,
            latency: Latency::new(),
            is_afar: false,
            read_at: 0,
            usage: None,
        }
    }

    /// Has the proxy's system calls counted, which makes each of them a little dearer.
    pub fn count_calls(&mut self) {
        self.calls = self.root.and_then(|root| Calls::of_process(root).ok());
    }

    /// So many tell of each second.
    pub fn expect(&mut self, tellers: u32) {
        self.tellers = tellers;
    }

    /// So that the reading of figures, every second, is not seen in them.
    pub fn stay_afar(&mut self) {
        self.is_afar = true;
    }

    /// What CPUs did in the window, if the proxy was there at both ends of it.
    pub fn take_usage(&mut self) -> Option<Usage> {
        self.usage.take()
    }

    /// Until the agents are done.
    pub fn follow(
        &mut self,
        window: &SharedWindow,
        beats: &Receiver<Beat>,
        done: &Receiver<()>,
        told: &mut dyn FnMut(&Watched<'_>),
    ) {
        loop {
            let now = self.clock.now();
            let window = window.get().copied();
            match window {
                Some(window) if self.window.is_none() && now >= window.begin => self.begin(window),
                Some(window) if self.is_running() && now >= window.end => self.end(window),
                _ => {}
            }
            let next = match window {
                Some(window) if self.window.is_none() => window.begin,
                Some(window) if self.is_running() => window.end,
                _ => now + SECOND / 10,
            };
            let wait = Duration::from_nanos(next.saturating_sub(now).min(SECOND / 10));
            match beats.recv_timeout(wait) {
                Ok(beat) => self.hear(beat, told),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            match done.try_recv() {
                Err(TryRecvError::Empty) => {}
                Ok(()) | Err(TryRecvError::Disconnected) => break,
            }
        }
        if let Some(window) = self.window.filter(|_| self.is_running()) {
            self.end(window);
        }
        beats.try_iter().for_each(|beat| self.hear(beat, told));
    }

    fn is_running(&self) -> bool {
        self.window.is_some() && self.busy.is_none()
    }

    fn begin(&mut self, window: Window) {
        self.window = Some(window);
        self.first = self.read();
        self.read_at = self.clock.now();
        self.last = if self.is_afar { None } else { self.read() };
        self.times = self.thread_times();
    }

    /// None: the proxy is not ours, or it is gone, which the counts show.
    fn read(&mut self) -> Option<Reading> {
        let (root, calls) = (self.root?, self.calls.as_mut());
        Reading::take(root, self.cpus, &self.placement.proxy, calls).ok()
    }

    fn thread_times(&self) -> (u64, u64) {
        let (agents, backends) = self.threads;
        (cost::thread_time(agents), backends.map_or(0, cost::thread_time))
    }

    fn end(&mut self, window: Window) {
        let (agents, backends) = self.thread_times();
        let length = (window.end - window.begin) as f64;
        let share = |before: u64, after: u64| (after.saturating_sub(before)) as f64 / length;
        let (mut generator, mut backends) =
            (share(self.times.0, agents), share(self.times.1, backends));
        if self.placement.is_one_for_both() {
            // On one CPU each is busy with the other's work as well.
            (generator, backends) = (generator + backends, generator + backends);
        }
        self.busy = Some(Busy { generator, backends, ..Busy::default() });
        let last = self.read();
        if let (Some(first), Some(last), Some(root)) = (&self.first, last, self.root) {
            // Neither reading is at its moment exactly: the load had the CPU.
            let took = self.clock.now().saturating_sub(self.read_at).max(1) as f64;
            let scale = length / took;
            let mut usage = first.usage_until(&last);
            usage.proxy = (usage.proxy as f64 * scale) as u64;
            self.cost = first.until(&last, root).ok();
            if let Some(cost) = &mut self.cost {
                let parts =
                    [&mut cost.cpu_seconds, &mut cost.user, &mut cost.system, &mut cost.softirq];
                parts.into_iter().for_each(|part| *part *= scale);
            }
            self.usage = Some(usage);
        }
    }

    fn hear(&mut self, beat: Beat, told: &mut dyn FnMut(&Watched<'_>)) {
        let (whole, heard) = self.open.entry(beat.second).or_default();
        whole.second = beat.second;
        whole.sent += beat.sent;
        whole.ended += beat.ended;
        whole.latency.merge(&beat.latency);
        whole.open += beat.open;
        *heard += 1;
        if *heard == self.tellers
            && let Some((whole, _)) = self.open.remove(&beat.second)
        {
            self.tell(whole, told);
        }
    }

    fn tell(&mut self, beat: Beat, told: &mut dyn FnMut(&Watched<'_>)) {
        let now = if self.is_afar { None } else { self.read() };
        let root = self.root.filter(|_| !self.is_afar);
        let cpu = match (&self.last, &now) {
            (Some(last), Some(now)) => Some(last.cpus_until(now, 1.0)),
            _ => None,
        };
        self.last = now;
        let moment = Moment {
            at: beat.second as f64,
            achieved: beat.ended as f64,
            p50: beat.latency.quantile(0.5),
            p99: beat.latency.quantile(0.99),
            max: beat.latency.max(),
            cpu,
            memory: root.and_then(|root| Some(Footprint::take(root).ok()?.pss)),
            descriptors: root.and_then(|root| cost::descriptors(root).ok()),
            open: beat.open,
        };
        self.ended += beat.ended;
        self.latency.merge(&beat.latency);
        let (elapsed, length) =
            (beat.second + 1, self.window.map_or(0, |window| window.end - window.begin));
        let of = length as f64 / SECOND as f64;
        let so_far = SoFar { elapsed, of, ended: self.ended, latency: &self.latency };
        let left = (length / SECOND).saturating_sub(elapsed);
        let watched = Watched { moment, sent: beat.sent, left, so_far };
        told(&watched);
        self.series.push(watched.moment);
    }

    /// The figures of the run.
    pub fn into_run(
        mut self,
        order: &Order,
        route: &Route,
        tallies: &[Tally],
        beats: &Receiver<Beat>,
    ) -> Run {
        let tally = Tally::sum(tallies);
        // What the backends told at their end.
        beats.try_iter().for_each(|beat| self.hear(beat, &mut |_| ()));
        let window = order.window.as_secs_f64();
        let (candidate, workers) = match route {
            Route::Direct => ("direct", 0),
            Route::Ringmain { workers, .. } => ("ringmain", *workers),
            Route::Target { .. } => ("target", 0),
        };
        Run {
            candidate: candidate.to_owned(),
            protocol: order.name.clone(),
            connections: order.groups.iter().map(|group| group.agents).sum(),
            workers,
            offered: order.rate(),
            achieved: tally.ended as f64 / window,
            bytes: tally.bytes as f64 / window,
            window,
            counts: tally.counts(),
            latency: tally.latency,
            cost: self.cost,
            generator: Busy { lag_max: tally.lag_max, ..self.busy.unwrap_or_default() },
            series: self.series,
            told: BTreeMap::new(),
            groups: shares(order, tallies),
        }
    }
}

/// What became of each group, where there are several.
fn shares(order: &Order, tallies: &[Tally]) -> Vec<Share> {
    if order.groups.len() < 2 {
        return Vec::new();
    }
    let window = order.window.as_secs_f64();
    let share = |(group, tally): (&Group, &Tally)| Share {
        name: group.name.clone(),
        protocol: group.protocol.as_str().to_owned(),
        connections: group.agents,
        offered: group.pace.rate(),
        achieved: tally.ended as f64 / window,
        bytes: tally.bytes as f64 / window,
        latency: tally.latency.clone(),
        counts: tally.counts(),
    };
    order.groups.iter().zip(tallies).map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_so_far_is_all_that_both_sides_told() {
        let cpus = Cpus { proxy: 1, load: 0 };
        let placement = Placement::choose(cpus, 1, &[0, 1]);
        let mut watch = Watch::new(Clock::start(), cpus, &placement, None, (0, None));
        watch.expect(2);
        watch.window = Some(Window { begin: 0, end: 3 * SECOND, patience: 0 });
        let mut told = Vec::new();
        let mut hear = |second: u64, ended: u64, took: u64| {
            let mut latency = Latency::new();
            latency.record_n(took, ended);
            let beat = Beat { second, sent: 7, ended, latency, open: 1 };
            watch.hear(beat, &mut |watched| {
                let SoFar { elapsed, of, latency, .. } = watched.so_far;
                let half = latency.quantile(0.5) / 1_000;
                let rate = watched.so_far.rate();
                told.push((watched.sent, elapsed, of, watched.left, rate, latency.count(), half));
            });
        };
        hear(0, 100, 1_000);
        // The other side is behind.
        hear(1, 10, 4_000);
        hear(0, 0, 0);
        hear(1, 290, 4_000);
        assert_eq!(told, [(14, 1, 3.0, 2, 100.0, 100, 1), (14, 2, 3.0, 1, 200.0, 400, 4)]);
    }
}
