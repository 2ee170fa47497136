//! Owns what one thread counts during a run, and what it tells of each second; it reads no clock.

use std::collections::HashMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};

use crate::figures::{Counts, Latency};

use super::backends::Fate;
use super::cause::Cause;
use super::ledger::Arrival;

/// The part of a run that counts, in nanoseconds of the bench's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub begin: u64,
    pub end: u64,
    /// How long after it was due a datagram, or the answer to it, still counts.
    pub patience: u64,
}

/// The window as the threads of a run share it: it is known when all connections stand.
pub type SharedWindow = Arc<OnceLock<Window>>;

/// What a thread counted. Units belong to the window in which they were due.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub counts: Counts,
    pub latency: Latency,
    /// Units that ended within the window, whenever they were due.
    pub ended: u64,
    /// Bytes that were moved within the window, both ways.
    pub bytes: u64,
    /// Nanoseconds by which the latest unit left after its time.
    pub lag_max: u64,
    /// The same of all units.
    pub lag: Latency,
    pub handshakes_full: u64,
    pub handshakes_resumed: u64,
    /// Units whose answer had not come when the run was over, on connections that still stood, and
    /// datagrams that were given up.
    pub unanswered: u64,
    /// Units that were changed on their way, also outside the window.
    pub spoiled: u64,
    pub departures: Departures,
    /// What backends did on purpose, and how often.
    pub struck: HashMap<Fate, u64>,
}

/// Units that left within the window: by the clock, and not by the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Departures {
    pub count: u64,
    first: u64,
    last: u64,
}

/// What a thread counted in one second of the window.
#[derive(Clone, Debug, Default)]
pub struct Beat {
    /// From 0, by the beginning of the window.
    pub second: u64,
    /// Units that left.
    pub sent: u64,
    pub ended: u64,
    pub latency: Latency,
    /// Connections open at its end.
    pub open: u32,
}

/// Counts, and tells of each second when it is over.
pub struct Recorder {
    window: SharedWindow,
    tally: Tally,
    beat: Beat,
    beats: Option<Sender<Beat>>,
    /// When there is something to tell again; 0 while the window is not known.
    next_second: u64,
    pub open: u32,
    /// Units that have ended so far, whenever they were due.
    pub ended_in_all: u64,
}

impl Departures {
    fn note(&mut self, now: u64) {
        self.merge(Departures { count: 1, first: now, last: now });
    }

    fn merge(&mut self, other: Departures) {
        if self.count == 0 || other.count == 0 {
            *self = if self.count == 0 { other } else { *self };
            return;
        }
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.count += other.count;
    }

    /// Units per second, from the first to the last of them.
    pub fn rate(&self) -> Option<f64> {
        let time = self.last - self.first;
        (time > 0).then(|| (self.count - 1) as f64 * SECOND as f64 / time as f64)
    }
}

impl Window {
    pub fn holds(&self, time: u64) -> bool {
        (self.begin..self.end).contains(&time)
    }
}

impl Recorder {
    /// `beats`: who is told of each second.
    pub fn new(window: SharedWindow, beats: Option<Sender<Beat>>) -> Recorder {
        let (tally, beat) = Default::default();
        Recorder { window, tally, beat, beats, next_second: 0, open: 0, ended_in_all: 0 }
    }

    /// One that counts nothing yet, for the same window, and tells the same.
    pub fn beside(&self) -> Recorder {
        Recorder::new(Arc::clone(&self.window), self.beats.clone())
    }

    fn counts(&self, due: u64) -> bool {
        self.window.get().is_some_and(|window| window.holds(due))
    }

    /// A unit was due, and is on its way or waits for its connection.
    pub fn sent(&mut self, due: u64, now: u64) {
        self.tick(now);
        if self.counts(due) {
            self.tally.counts.sent += 1;
            let lag = now.saturating_sub(due);
            self.tally.lag_max = self.tally.lag_max.max(lag);
            self.tally.lag.record(lag);
        }
    }

    /// A unit was handed over to be sent, whenever it was due.
    pub fn departed(&mut self, now: u64) {
        self.tick(now);
        if self.counts(now) {
            self.beat.sent += 1;
            self.tally.departures.note(now);
        }
    }

    /// So many bytes were given to a connection, or taken from it. Agents count both ways.
    pub fn moved(&mut self, bytes: usize, now: u64) {
        if self.counts(now) {
            self.tally.bytes += bytes as u64;
        }
    }

    /// A unit has ended well.
    pub fn ended(&mut self, due: u64, now: u64) {
        self.tick(now);
        self.ended_in_all += 1;
        if self.counts(due) {
            let latency = now.saturating_sub(due);
            self.tally.counts.answered += 1;
            self.tally.latency.record(latency);
            self.beat.latency.record(latency);
        }
        if self.counts(now) {
            self.tally.ended += 1;
            self.beat.ended += 1;
        }
    }

