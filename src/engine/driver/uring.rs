//! The driver on Linux: one io_uring per worker thread, and plain system calls beside it.
//!
//! It turns operations into submission entries and entries of the completion queue into
//! `Completion`s. It owns the ring, the provided-buffer ring and the read on the eventfd; it does
//! not know who waits for what.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::net::{RecvFlags, SendFlags, SocketFlags};
use rustix::pipe::{PipeFlags, SpliceFlags};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use super::buffer_ring::BufferRing;
use super::capped_receive;
use super::silent_sends::SilentSends;
use super::{
    Completion, Descriptor, Driver, DriverCounters, Interest, Kind, Operation, SocketOptions,
    Token, Wait,
};
use crate::engine::remote::Remote;
use crate::engine::support::{self, Unsupported};
use crate::engine::time::Time;

/// Sizes of one ring.
#[derive(Clone, Copy, Debug)]
pub struct RingSizes {
    /// Entries that can be queued between two turns; more are handed over early.
    pub submissions: u32,
    /// Completions the kernel can leave for one turn without an overflow.
    pub completions: u32,
    /// Buffers that can be offered at a time; a power of two, at most 32,768.
    pub buffers: u16,
}

/// One ring, owned by the thread that made it.
pub struct Uring {
    ring: IoUring,
    buffers: BufferRing,
    /// Entries that found the submission queue full even after an early hand-over.
    waiting: VecDeque<squeue::Entry>,
    /// The kernel knows receives with a cap. Else each receive completes once.
    caps_receives: bool,
    /// Sends whose success the kernel does not announce.
    silent: SilentSends,
    remote: Arc<Remote>,
    /// Where the kernel puts the eventfd's counter; boxed, because a read is always in flight.
    wake_value: Box<u64>,
    /// When the earliest timer of the ring rings, if one runs.
    alarm: Option<Time>,
    /// Read by the kernel when it takes the timer's entry.
    alarm_after: Box<types::Timespec>,
    /// The clock as it was read last: once per turn.
    last_now: Cell<Time>,
    counters: DriverCounters,
    origin: Instant,
}

/// The only buffer group of a ring.
const GROUP: u16 = 0;
/// io_uring_enter: take completions and run deferred work (needed with DEFER_TASKRUN).
const ENTER_GETEVENTS: u32 = 1;
const WAKE: u64 = (1 << 8) | Kind::Internal as u64;
/// The ring's timer rings.
const ALARM: u64 = (2 << 8) | Kind::Internal as u64;

impl Uring {
    /// Makes a ring on the calling thread, which must be the one that uses it.
    pub fn new(sizes: RingSizes, remote: Arc<Remote>) -> Result<Uring, Unsupported> {
        let mut ring: IoUring = IoUring::builder()
            // Linux 6.0: one submitting thread spares a lock, and DEFER_TASKRUN needs it.
            .setup_single_issuer()
            // Linux 6.1: completions are produced in our own turn, in one batch, not by interrupts.
            .setup_defer_taskrun()
            // Linux 5.18: one bad entry does not keep the rest of a batch from being submitted.
            .setup_submit_all()
            // A size above the kernel's limit is cut to it instead of refused.
            .setup_clamp()
            .setup_cqsize(sizes.completions)
            .build(sizes.submissions)
            .map_err(support::explain_ring)?;
        let buffers = BufferRing::new(&ring, sizes.buffers, GROUP)?;
        // Only an optimisation: without it small messages cost a little more.
        let caps_receives =
            capped_receive::is_supported(&mut ring, GROUP).unwrap_or_else(|error| {
                tracing::debug!(%error, "whether receives can have a cap could not be tried");
                false
            });
        let mut uring = Uring {
            ring,
            buffers,
            waiting: VecDeque::new(),
            caps_receives,
            silent: SilentSends::default(),
            remote,
            wake_value: Box::new(0),
            alarm: None,
            alarm_after: Box::default(),
            last_now: Cell::default(),
            counters: DriverCounters::default(),
            origin: now(),
        };
        // Linux 5.18: spares each turn the look-up of the ring's descriptor. Only an optimisation,
        // so a kernel that refuses loses nothing.
        if let Err(error) = uring.ring.submitter().register_ring_fd() {
            tracing::debug!(%error, "the ring's descriptor could not be registered");
        }
        uring.read_signal();
        Ok(uring)
    }

    /// Has it do as on a kernel before 6.17; for tests.
    #[cfg(test)]
    pub(in crate::engine) fn without_capped_receives(mut self) -> Uring {
        self.caps_receives = false;
        self
    }

