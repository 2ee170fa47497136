//! The kernel as the simulated process sees it: operations attempted when they are handed over and
//! whenever their descriptor changes, and the calls that complete at once.
//!
//! Time does not pass here; `world` moves the clock.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;

use super::super::{Completion, Descriptor, Interest, Operation, Token};
use super::agenda::Event;
use super::descriptors::{Descriptors, Object, PAGE, PipeId};
use super::endpoint::{Incoming, Phase};
use super::faults::Dice;
use super::network::Network;
use super::ring::{InFlight, Request, Ring, Stage};
use super::{EndpointId, ListenerId, Owner, RingId};

pub(super) struct Kernel {
    pub(super) network: Network,
    pub(super) descriptors: Descriptors,
    /// None when its driver was dropped.
    pub(super) rings: Vec<Option<Ring>>,
    pub(super) dice: Dice,
    /// Times that bytes were sent, by an operation or at once.
    pub(super) sends: u64,
}

/// How an attempt ended.
enum Attempt {
    Waits,
    Completed(Result<usize, Errno>),
    /// A receive that filled a buffer.
    Filled {
        length: usize,
        buffer: u16,
    },
}

impl Kernel {
    pub(super) fn new(network: Network, dice: Dice) -> Kernel {
        Kernel { network, descriptors: Descriptors::new(), rings: Vec::new(), dice, sends: 0 }
    }

    pub(super) fn ring(&mut self, ring: RingId) -> &mut Ring {
        // Only a driver, or a descriptor that its operation holds, names a ring; a driver that is
        // dropped takes the ring and these holds away together.
        self.rings[ring.0].as_mut().expect("a ring lives as long as its driver")
    }

    pub(super) fn submit(&mut self, ring: RingId, token: Token, operation: &Operation) {
        self.make_room(ring);
        self.ring(ring).begin(token, operation);
        self.descriptors.entry(operation.descriptor()).held_by.push((ring, token));
    }

    pub(super) fn cancel(&mut self, ring: RingId, token: Token) {
        self.make_room(ring);
        self.ring(ring).queue.push_back(Request::Cancel(token));
    }

    fn make_room(&mut self, ring: RingId) {
        if self.ring(ring).queue.len() >= self.dice.faults.submission_capacity {
            self.ring(ring).counters.early_submissions += 1;
            self.hand_over(ring);
        }
    }

    /// Starts what was queued, in order.
    pub(super) fn hand_over(&mut self, ring: RingId) {
        while let Some(request) = self.ring(ring).queue.pop_front() {
            match request {
                Request::Start(token) => self.start(ring, token),
                Request::Cancel(token) => self.cancel_started(ring, token),
            }
        }
        self.settle();
    }

    fn start(&mut self, ring: RingId, token: Token) {
        let operation = self.ring(ring).in_flight(token);
        operation.stage = Stage::Started;
        let operation = operation.operation;
        match operation {
            Operation::Connect { socket, address } => {
                // SAFETY: who submitted keeps the address valid until the operation's last
                // completion, which was not taken, since the operation is in flight.
                let target = unsafe { address.as_ref() }.as_socket();
                if let Err(errno) = self.connect(socket, target) {
                    return self.finish(ring, token, Attempt::Completed(Err(errno)));
                }
            }
            Operation::Receive { wait_first: true, .. } => return self.wake(ring, token),
            Operation::Send { .. } => self.sends += 1,
            _ => {}
        }
        self.attempt(ring, token);
    }

    fn connect(&mut self, socket: Descriptor, target: Option<SocketAddr>) -> Result<(), Errno> {
        let end = self.descriptors.socket(socket)?;
        let target = target.ok_or(Errno::AFNOSUPPORT)?;
        if self.dice.strikes(|faults| faults.no_port) {
            return Err(Errno::ADDRNOTAVAIL);
        }
        self.network.connect(end, target)
    }