    /// A datagram, or the answer to it, has come for the first time: after the patience for it, it
    /// is lost all the same.
    pub fn came(&mut self, due: u64, now: u64) {
        let patience = self.window.get().map_or(u64::MAX, |window| window.patience);
        if now.saturating_sub(due) <= patience {
            return self.ended(due, now);
        }
        self.unanswered(due, now);
        self.late(due);
    }

    /// One that was given up has come nevertheless.
    pub fn late(&mut self, due: u64) {
        if self.counts(due) {
            self.tally.counts.late += 1;
        }
    }

    /// The kernel had no room for so many datagrams.
    pub fn dropped(&mut self, count: u64, now: u64) {
        if self.window.get().is_some_and(|window| now >= window.begin) {
            self.tally.counts.dropped += count;
        }
    }

    /// A backend did this on purpose to a unit that was due then.
    pub fn struck(&mut self, fate: Fate, due: u64) {
        if fate != Fate::Answer && self.counts(due) {
            *self.tally.struck.entry(fate).or_default() += 1;
        }
    }

    /// A unit came, for the first time or once more.
    pub fn arrived(&mut self, arrival: Arrival, due: u64) {
        match arrival {
            _ if !self.counts(due) => {}
            Arrival::InOrder => {}
            Arrival::Reordered => self.tally.counts.reordered += 1,
            Arrival::Again => self.tally.counts.duplicated += 1,
        }
    }

    pub fn corrupted(&mut self, now: u64) {
        self.tally.spoiled += 1;
        if self.counts(now) {
            self.tally.counts.corrupted += 1;
        }
    }

    pub fn error(&mut self, cause: Cause, now: u64) {
        if self.counts(now) {
            *self.tally.counts.errors.entry(cause.as_str().to_owned()).or_default() += 1;
        }
    }

    /// The run is over and the unit has not ended: it took so long at least, which counts, since
    /// leaving it out would flatter whoever did not answer.
    pub fn unanswered(&mut self, due: u64, now: u64) {
        if self.counts(due) {
            self.tally.latency.record(now.saturating_sub(due));
            self.tally.unanswered += 1;
        }
    }

    pub fn handshake(&mut self, resumed: bool, now: u64) {
        if self.counts(now) {
            let tally = &mut self.tally;
            *(if resumed { &mut tally.handshakes_resumed } else { &mut tally.handshakes_full }) +=
                1;
        }
    }

    /// Tells of the seconds that are over.
    pub fn tick(&mut self, now: u64) {
        if now < self.next_second {
            return;
        }
        let Some(window) = self.window.get() else { return };
        let second = now.clamp(window.begin, window.end).saturating_sub(window.begin) / SECOND;
        self.next_second = window.begin + (second + 1) * SECOND;
        while self.beat.second < second {
            let next = Beat { second: self.beat.second + 1, ..Beat::default() };
            let beat = Beat { open: self.open, ..std::mem::replace(&mut self.beat, next) };
            if let Some(beats) = &self.beats {
                // Nobody listens any more when the run was given up.
                beats.send(beat).unwrap_or_default();
            }
        }
    }

    pub fn into_tally(self) -> Tally {
        self.tally
    }
}

/// So many tell of each second where that many groups count: each of them, and who they are parts
/// of. Where there are none, nobody is there.
pub fn tellers(groups: usize) -> u32 {
    if groups == 0 { 0 } else { 1 + groups as u32 }
}

/// What both sides counted of each group: of backends that are elsewhere nothing is known.
pub fn both(mut agents: Vec<Tally>, backends: &[Tally]) -> Vec<Tally> {
    agents.iter_mut().zip(backends).for_each(|(agents, backends)| agents.merge(backends));
    agents
}

impl Tally {
    /// All of them together.
    pub fn sum(parts: &[Tally]) -> Tally {
        let mut sum = Tally::default();
        parts.iter().for_each(|part| sum.merge(part));
        sum
    }

    /// Adds what another thread counted of the same units.
    pub fn merge(&mut self, other: &Tally) {
        self.counts.add(&other.counts);
        self.latency.merge(&other.latency);
        self.ended += other.ended;
        self.bytes += other.bytes;
        self.lag_max = self.lag_max.max(other.lag_max);
        self.lag.merge(&other.lag);
        self.handshakes_full += other.handshakes_full;
        self.handshakes_resumed += other.handshakes_resumed;
        self.unanswered += other.unanswered;
        self.spoiled += other.spoiled;
        self.departures.merge(other.departures);
        for (fate, count) in &other.struck {
            *self.struck.entry(*fate).or_default() += count;
        }
    }