    /// Whether this kernel knows receives that end with a cap.
    #[cfg(test)]
    pub(in crate::engine) fn caps_receives(&self) -> bool {
        self.caps_receives
    }

    /// Keeps a read on the eventfd in flight, so that another thread can end a wait.
    fn read_signal(&mut self) {
        let Some(signal) = self.remote.signal() else { return };
        let value: *mut u64 = &mut *self.wake_value;
        let read = opcode::Read::new(types::Fd(signal.as_raw_fd()), value.cast(), 8);
        self.push(read.build().user_data(WAKE));
    }

    fn push(&mut self, entry: squeue::Entry) {
        self.silent.pushed();
        // SAFETY: `Driver::submit` makes the caller keep what the entry points to; the eventfd's
        // value is boxed and lives as long as the ring.
        if self.waiting.is_empty() && unsafe { self.ring.submission().push(&entry) }.is_ok() {
            return;
        }
        self.counters.early_submissions += 1;
        // An error here shows again in the coming turn, which deals with it.
        if let Err(error) = self.ring.submit() {
            tracing::debug!(%error, "an early submission was refused");
        }
        self.waiting.push_back(entry);
        self.push_waiting();
    }

    fn push_waiting(&mut self) {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.waiting.front() {
            // SAFETY: as in `push`.
            if unsafe { queue.push(entry) }.is_err() {
                break;
            }
            self.waiting.pop_front();
        }
    }

    /// Sees to it that a wait ends after `time` at the latest. A timer of the ring's own does so
    /// for many turns; a time-out of each wait would set a hardware timer for each.
    fn set_alarm(&mut self, time: Duration) {
        let due = self.last_now.get() + time;
        if self.alarm.is_some_and(|alarm| alarm <= due) {
            return;
        }
        self.alarm = Some(due);
        // The kernel counts from when it takes the entry, and tasks ran since the turn began.
        let passed = now().duration_since(self.origin);
        let left = Duration::from_nanos(due.as_nanos()).saturating_sub(passed);
        *self.alarm_after = types::Timespec::from(left);
        let timeout = opcode::Timeout::new(&raw const *self.alarm_after);
        self.push(timeout.build().user_data(ALARM));
    }

    /// Moves what the kernel has posted; whether the eventfd was among it.
    fn take(&mut self, completions: &mut Vec<Completion>) -> bool {
        let mut woken = false;
        for entry in self.ring.completion() {
            if entry.user_data() == WAKE {
                woken = true;
            } else if entry.user_data() == ALARM {
                self.alarm = None;
            } else if Token(entry.user_data()).kind() != Kind::Internal {
                completions.push(completion(&entry));
            }
        }
        woken
    }

    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let queued = self.ring.submission().len() as u32;
        let wait = if self.waiting.is_empty() { wait } else { Wait::No };
        let least = u32::from(wait != Wait::No);
        let nothing = None::<&libc::sigset_t>;
        // SAFETY: no argument is passed, and the flags ask for none.
        let result =
            unsafe { self.ring.submitter().enter(queued, least, ENTER_GETEVENTS, nothing) };
        match result {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // A signal came; completions must be taken first; memory is short for the moment.
                // The next turn tries again.
                Some(libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }
}

impl Driver for Uring {
    // SAFETY: the caller keeps the trait's promise: what the operation points to stays valid.
    unsafe fn submit(&mut self, token: Token, operation: &Operation) {
        let entry = match *operation {
            Operation::Accept { listener, multishot } => accept(listener, multishot),
            Operation::Connect { socket, address } => {
                // SAFETY: the slot keeps the address until the last completion.
                let address = unsafe { address.as_ref() };
                let fd = types::Fd(socket.0);
                opcode::Connect::new(fd, address.as_ptr().cast(), address.len()).build()
            }
            Operation::Receive { socket, wait_first, cap } if self.caps_receives && cap > 1 => {
                capped_receive::capped(socket, wait_first, cap, GROUP)
            }
            Operation::Receive { socket, wait_first, .. } => {
                capped_receive::single(socket, wait_first, GROUP)
            }
            Operation::Send { socket, data, length, quiet } => {
                // MSG_DONTWAIT: done or refused while it is submitted; we wait for room better
                // than the kernel does (`Io::poll_event`). With MSG_WAITALL a short send counts
                // as refused. MSG_NOSIGNAL: an error, not SIGPIPE.
                let flags = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
                let send = opcode::Send::new(types::Fd(socket.0), data.as_ptr(), length);
                let entry = send.flags(flags).build();
                if quiet {
                    // Linux 5.17: only a refusal posts a completion and ends a wait.
                    self.silent.push(token, length);
                    entry.flags(squeue::Flags::SKIP_SUCCESS)
                } else {
                    entry
                }
            }
            Operation::Poll { socket, interest, lasting } => {
                opcode::PollAdd::new(types::Fd(socket.0), interest.0).multi(lasting).build()
            }
        };
        self.push(entry.user_data(token.0));
    }

