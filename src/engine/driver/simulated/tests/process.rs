//! A process with one worker in a simulated world, for tests that go step by step.

use std::cell::RefMut;
use std::net::SocketAddr;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use socket2::SockAddr;

use super::super::kernel::Kernel;
use super::super::{EndpointId, Faults, World};
use crate::engine::driver::{
    Completion, Descriptor, Driver, Interest, Operation, SocketOptions, Token, Wait,
};
use crate::engine::remote::Remote;

/// A process with one worker, and the memory it lends.
pub(super) struct Process {
    pub(super) world: World,
    pub(super) driver: Box<dyn Driver>,
    pub(super) buffers: Vec<Vec<u8>>,
    pub(super) next_slot: u32,
    /// Completions that came while another was awaited.
    pub(super) early: Vec<Completion>,
}

impl Process {
    pub(super) fn new(faults: Faults) -> Process {
        Process::in_world(World::new(1, faults))
    }

    pub(super) fn in_world(world: World) -> Process {
        let driver = world.driver(Arc::new(Remote::without_signal()));
        Process { world, driver, buffers: Vec::new(), next_slot: 0, early: Vec::new() }
    }

    pub(super) fn provide(&mut self, length: usize) -> u16 {
        let id = self.buffers.len() as u16;
        self.buffers.push(vec![0; length]);
        self.provide_again(id);
        id
    }

    pub(super) fn provide_again(&mut self, id: u16) {
        let buffer = &mut self.buffers[usize::from(id)];
        let memory = NonNull::new(buffer.as_mut_ptr()).unwrap();
        // SAFETY: the buffer lives in `self` and is not resized.
        unsafe { self.driver.provide(id, memory, buffer.len() as u32) };
    }

    pub(super) fn submit(&mut self, operation: Operation) -> Token {
        self.next_slot += 1;
        let token = Token::new(self.next_slot, 1, operation.kind());
        // SAFETY: the callers keep what the operation points to until it has completed.
        unsafe { self.driver.submit(token, &operation) };
        token
    }

    pub(super) fn turn(&mut self, wait: Wait) {
        self.driver.turn(wait, &mut self.early).unwrap();
    }

    /// The next completion of an operation.
    pub(super) fn completion(&mut self, token: Token) -> Completion {
        loop {
            if let Some(index) = self.early.iter().position(|one| one.token == token) {
                return self.early.remove(index);
            }
            self.turn(Wait::Forever);
        }
    }

    pub(super) fn result(&mut self, operation: Operation) -> i32 {
        let token = self.submit(operation);
        self.completion(token).result
    }

    pub(super) fn receive(&mut self, socket: Descriptor) -> Completion {
        let token = self.submit(Operation::Receive { socket, wait_first: false, cap: 1 });
        self.completion(token)
    }

    /// What one receive gives; its buffer goes back.
    pub(super) fn received(&mut self, socket: Descriptor) -> Result<Vec<u8>, i32> {
        let completion = self.receive(socket);
        let length = usize::try_from(completion.result).map_err(|_| completion.result)?;
        let Some(id) = completion.buffer else { return Ok(Vec::new()) };
        let data = self.buffers[usize::from(id)][..length].to_vec();
        self.provide_again(id);
        Ok(data)
    }

    pub(super) fn send(&mut self, socket: Descriptor, data: &[u8]) -> i32 {
        self.result(send_of(socket, data))
    }

    pub(super) fn poll(&mut self, socket: Descriptor, interest: Interest) -> Interest {
        Interest(self.result(Operation::Poll { socket, interest, lasting: false }) as u32)
    }

    pub(super) fn connect(&mut self, target: SocketAddr) -> (Descriptor, i32) {
        let socket = self.driver.open(&target, &OPTIONS).unwrap();
        let address = SockAddr::from(target);
        let result = self.result(Operation::Connect { socket, address: NonNull::from(&address) });
        (socket, result)
    }

    /// A connection accepted by the process, and its other end.
    pub(super) fn accepted(&mut self) -> (Descriptor, EndpointId) {
        let listener = self.world.listen(here(), 8);
        let peer = self.world.outside(|peers| peers.connect(anywhere(), here()).unwrap());
        let socket = self.result(Operation::Accept { listener, multishot: false });
        self.pass();
        (Descriptor(socket), peer)
    }

    /// Enough time for everything under way to arrive.
    pub(super) fn pass(&mut self) {
        self.turn(Wait::For(Duration::from_millis(100)));
        self.world.run(Duration::from_millis(100));
    }

    pub(super) fn write(&self, peer: EndpointId, data: &[u8]) {
        self.world.outside(|peers| assert_eq!(peers.write(peer, data).unwrap(), data.len()));
    }

    pub(super) fn read(&self, peer: EndpointId) -> std::io::Result<Vec<u8>> {
        let mut data = vec![0; 1 << 18];
        let length = self.world.outside(|peers| peers.read(peer, &mut data))?;
        data.truncate(length);
        Ok(data)
    }
}

pub(super) fn send_of(socket: Descriptor, data: &[u8]) -> Operation {
    let first = NonNull::new(data.as_ptr().cast_mut()).unwrap();
    Operation::Send { socket, data: first, length: data.len() as u32, quiet: false }
}

pub(super) fn kernel(world: &World) -> RefMut<'_, Kernel> {
    RefMut::map(world.state.borrow_mut(), |state| &mut state.kernel)
}

pub(super) fn here() -> SocketAddr {
    "127.0.0.1:514".parse().unwrap()
}

pub(super) fn there() -> SocketAddr {
    "127.0.0.1:9000".parse().unwrap()
}

pub(super) fn anywhere() -> SocketAddr {
    "0.0.0.0:0".parse().unwrap()
}

pub(super) fn errno(error: Errno) -> i32 {
    -error.raw_os_error()
}

pub(super) const OPTIONS: SocketOptions = SocketOptions {
    nodelay: true,
    keepalive: None,
    user_timeout: None,
    receive_buffer: None,
    send_buffer: None,
};
