//! What a scene is drawn from: its pools and their backends, listeners, limits, and what each
//! client does. What may have become of them is `scene`'s affair.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use ringmain::balance::{Member, Pool, Queue};
use ringmain::engine::driver::simulated::Faults;
use ringmain::engine::{BufferSizes, EngineSettings, PipeSizes, Time};

use crate::actors::{Answer, Ending, Kind, Plan};
use crate::security::{Security, Wire};
use crate::stage::{ANYWHERE, HOUR, ListenerSettings, front, pool, queued, with_members};

/// What was drawn and matters for what may happen.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    pub faults: Faults,
    /// Everyone behaves, and everything suffices: each byte and each end must arrive.
    pub healthy: bool,
    /// Descriptors may run out.
    pub few_descriptors: bool,
    /// Backends take so many connections each.
    pub backend_limit: Option<u32>,
    /// Sessions wait for a place on a backend when all are at their limit.
    pub queue: bool,
    /// Sessions are closed at some age.
    pub ages: bool,
    /// So many commands to close sessions are given.
    pub commands: u32,
    /// The worker drains whether the clients are done or not.
    pub early_drain: bool,
}

impl Traits {
    /// Sessions are closed that would go on.
    pub fn is_moving(&self) -> bool {
        self.commands > 0 || self.ages
    }
}

/// A pool as drawn.
pub struct Cast {
    pub answer: Answer,
    /// None refuses.
    pub kinds: Vec<Option<Kind>>,
    pub security: Security,
}

pub fn cast(random: &mut Rng, secret: &mut Rng, traits: &Traits) -> Cast {
    let answer = match random.u8(0..5) {
        0 | 1 => Answer::Echo,
        2 | 3 => Answer::Source,
        _ => Answer::Greeting,
    };
    let mut kinds: Vec<Option<Kind>> = (0..random.usize(1..=5))
        .map(|_| match random.u8(0..4) {
            0 if traits.healthy => None,
            0 => unhealthy(random, answer),
            _ => Some(healthy(random, answer)),
        })
        .collect();
    if traits.healthy {
        kinds.push(Some(healthy(random, answer)));
    }
    let security = match secret.u8(0..8) {
        0 => Security::Passthrough,
        1 => Security::Termination,
        2 => Security::Origination,
        3 => Security::Reencryption,
        _ => Security::Nowhere,
    };
    if security.of_backends() {
        for kind in kinds.iter_mut().flatten() {
            // Some of those that close do so without a word.
            if let (Kind::CloseAfter { received }, true) = (*kind, secret.bool()) {
                *kind = Kind::CutAfter { received };
            }
        }
    }
    Cast { answer, kinds, security }
}

/// How long a hello or a handshake may take.
pub fn drawn_patience(secret: &mut Rng) -> Duration {
    Duration::from_millis(1 << secret.u32(6..=13))
}

fn healthy(random: &mut Rng, answer: Answer) -> Kind {
    match random.u8(0..6) {
        0 => Kind::Sink,
        1 => Kind::SlowReader {
            chunk: random.usize(256..=4096),
            pause: Duration::from_micros(random.u64(1..=10_000)),
        },
        _ => match answer {
            Answer::Echo => Kind::Echo,
            Answer::Source => Kind::Source { length: length(random) },
            Answer::Greeting => Kind::Greeter { length: length(random) },
        },
    }
}

fn unhealthy(random: &mut Rng, answer: Answer) -> Option<Kind> {
    if answer == Answer::Greeting && random.bool() {
        return Some(Kind::RudeGreeter { length: length(random) });
    }
    // Behind its number, so that it is known whose stream it was.
    let received = length(random);
    Some(match random.u8(0..6) {
        0 => Kind::NeverRead,
        1 => Kind::NeverAccept,
        2 => Kind::BlackHole,
        3 => Kind::ResetAfter { received },
        4 => Kind::CloseAfter { received },
        _ => return None,
    })
}

/// Mostly small, at times large enough to be spliced.
fn length(random: &mut Rng) -> u64 {
    let most = 1 << random.u32(4..=18);
    random.u64(8..=most)
}