    /// A send that moved bytes completes with their number; a connect goes on without its
    /// operation, as in Linux. One that was answered may be beyond cancelling.
    fn cancel_started(&mut self, ring: RingId, token: Token) {
        let Some(&mut InFlight { sent, to_be_looked_at, .. }) = self.ring(ring).started(token)
        else {
            return;
        };
        if to_be_looked_at && self.dice.random.bool() {
            return;
        }
        let result = if sent > 0 { Ok(sent) } else { Err(Errno::CANCELED) };
        self.finish(ring, token, Attempt::Completed(result));
    }

    /// Attempts what waits at descriptors that changed.
    pub(super) fn settle(&mut self) {
        loop {
            let touched = self.network.take_touched();
            if touched.is_empty() {
                return;
            }
            for descriptor in touched {
                let mut holders = self.descriptors.holders(descriptor);
                // Linux wakes the latest waiter first, and who waits again becomes the latest.
                if self.dice.random.bool() {
                    holders.reverse();
                }
                for (ring, token) in holders {
                    self.wake(ring, token);
                }
            }
        }
    }

    /// Attempts an operation that waits when its descriptor is ready for it.
    fn wake(&mut self, ring: RingId, token: Token) {
        let Some(InFlight { operation, to_be_looked_at: false, .. }) =
            self.ring(ring).started(token).copied()
        else {
            return;
        };
        let interest = match operation {
            Operation::Accept { .. } | Operation::Receive { .. } => Interest::READ,
            Operation::Connect { .. } | Operation::Send { .. } => Interest::WRITE,
            Operation::Poll { interest, .. } => interest,
        };
        if self.ready(operation.descriptor(), interest) == 0 {
            return;
        }
        let connects = matches!(operation, Operation::Connect { .. });
        if connects && self.dice.strikes(|faults| faults.late_look) {
            let delay = Duration::from_micros(1 << self.dice.random.u32(0..=LATEST_LOOK));
            self.ring(ring).in_flight(token).to_be_looked_at = true;
            return self.network.agenda.after(delay, Event::Look(ring, token));
        }
        self.attempt(ring, token);
    }

    /// The thread gets to an operation that it was late for, unless that was cancelled meanwhile.
    pub(super) fn look(&mut self, ring: RingId, token: Token) {
        let Some(live) = &mut self.rings[ring.0] else { return };
        if let Some(operation) = live.started(token) {
            operation.to_be_looked_at = false;
            self.attempt(ring, token);
        }
    }

    /// The bits of `interest` that hold. Errors and hang-ups always count.
    fn ready(&mut self, descriptor: Descriptor, interest: Interest) -> u32 {
        let ready = match self.descriptors.object(descriptor) {
            Object::Socket { end, .. } => self.network.endpoint(end).readiness(),
            Object::Listener(listener) if self.network.has_waiting(listener) => Interest::READ,
            _ => Interest::NONE,
        };
        ready.0 & (interest.0 | Interest::ERROR.0 | Interest::HANG_UP.0)
    }

    fn attempt(&mut self, ring: RingId, token: Token) {
        let InFlight { operation, sent, .. } = *self.ring(ring).in_flight(token);
        let object = self.descriptors.object(operation.descriptor());
        let attempt = match (operation, object) {
            (Operation::Accept { multishot, .. }, Object::Listener(listener)) => {
                return self.attempt_accept(ring, token, listener, multishot);
            }
            (Operation::Connect { .. }, Object::Socket { end, .. }) => self.attempt_connect(end),
            (Operation::Receive { cap, .. }, Object::Socket { end, .. }) => {
                return self.attempt_receives(ring, token, end, cap as usize);
            }
            (Operation::Send { data, length, .. }, Object::Socket { end, .. }) => {
                // SAFETY: who submitted keeps the data valid and unchanged until the operation's
                // last completion; `sent` is at most `length`.
                let rest = unsafe {
                    std::slice::from_raw_parts(data.as_ptr().add(sent), length as usize - sent)
                };
                match self.attempt_send(ring, token, end, rest) {
                    Attempt::Waits => self.what_was_sent(ring, token),
                    attempt => attempt,
                }
            }
            (Operation::Poll { socket, interest, lasting }, _) => {
                self.attempt_poll(socket, interest, lasting)
            }
            (Operation::Accept { .. }, _) => Attempt::Completed(Err(Errno::INVAL)),
            _ => Attempt::Completed(Err(Errno::NOTSOCK)),
        };
        self.finish(ring, token, attempt);
    }