    fn cancel(&mut self, token: Token) {
        self.push(opcode::AsyncCancel::new(token.0).build().user_data(Kind::Internal as u64));
    }

    // SAFETY: the caller keeps the trait's promise: the memory is the driver's meanwhile.
    unsafe fn provide(&mut self, id: u16, memory: NonNull<u8>, length: u32) {
        // SAFETY: passed on to the caller.
        unsafe { self.buffers.provide(id, memory, length) };
    }

    fn turn(&mut self, wait: Wait, completions: &mut Vec<Completion>) -> io::Result<bool> {
        self.buffers.publish();
        self.push_waiting();
        if let Wait::For(time) = wait {
            self.set_alarm(time);
        }
        self.counters.turns += 1;
        self.enter(wait)?;
        let before = completions.len();
        let mut woken = self.take(completions);
        while self.ring.submission().cq_overflow() {
            // Nothing is lost: the kernel kept what found no room, and posts it now. All must be
            // here before it is concluded which sends were silent.
            self.counters.overflows += 1;
            self.enter(Wait::No)?;
            woken |= self.take(completions);
        }
        let unsubmitted = self.ring.submission().len() + self.waiting.len();
        self.silent.conclude(unsubmitted, before, completions);
        self.counters.completions += (completions.len() - before) as u64;
        if woken {
            self.read_signal();
        }
        Ok(woken)
    }

    fn now(&self) -> Time {
        // 584 years fit.
        let time = Time::from_nanos(now().duration_since(self.origin).as_nanos() as u64);
        self.last_now.set(time);
        time
    }

    fn counters(&self) -> DriverCounters {
        self.counters
    }