pub fn draw_pool(index: usize, cast: &Cast, random: &mut Rng, traits: &Traits) -> Pool {
    let mut pool = with_members(pool(index, cast.kinds.len()), |members| {
        for Member { backend, .. } in members {
            let mut drawn = backend.renewed();
            (drawn.weight, drawn.limit) = (random.u16(1..=3), traits.backend_limit);
            *backend = Arc::new(drawn);
        }
    });
    pool.settings.tries = if traits.healthy { cast.kinds.len() } else { random.usize(1..=5) };
    pool.settings.connect_timeout = match traits.healthy {
        true => HOUR,
        false => Duration::from_millis(1 << random.u32(6..=12)),
    };
    let queue = match traits.healthy {
        true => Queue { limit: MOST_CLIENTS, timeout: HOUR },
        false => Queue {
            limit: random.u32(1..=MOST_CLIENTS),
            timeout: Duration::from_millis(1 << random.u32(6..=12)),
        },
    };
    if traits.queue { queued(pool, traits.backend_limit, queue) } else { pool }
}

pub fn draw_listener(random: &mut Rng, traits: &Traits) -> ListenerSettings {
    let mut timeout = || match random.bool() && !traits.healthy {
        true => Duration::from_millis(1 << random.u32(6..=13)),
        false => HOUR,
    };
    let (idle, half_closed_timeout) = (timeout(), timeout());
    ListenerSettings {
        limit: random.bool().then(|| random.u32(1..=20)),
        // In a full backlog a client may wait until its connect times out.
        backlog: if traits.healthy { MOST_CLIENTS as usize } else { random.usize(1..=64) },
        idle_timeout: random.bool().then_some(idle),
        half_closed_timeout,
        max_connection_age: traits.ages.then(|| Duration::from_millis(1 << random.u32(0..=12))),
        max_connection_age_jitter: random.u8(0..=50),
        failure_window: random.bool().then(|| Duration::from_millis(1 << random.u32(0..=12))),
    }
}

pub fn engine(random: &mut Rng, traits: &Traits, sessions: u32) -> EngineSettings {
    // A direction holds at most three buffers, one on its way and two behind it: with these nobody
    // waits for one for ever.
    let least = if traits.healthy { 6 * sessions as u16 } else { 4 };
    let more = if random.bool() { 4 } else { 60 };
    let count = random.u16(least..=least + more);
    EngineSettings {
        buffers: BufferSizes {
            size: 1 << random.u32(8..=14),
            count,
            offered: random.u16(1..=count.min(8)),
        },
        pipes: PipeSizes { count: random.u32(0..=8), size: 4096 << random.u32(0..=4) },
        stall_after: Duration::from_millis(1 << random.u32(6..=12)),
        stalled_share: match traits.healthy {
            true => usize::from(count),
            false => random.usize(1..=usize::from(count)),
        },
    }
}

pub fn plan(number: u64, index: usize, cast: &Cast, random: &mut Rng, traits: &Traits) -> Plan {
    let length = length(random);
    let least = (length / 64).max(1) as usize;
    Plan {
        stream: random.u64(..) & !0xff | number,
        target: front(index),
        source: ANYWHERE,
        length,
        chunk: random.usize(least..=least + 4096),
        pause: Duration::from_micros(1 << random.u32(0..=13)),
        deaf_until: Time::default(),
        answer: cast.answer,
        ending: if traits.healthy { Ending::HalfClose } else { ending(length, random) },
        wire: Wire::Plain,
    }
}

fn ending(length: u64, random: &mut Rng) -> Ending {
    match random.u8(0..8) {
        0 => Ending::Close,
        1 => Ending::Reset,
        2 => Ending::Stay,
        3 => Ending::CloseAfter { received: random.u64(0..=length) },
        4 => Ending::ResetAfter { received: random.u64(0..=length) },
        _ => Ending::HalfClose,
    }
}

pub const MOST_CLIENTS: u32 = 40;