    /// The counts of a whole run, with what never came.
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts.clone();
        counts.lost = counts.sent.saturating_sub(counts.answered);
        counts
    }
}

const SECOND: u64 = crate::clock::SECOND;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn recorder(beats: Option<Sender<Beat>>) -> Recorder {
        let window = SharedWindow::default();
        let patience = 2 * SECOND;
        window.set(Window { begin: 10 * SECOND, end: 13 * SECOND, patience }).unwrap();
        Recorder::new(window, beats)
    }

    #[test]
    fn units_belong_to_the_window_they_were_due_in() {
        let mut recorder = recorder(None);
        for due in [10 * SECOND - 1, 10 * SECOND, 13 * SECOND - 1, 13 * SECOND] {
            recorder.sent(due, due + 500);
            recorder.ended(due, due + SECOND);
            recorder.moved(100, due + SECOND);
        }
        recorder.sent(12 * SECOND, 12 * SECOND);
        let tally = recorder.into_tally();
        assert_eq!((tally.counts().sent, tally.counts().answered, tally.counts().lost), (3, 2, 1));
        assert_eq!(tally.latency.count(), 2);
        // The first and the second ended within it.
        assert_eq!((tally.ended, tally.bytes, tally.lag_max), (2, 200, 500));
    }

    #[test]
    fn nothing_counts_before_the_window_is_known() {
        let mut recorder = Recorder::new(SharedWindow::default(), None);
        recorder.sent(1, 1);
        recorder.error(Cause::Reset, 1);
        recorder.tick(5 * SECOND);
        assert_eq!(recorder.into_tally().counts(), Counts::default());
    }

    #[test]
    fn every_second_of_the_window_is_told_once() {
        let (beats, told) = channel();
        let mut recorder = recorder(Some(beats));
        recorder.ended(10 * SECOND, 10 * SECOND + 1_000);
        recorder.tick(12 * SECOND + 5);
        recorder.departed(12 * SECOND + 6);
        recorder.departed(13 * SECOND + 7);
        recorder.tick(99 * SECOND);
        recorder.tick(100 * SECOND);
        let beats: Vec<_> =
            told.try_iter().map(|beat| (beat.second, beat.sent, beat.ended)).collect();
        assert_eq!(beats, [(0, 0, 1), (1, 0, 0), (2, 1, 0)]);
    }

    #[test]
    fn departures_are_those_of_the_clock() {
        let mut recorder = recorder(None);
        assert_eq!(recorder.tally.departures.rate(), None);
        // All were due in the window, and one left before it and one behind it.
        for number in 0..=6 {
            recorder.sent(11 * SECOND, 11 * SECOND);
            recorder.departed(10 * SECOND - 5 + number * SECOND / 2);
        }
        let departures = recorder.into_tally().departures;
        assert_eq!((departures.count, departures.rate()), (6, Some(2.0)));
        let mut whole = Departures::default();
        whole.merge(departures);
        whole.note(12 * SECOND + 3 * SECOND / 4 - 5);
        whole.merge(Departures::default());
        assert_eq!((whole.count, whole.rate()), (7, Some(6.0 / 2.5)));
    }

    #[test]
    fn a_datagram_that_comes_late_is_lost_and_its_time_counts() {
        let mut recorder = recorder(None);
        for (number, took) in [SECOND, 2 * SECOND, 2 * SECOND + 1].into_iter().enumerate() {
            let due = 11 * SECOND + number as u64;
            recorder.sent(due, due);
            recorder.came(due, due + took);
        }
        recorder.dropped(4, 9 * SECOND);
        recorder.dropped(5, 14 * SECOND);
        let tally = recorder.into_tally();
        let counts = tally.counts();
        assert_eq!((counts.answered, counts.lost, counts.late, counts.dropped), (2, 1, 1, 5));
        assert_eq!((tally.latency.count(), tally.unanswered), (3, 1));
    }

    #[test]
    fn threads_are_added_up() {
        let (mut agents, mut backends) = (recorder(None), recorder(None));
        (0..10).for_each(|unit| agents.sent(11 * SECOND + unit, 11 * SECOND + unit));
        (0..7).for_each(|unit| backends.ended(11 * SECOND + unit, 11 * SECOND + 40));
        backends.arrived(Arrival::Again, 11 * SECOND);
        backends.arrived(Arrival::Reordered, 11 * SECOND);
        agents.error(Cause::Reset, 11 * SECOND);
        let mut tally = agents.into_tally();
        tally.merge(&backends.into_tally());
        let counts = tally.counts();
        assert_eq!((counts.sent, counts.answered, counts.lost), (10, 7, 3));
        assert_eq!((counts.duplicated, counts.reordered, counts.errors["reset"]), (1, 1, 1));
    }
}
