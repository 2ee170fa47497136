//! What goes wrong in a simulated world, and how often. It decides; `kernel`, `network` and
//! `driver` do it.

use fastrand::Rng;

/// Chances in one thousand, each rolled where the fault could strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A receive or a splice takes fewer bytes than are there.
    pub short_receive: u16,
    /// A send or a splice takes fewer bytes than fit; a send then completes short.
    pub short_send: u16,
    /// A receive or send that could move bytes completes with EAGAIN.
    pub spurious_again: u16,
    /// A receive of one piece that finds none completes with EAGAIN instead of waiting, as one on
    /// a non-blocking socket does where the kernel knows no caps.
    pub empty_again: u16,
    /// A poll ends with POLLRDHUP alone, which nobody asked for, at a socket whose peer has ended
    /// its stream: Linux's one-shot polls always do.
    pub idle_poll: u16,
    /// A receive completes with ENOBUFS although buffers are there.
    pub no_buffers: u16,
    /// Neighbouring completions of different operations change places.
    pub reordered: u16,
    /// A completion is held back, to a later turn.
    pub delayed: u16,
    /// An accept, an open or a pipe fails with EMFILE.
    pub no_descriptor: u16,
    /// A multishot accept or receive ends after a connection or a piece that it did give.
    pub multishot_ends: u16,
    /// The completion queue overflows in a turn: multishots that complete in it end.
    pub overflow: u16,
    /// A pipe has one page of room, whatever was asked for.
    pub small_pipe: u16,
    /// A connect finds no local port: EADDRNOTAVAIL.
    pub no_port: u16,
    /// A request to connect is lost, and repeated a second later, then two, then four. The last of
    /// these comes through.
    pub lost_request: u16,
    /// The answer to a request, be it a grant or a refusal, is lost. It comes when the request is
    /// repeated.
    pub lost_answer: u16,
    /// The answer takes up to four seconds: about a power of two in milliseconds, as time-outs are
    /// that tests draw, so that both often come at once.
    pub late_answer: u16,
    /// A connect of the process is answered by a router: EHOSTUNREACH.
    pub unreachable: u16,
    /// A connect of the process without an answer fails with ETIMEDOUT after such a time, as with
    /// TCP_USER_TIMEOUT.
    pub gives_up: u16,
    /// A connect that was answered is looked at some time later, as where the thread is busy: the
    /// first bytes, an end or a reset may be there by then.
    pub late_look: u16,
    /// An established connection dies after a while with ECONNRESET.
    pub cut_reset: u16,
    /// An established connection dies after a while with ETIMEDOUT.
    pub cut_timeout: u16,
    /// The kernel knows receives with a cap, as since Linux 6.17; not a chance.
    pub caps_receives: bool,
    /// How many operations and cancellations the submission queue holds; not a chance.
    pub submission_capacity: usize,
}

impl Faults {
    /// The only uncertainty left is the network's timing.
    pub const fn none() -> Faults {
        Faults {
            short_receive: 0,
            short_send: 0,
            spurious_again: 0,
            empty_again: 0,
            idle_poll: 0,
            no_buffers: 0,
            reordered: 0,
            delayed: 0,
            no_descriptor: 0,
            multishot_ends: 0,
            overflow: 0,
            small_pipe: 0,
            no_port: 0,
            lost_request: 0,
            lost_answer: 0,
            late_answer: 0,
            unreachable: 0,
            gives_up: 0,
            late_look: 0,
            cut_reset: 0,
            cut_timeout: 0,
            caps_receives: true,
            submission_capacity: 1024,
        }
    }

    /// A mix: each fault is absent in half of the seeds, and drawn up to a bound that leaves the
    /// run able to make progress in the others. One seed in eight has none at all.
    pub fn from_seed(seed: u64) -> Faults {
        // Not the sequence that `World::new` draws from the same seed.
        let mut random = Rng::with_seed(!seed);
        if random.u8(0..8) == 0 {
            return Faults::none();
        }
        let mut draw = |bound: u16| if random.bool() { random.u16(1..=bound) } else { 0 };
        Faults {
            short_receive: draw(300),
            short_send: draw(300),
            spurious_again: draw(100),
            idle_poll: draw(500),
            no_buffers: draw(50),
            reordered: draw(500),
            delayed: draw(200),
            no_descriptor: draw(50),
            multishot_ends: draw(200),
            overflow: draw(50),
            small_pipe: draw(300),
            no_port: draw(50),
            cut_reset: draw(100),
            cut_timeout: draw(50),
            submission_capacity: if random.bool() { random.usize(1..=8) } else { 1024 },
            caps_receives: random.bool(),
            empty_again: if random.bool() { random.u16(1..=1000) } else { 0 },
            ..Faults::of_connects(&mut random)
        }
    }

    /// Those alone that have to do with how a connection comes about.
    fn of_connects(random: &mut Rng) -> Faults {
        let mut draw = |bound: u16| if random.bool() { random.u16(1..=bound) } else { 0 };
        Faults {
            lost_request: draw(200),
            lost_answer: draw(200),
            late_answer: draw(500),
            unreachable: draw(100),
            gives_up: draw(300),
            late_look: draw(700),
            ..Faults::none()
        }
    }
}

/// Rolls the dice for a world's faults.
pub(super) struct Dice {
    pub(super) faults: Faults,
    pub(super) random: Rng,
}

impl Dice {
    pub(super) fn new(faults: Faults, random: Rng) -> Dice {
        Dice { faults, random }
    }

    pub(super) fn strikes(&mut self, fault: fn(&Faults) -> u16) -> bool {
        let chance = fault(&self.faults);
        chance > 0 && self.random.u16(0..1000) < chance
    }

    /// `most`, or fewer but not none when the fault strikes.
    pub(super) fn shorten(&mut self, most: usize, fault: fn(&Faults) -> u16) -> usize {
        if most > 1 && self.strikes(fault) { self.random.usize(1..most) } else { most }
    }
}