    fn attempt_accept(
        &mut self,
        ring: RingId,
        token: Token,
        listener: ListenerId,
        multishot: bool,
    ) {
        loop {
            // Linux reserves the number first: a shortage shows also when nobody waits.
            let descriptor = match self.vacant() {
                Ok(descriptor) => descriptor,
                Err(errno) => return self.finish(ring, token, Attempt::Completed(Err(errno))),
            };
            let Some(end) = self.network.accept(listener, Owner::Process(descriptor)) else {
                return;
            };
            self.descriptors.insert(descriptor, Object::Socket { end, reset_on_close: false });
            let ends = !multishot
                || self.ring(ring).overflowing
                || self.dice.strikes(|faults| faults.multishot_ends);
            let completion = Completion {
                token,
                result: descriptor.0,
                buffer: None,
                more: !ends,
                nonempty: false,
            };
            self.post(ring, completion);
            if ends {
                return;
            }
        }
    }

    pub(super) fn accept_now(&mut self, listener: Descriptor) -> Result<Descriptor, Errno> {
        let Object::Listener(listener) = self.descriptors.object(listener) else {
            return Err(Errno::NOTSOCK);
        };
        let descriptor = self.vacant()?;
        let accepted = self.network.accept(listener, Owner::Process(descriptor));
        let end = accepted.ok_or(Errno::AGAIN)?;
        self.descriptors.insert(descriptor, Object::Socket { end, reset_on_close: false });
        Ok(descriptor)
    }

    fn attempt_connect(&mut self, end: EndpointId) -> Attempt {
        match self.network.connected(end) {
            Ok(false) => Attempt::Waits,
            Ok(true) => Attempt::Completed(Ok(0)),
            Err(errno) => Attempt::Completed(Err(errno)),
        }
    }

    /// Receives until the cap is used up or nothing is left. The last piece may go over the cap.
    fn attempt_receives(&mut self, ring: RingId, token: Token, end: EndpointId, cap: usize) {
        let single = cap == 1 || !self.dice.faults.caps_receives;
        loop {
            let attempt = self.attempt_receive(ring, end, single);
            let Attempt::Filled { length, buffer } = attempt else {
                return self.finish(ring, token, attempt);
            };
            let operation = self.ring(ring).in_flight(token);
            operation.received += length;
            let ends = operation.received >= cap
                || !self.dice.faults.caps_receives
                || self.ring(ring).overflowing
                || self.dice.strikes(|faults| faults.multishot_ends);
            if ends {
                return self.finish(ring, token, attempt);
            }
            let nonempty = self.network.endpoint(end).is_nonempty();
            let (result, buffer) = (length as i32, Some(buffer));
            self.post(ring, Completion { token, result, buffer, more: true, nonempty });
            if !nonempty {
                return;
            }
        }
    }

