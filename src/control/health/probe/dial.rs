//! Opening a probe's connection. Speaks no protocol on it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

/// Connects from the source address of the same family, if there is one.
pub(super) async fn connect(address: SocketAddr, sources: &[IpAddr]) -> io::Result<TcpStream> {
    socket(address, sources)?.connect(address).await
}

/// Finds out whether connections are accepted, and leaves no trace of having asked.
///
/// The kernel is asked to delay its last acknowledgement of the handshake, and the reset of a
/// close without lingering overtakes it. So the backend's kernel drops the half-open connection:
/// the application is not woken and logs nothing, and neither side keeps a TIME_WAIT. Should the
/// acknowledgement go out first, the application sees a connection that is reset at once.
pub(super) async fn knock(address: SocketAddr, sources: &[IpAddr]) -> io::Result<()> {
    let socket = socket(address, sources)?;
    SockRef::from(&socket).set_tcp_quickack(false)?;
    socket.set_zero_linger()?;
    socket.connect(address).await?;
    Ok(())
}

fn socket(address: SocketAddr, sources: &[IpAddr]) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let source = sources.iter().find(|source| source.is_ipv4() == address.is_ipv4());
    if let Some(source) = source {
        // Else every connection of the last minute that went elsewhere would keep its port taken.
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(*source, 0))?;
    }
    Ok(socket)
}
