//! Owns what agents and a server are to agree on in TLS 1.3; they agree on it elsewhere.

use crate::certificates::Identity;

/// What a handshake is to come to, beside its being full or resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The one that agents offer, with X25519 alone; none: whatever both sides know.
    pub suite: Option<Suite>,
    /// Which certificate the server shows, where it has several.
    pub identity: Identity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// TLS_AES_128_GCM_SHA256
    Aes128,
    /// TLS_AES_256_GCM_SHA384
    Aes256,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms { suite: None, identity: Identity::Ecdsa }
    }
}