    fn attempt_receive(&mut self, ring: RingId, end: EndpointId, single: bool) -> Attempt {
        // Linux picks the buffer before it looks at the socket: without one, an empty socket, an
        // end of the stream and an error all give ENOBUFS, and the error stays to be told.
        let Some(buffer) = self.ring(ring).next_buffer() else {
            return Attempt::Completed(Err(Errno::NOBUFS));
        };
        let readable = self.network.endpoint(end).readable();
        if readable > 0 && self.dice.strikes(|faults| faults.no_buffers) {
            return Attempt::Completed(Err(Errno::NOBUFS));
        }
        if readable > 0 && self.dice.strikes(|faults| faults.spurious_again) {
            return Attempt::Completed(Err(Errno::AGAIN));
        }
        let most = self.dice.shorten(readable.min(buffer.length), |faults| faults.short_receive);
        // SAFETY: who provided the buffer gave up its memory, valid for its length, until a
        // completion names it; `most` is at most its length.
        let memory = unsafe { std::slice::from_raw_parts_mut(buffer.memory.as_ptr(), most) };
        match self.network.read(end, memory) {
            Ok(0) => Attempt::Completed(Ok(0)),
            Ok(length) => {
                self.ring(ring).use_buffer();
                Attempt::Filled { length, buffer: buffer.id }
            }
            Err(Errno::AGAIN) if single && self.dice.strikes(|faults| faults.empty_again) => {
                Attempt::Completed(Err(Errno::AGAIN))
            }
            Err(Errno::AGAIN) => Attempt::Waits,
            Err(errno) => Attempt::Completed(Err(errno)),
        }
    }

    fn attempt_send(
        &mut self,
        ring: RingId,
        token: Token,
        end: EndpointId,
        rest: &[u8],
    ) -> Attempt {
        let room = self.network.endpoint(end).room().min(rest.len());
        let most = self.dice.shorten(room, |faults| faults.short_send);
        let spurious = room > 0 && self.dice.strikes(|faults| faults.spurious_again);
        let written = if spurious {
            Err(Errno::AGAIN)
        } else {
            self.network.write(end, if room > 0 { &rest[..most] } else { rest })
        };
        let operation = self.ring(ring).in_flight(token);
        match written {
            Ok(length) => {
                operation.sent += length;
                let complete = length == rest.len() || most < room;
                if complete { Attempt::Completed(Ok(operation.sent)) } else { Attempt::Waits }
            }
            Err(Errno::AGAIN) if !spurious => Attempt::Waits,
            // The error is lost: Linux consumes it and reports the bytes moved before it.
            Err(_) if operation.sent > 0 => Attempt::Completed(Ok(operation.sent)),
            Err(errno) => Attempt::Completed(Err(errno)),
        }
    }

    /// How a send ends when there is no room for the rest.
    fn what_was_sent(&mut self, ring: RingId, token: Token) -> Attempt {
        let sent = self.ring(ring).in_flight(token).sent;
        Attempt::Completed(if sent > 0 { Ok(sent) } else { Err(Errno::AGAIN) })
    }

    fn attempt_poll(&mut self, socket: Descriptor, interest: Interest, lasting: bool) -> Attempt {
        let once = !lasting && self.is_half_closed(socket);
        match self.ready(socket, interest) {
            0 if once && self.dice.strikes(|faults| faults.idle_poll) => {
                Attempt::Completed(Ok(libc::POLLRDHUP as usize))
            }
            0 => Attempt::Waits,
            bits => Attempt::Completed(Ok(bits as usize)),
        }
    }

    fn is_half_closed(&mut self, socket: Descriptor) -> bool {
        let end = self.descriptors.socket(socket);
        end.is_ok_and(|end| self.network.endpoint(end).incoming == Incoming::Ended)
    }

    /// Posts the only or last completion of an operation, unless it waits. That of a quiet send
    /// that was done is only put aside.
    fn finish(&mut self, ring: RingId, token: Token, attempt: Attempt) {
        let (result, buffer) = match attempt {
            Attempt::Waits => return,
            Attempt::Completed(Ok(result)) => (result as i32, None),
            Attempt::Completed(Err(errno)) => (-errno.raw_os_error(), None),
            Attempt::Filled { length, buffer } => (length as i32, Some(buffer)),
        };
        let operation = self.ring(ring).in_flight(token).operation;
        let nonempty = match operation {
            Operation::Receive { socket, .. } => self
                .descriptors
                .socket(socket)
                .is_ok_and(|end| self.network.endpoint(end).is_nonempty()),
            _ => false,
        };
        let completion = Completion { token, result, buffer, more: false, nonempty };
        match operation {
            Operation::Send { length, quiet: true, .. } if result == length as i32 => {
                self.ring(ring).in_flight(token).stage = Stage::Finished;
                self.ring(ring).silent.push(completion);
            }
            _ => self.post(ring, completion),
        }
    }

