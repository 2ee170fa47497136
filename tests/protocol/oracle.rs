//! What rustls reads from the same bytes. Judges nothing.

use rustls::server::{Acceptor, ClientHello as Accepted};

/// What both know of a hello.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    /// Without a dot at the end, which rustls keeps.
    pub server_name: Option<String>,
    pub alpn: Vec<Vec<u8>>,
    pub signature_schemes: Vec<u16>,
}

/// None if rustls wants more bytes.
pub fn rustls(bytes: &[u8]) -> Result<Option<Known>, rustls::Error> {
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    loop {
        let length = acceptor.read_tls(&mut rest).unwrap_or(0);
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(Some(known(&accepted.client_hello()))),
            Ok(None) if length == 0 => return Ok(None),
            Ok(None) => {}
            Err((error, _)) => return Err(error),
        }
    }
}

fn known(hello: &Accepted) -> Known {
    let name = hello.server_name().map(|name| name.strip_suffix('.').unwrap_or(name));
    let schemes = hello.signature_schemes().iter();
    Known {
        server_name: name.map(str::to_owned),
        alpn: hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect(),
        signature_schemes: schemes.map(|scheme| u16::from(*scheme)).collect(),
    }
}