    fn open(&mut self, target: &SocketAddr, options: &SocketOptions) -> io::Result<Descriptor> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(*target), kind, Some(Protocol::TCP))?;
        set_options(&SockRef::from(&socket), options)?;
        Ok(Descriptor(socket.into_raw_fd()))
    }

    fn bind(&mut self, socket: Descriptor, address: SocketAddr) -> io::Result<()> {
        let borrowed = borrow(socket);
        let one: libc::c_int = 1;
        // The port is chosen at connect, by the whole 4-tuple, so that one source address has
        // its ports once per backend and not once in all (Linux 4.2).
        // SAFETY: the option's value is an int that lives through the call.
        let result = unsafe {
            libc::setsockopt(
                socket.0,
                libc::IPPROTO_IP,
                libc::IP_BIND_ADDRESS_NO_PORT,
                (&raw const one).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        SockRef::from(&borrowed).bind(&SockAddr::from(address))
    }

    fn accept_now(&mut self, listener: Descriptor) -> io::Result<Descriptor> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accepted = rustix::net::accept_with(borrow(listener), flags)?;
        Ok(Descriptor(accepted.into_raw_fd()))
    }

    fn peer_address(&mut self, socket: Descriptor) -> io::Result<SocketAddr> {
        internet(SockRef::from(&borrow(socket)).peer_addr()?)
    }

    fn local_address(&mut self, socket: Descriptor) -> io::Result<SocketAddr> {
        internet(SockRef::from(&borrow(socket)).local_addr()?)
    }

    fn shutdown_write(&mut self, socket: Descriptor) -> io::Result<()> {
        SockRef::from(&borrow(socket)).shutdown(std::net::Shutdown::Write)
    }

    fn reset_on_close(&mut self, socket: Descriptor) {
        let borrowed = borrow(socket);
        let linger = Some(std::time::Duration::ZERO);
        // Without the option the close is an ordinary one; nothing else can be done about it.
        if let Err(error) = SockRef::from(&borrowed).set_linger(linger) {
            tracing::debug!(%error, "SO_LINGER was refused");
        }
    }

    fn is_gone(&mut self, socket: Descriptor) -> bool {
        const TCP_CLOSE: u8 = 7;
        let mut state = [0u8; 1];
        let mut length: libc::socklen_t = 1;
        // TCP_INFO's first byte is the state; a short buffer takes just that.
        // SAFETY: the buffer and its length live through the call.
        let result = unsafe {
            libc::getsockopt(
                socket.0,
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                state.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        result != 0 || state[0] == TCP_CLOSE
    }

    fn unsent(&mut self, socket: Descriptor) -> io::Result<usize> {
        queued(socket, libc::TIOCOUTQ)
    }

    fn unread(&mut self, socket: Descriptor) -> io::Result<usize> {
        queued(socket, libc::FIONREAD)
    }

    fn read(&mut self, socket: Descriptor, room: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(borrow(socket), room, RecvFlags::DONTWAIT)?.0)
    }

    fn skip(&mut self, socket: Descriptor, length: usize) -> io::Result<usize> {
        let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
        // SAFETY: with MSG_TRUNC the kernel's TCP counts the bytes and copies none (tcp(7)), so
        // the address of the room is not used.
        let result = unsafe { libc::recv(socket.0, std::ptr::null_mut(), length, flags) };
        usize::try_from(result).map_err(|_| io::Error::last_os_error())
    }

    fn write(&mut self, socket: Descriptor, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        Ok(rustix::net::send(borrow(socket), bytes, flags)?)
    }

    fn splice(&mut self, from: Descriptor, to: Descriptor, length: usize) -> io::Result<usize> {
        // The sockets are non-blocking as well: on a blocking one the flag alone is not enough.
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        Ok(rustix::pipe::splice(borrow(from), None, borrow(to), None, length, flags)?)
    }

    fn pipe(&mut self, size: usize) -> io::Result<(Descriptor, Descriptor)> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A refusal (fs.pipe-max-size, or the user's share of pipe pages is spent) leaves a pipe
        // of the kernel's default size, which works as well and is only slower.
        if let Err(error) = rustix::pipe::fcntl_setpipe_size(&write, size) {
            tracing::debug!(%error, size, "a pipe keeps the kernel's default size");
        }
        Ok((Descriptor(read.into_raw_fd()), Descriptor(write.into_raw_fd())))
    }

    fn close(&mut self, descriptor: Descriptor) {
        // SAFETY: the engine owns the descriptor and gives it up here, once.
        if unsafe { libc::close(descriptor.0) } != 0 {
            tracing::debug!(error = %io::Error::last_os_error(), "close");
        }
    }
}

/// Sets the options of one side of a connection, or of a listening socket to be inherited.
pub fn set_options(socket: &SockRef<'_>, options: &SocketOptions) -> io::Result<()> {
    if options.nodelay {
        socket.set_tcp_nodelay(true)?;
    }
    if let Some(keepalive) = &options.keepalive {
        let settings = TcpKeepalive::new()
            .with_time(keepalive.idle)
            .with_interval(keepalive.interval)
            .with_retries(keepalive.probes);
        socket.set_tcp_keepalive(&settings)?;
    }
    if let Some(time) = options.user_timeout {
        socket.set_tcp_user_timeout(Some(time))?;
    }
    if let Some(bytes) = options.receive_buffer {
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    if let Some(bytes) = options.send_buffer {
        socket.set_send_buffer_size(bytes as usize)?;
    }
    Ok(())
}

fn accept(listener: Descriptor, multishot: bool) -> squeue::Entry {
    let fd = types::Fd(listener.0);
    // Accepted sockets are used with splice(2), which needs O_NONBLOCK.
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    if multishot {
        opcode::AcceptMulti::new(fd).flags(flags).build()
    } else {
        let none = std::ptr::null_mut();
        opcode::Accept::new(fd, none, none.cast()).flags(flags).build()
    }
}

fn completion(entry: &cqueue::Entry) -> Completion {
    let flags = entry.flags();
    Completion {
        token: Token(entry.user_data()),
        result: entry.result(),
        buffer: cqueue::buffer_select(flags),
        more: cqueue::more(flags),
        nonempty: cqueue::sock_nonempty(flags),
    }
}

fn borrow<'a>(descriptor: Descriptor) -> BorrowedFd<'a> {
    // SAFETY: the engine closes a descriptor only when its owner is gone and nothing is in
    // flight, and calls the driver with descriptors whose owner it borrows.
    unsafe { BorrowedFd::borrow_raw(descriptor.0) }
}

/// What one of the two requests of a socket's queues says, in bytes: TIOCOUTQ is SIOCOUTQ there,
/// and FIONREAD is SIOCINQ.
fn queued(socket: Descriptor, request: libc::Ioctl) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: both requests write one int.
    if unsafe { libc::ioctl(socket.0, request, &raw mut bytes) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

fn internet(address: SockAddr) -> io::Result<SocketAddr> {
    address.as_socket().ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
}

#[allow(clippy::disallowed_methods, reason = "the engine is where the clock is read")]
fn now() -> Instant {
    Instant::now()
}

const _: () = assert!(Interest::READ.0 == 1, "poll bits are the kernel's");