    fn post(&mut self, ring: RingId, completion: Completion) {
        let now = self.network.agenda.now();
        let delayed = self.dice.strikes(|faults| faults.delayed);
        let delay = if delayed { self.dice.random.u64(1..=LONGEST_DELAY_MICROS) } else { 0 };
        let operation = self.ring(ring).in_flight(completion.token);
        if !completion.more {
            operation.stage = Stage::Finished;
        }
        if delayed {
            operation.visible_at = operation.visible_at.max(now + Duration::from_micros(delay));
        }
        let visible_at = operation.visible_at;
        // Equal counts as later: one that was held back until this moment is still on the agenda.
        if visible_at >= now {
            self.network.agenda.at(visible_at, Event::Publish(ring, completion));
        } else {
            self.ring(ring).completions.push(completion);
        }
    }

    /// A completion that was held back becomes visible.
    pub(super) fn publish(&mut self, ring: RingId, completion: Completion) {
        if let Some(ring) = &mut self.rings[ring.0] {
            ring.completions.push(completion);
        }
    }

    /// Hands the completions to the worker.
    pub(super) fn take_completions(&mut self, ring: RingId, into: &mut Vec<Completion>) {
        let mut taken = std::mem::take(&mut self.ring(ring).completions);
        taken.append(&mut self.ring(ring).silent);
        for index in 1..taken.len() {
            let different = taken[index - 1].token != taken[index].token;
            if different && self.dice.strikes(|faults| faults.reordered) {
                taken.swap(index - 1, index);
            }
        }
        for completion in taken.iter().filter(|completion| !completion.more) {
            self.forget(ring, completion.token);
        }
        self.ring(ring).counters.completions += taken.len() as u64;
        into.append(&mut taken);
    }

    /// The operation's last completion was taken.
    fn forget(&mut self, ring: RingId, token: Token) {
        if let Some(operation) = self.ring(ring).operations.remove(&token.0) {
            let entry = self.descriptors.entry(operation.operation.descriptor());
            entry.held_by.retain(|holder| *holder != (ring, token));
        }
    }

    /// Whether this turn of the ring is one in which the completion queue overflows.
    pub(super) fn roll_overflow(&mut self, ring: RingId) {
        let overflowing = self.dice.strikes(|faults| faults.overflow);
        let ring = self.ring(ring);
        ring.overflowing = overflowing;
        ring.counters.overflows += u64::from(overflowing);
    }

    fn vacant(&mut self) -> Result<Descriptor, Errno> {
        if self.dice.strikes(|faults| faults.no_descriptor) {
            return Err(Errno::MFILE);
        }
        self.descriptors.vacant()
    }

    pub(super) fn open(&mut self, local: SocketAddr) -> Result<Descriptor, Errno> {
        let descriptor = self.vacant()?;
        let end = self.network.open(local, Owner::Process(descriptor));
        self.descriptors.insert(descriptor, Object::Socket { end, reset_on_close: false });
        Ok(descriptor)
    }

    pub(super) fn pipe(&mut self, size: usize) -> Result<(Descriptor, Descriptor), Errno> {
        let reader = self.vacant()?;
        let small = self.dice.strikes(|faults| faults.small_pipe);
        let pages = if small { 1 } else { size.div_ceil(PAGE) };
        let pipe = self.descriptors.add_pipe(pages);
        self.descriptors.insert(reader, Object::PipeReader(pipe));
        let writer = self.descriptors.vacant().inspect_err(|_| {
            self.descriptors.remove(reader);
            self.descriptors.pipe(pipe).writer_open = false;
        })?;
        self.descriptors.insert(writer, Object::PipeWriter(pipe));
        Ok((reader, writer))
    }

