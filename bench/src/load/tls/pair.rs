//! Owns both ends of a connection in memory, for tests: a client's records, and rustls as server.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::ServerConnection;

use super::{Client, Handshake, Progress, Records, Terms};
use crate::certificates::{Authority, Identity};
use crate::peer;

pub struct Pair {
    pub client: Client,
    pub server: ServerConnection,
    config: Arc<rustls::ServerConfig>,
}

impl Pair {
    /// Nothing has been said yet.
    pub fn new(terms: Terms) -> Self {
        let authority = Authority::generate().unwrap();
        let (certificate, key) = authority.server(Identity::Ecdsa);
        let config = Arc::new(peer::tls_config(vec![certificate], key).unwrap());
        let client = Client::new(terms, authority.root()).unwrap();
        let server = ServerConnection::new(Arc::clone(&config)).unwrap();
        Self { client, server, config }
    }

    /// Shakes hands with a new connection to the server. The tickets are on their way.
    pub fn agree(&mut self) -> Records {
        self.server = ServerConnection::new(Arc::clone(&self.config)).unwrap();
        let mut handshake = self.client.begin().unwrap();
        loop {
            self.hear(handshake.outgoing());
            handshake.outgoing().clear();
            if handshake.advance(&self.said()).unwrap() == Progress::Complete {
                break;
            }
        }
        self.client.audit.inspect(handshake.state());
        let mut records = finish(handshake);
        self.hear_records(&mut records);
        records
    }

    /// What the server has to send.
    pub fn said(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    pub fn say(&mut self, bytes: &[u8]) {
        self.server.writer().write_all(bytes).unwrap();
    }

    fn hear(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.server.read_tls(&mut bytes).unwrap();
            self.server.process_new_packets().unwrap();
        }
    }

    /// What the client has sealed comes to the server, which returns what it can read of it.
    pub fn hear_records(&mut self, records: &mut Records) -> Vec<u8> {
        let mut plain = Vec::new();
        while !records.is_flushed() {
            let mut slices = [std::io::IoSlice::new(&[]); 2];
            let count = records.outgoing(&mut slices);
            let bytes: Vec<u8> =
                slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
            // In two parts, so that what is left of a record is met as well.
            let half = bytes.len().div_ceil(2);
            self.hear(&bytes[..half]);
            records.sent(half);
            let mut buffer = [0; 64 * 1024];
            while let Ok(length @ 1..) = self.server.reader().read(&mut buffer) {
                plain.extend_from_slice(&buffer[..length]);
            }
        }
        plain
    }
}

fn finish(handshake: Handshake) -> Records {
    handshake.into_records().unwrap()
}