    pub(super) fn read(&mut self, socket: Descriptor, room: &mut [u8]) -> Result<usize, Errno> {
        let end = self.descriptors.socket(socket)?;
        if self.dice.strikes(|faults| faults.spurious_again) {
            return Err(Errno::AGAIN);
        }
        let most = room.len().min(self.network.endpoint(end).readable());
        let most = self.dice.shorten(most, |faults| faults.short_receive);
        self.network.read(end, &mut room[..most])
    }

    pub(super) fn write(&mut self, socket: Descriptor, bytes: &[u8]) -> Result<usize, Errno> {
        let end = self.descriptors.socket(socket)?;
        if self.dice.strikes(|faults| faults.spurious_again) {
            return Err(Errno::AGAIN);
        }
        let most = self.dice.shorten(bytes.len(), |faults| faults.short_send);
        let written = self.network.write(end, &bytes[..most])?;
        self.sends += 1;
        Ok(written)
    }

    pub(super) fn splice(
        &mut self,
        from: Descriptor,
        to: Descriptor,
        length: usize,
    ) -> Result<usize, Errno> {
        match (self.descriptors.object(from), self.descriptors.object(to)) {
            (Object::Socket { end, .. }, Object::PipeWriter(pipe)) => self.fill(end, pipe, length),
            (Object::PipeReader(pipe), Object::Socket { end, .. }) => self.drain(pipe, end, length),
            _ => Err(Errno::INVAL),
        }
    }

    fn fill(&mut self, end: EndpointId, pipe: PipeId, length: usize) -> Result<usize, Errno> {
        let target = self.descriptors.pipe(pipe);
        if target.is_broken() {
            return Err(Errno::PIPE);
        }
        // Linux looks at the pipe first: a full one says EAGAIN even at the end of the stream.
        if target.room() == 0 {
            return Err(Errno::AGAIN);
        }
        let most = length.min(target.room()).min(self.network.endpoint(end).readable());
        let most = self.dice.shorten(most, |faults| faults.short_receive);
        let mut data = vec![0; most];
        let moved = self.network.read(end, &mut data)?;
        self.descriptors.pipe(pipe).push(&data[..moved]);
        Ok(moved)
    }

    fn drain(&mut self, pipe: PipeId, end: EndpointId, length: usize) -> Result<usize, Errno> {
        let source = self.descriptors.pipe(pipe);
        let limit = self.dice.shorten(length.min(source.length()), |faults| faults.short_send);
        let mut moved = 0;
        while moved < limit
            && let Some(chunk) = source.front()
        {
            let most = chunk.len().min(limit - moved);
            match self.network.write(end, &chunk[..most]) {
                Ok(written) => {
                    source.consume(written);
                    moved += written;
                }
                Err(errno) if moved == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        match moved {
            0 if source.writer_open => Err(Errno::AGAIN),
            moved => Ok(moved),
        }
    }

    pub(super) fn shutdown_write(&mut self, socket: Descriptor) -> Result<(), Errno> {
        let end = self.descriptors.socket(socket)?;
        self.network.shutdown_write(end)
    }

    pub(super) fn close(&mut self, descriptor: Descriptor) {
        match self.descriptors.remove(descriptor) {
            Object::Socket { end, reset_on_close } => self.network.close(end, reset_on_close),
            Object::Listener(listener) => self.network.close_listener(listener),
            Object::PipeReader(_) | Object::PipeWriter(_) => {}
        }
    }

    pub(super) fn is_gone(&mut self, socket: Descriptor) -> bool {
        self.descriptors.socket(socket).is_ok_and(|end| {
            matches!(self.network.endpoint(end).phase, Phase::Fresh | Phase::Closed)
        })
    }
}

/// A thread is busy with other things for at most 2 to the power of so many microseconds.
const LATEST_LOOK: u32 = 14;

/// A completion is held back for at most so long.
const LONGEST_DELAY_MICROS: u64 = 300;
