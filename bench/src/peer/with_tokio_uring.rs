//! Owns the plain tokio-uring proxy: read and write_all, a loop per direction, no more.

use std::io;
use std::net::{self, Shutdown, SocketAddr};

use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::{TcpListener, TcpStream};

use super::BUFFER;

pub fn run(listener: net::TcpListener, backends: Vec<SocketAddr>) -> io::Result<()> {
    // A blocking socket lets the ring wait; a non-blocking one may answer EAGAIN instead.
    listener.set_nonblocking(false)?;
    tokio_uring::start(serve(listener, backends))
}

async fn serve(listener: net::TcpListener, backends: Vec<SocketAddr>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener);
    for backend in backends.into_iter().cycle() {
        let (client, _) = listener.accept().await?;
        tokio_uring::spawn(async move {
            // An error ends this connection, and the generator notices where it must not.
            proxy(client, backend).await.ok();
        });
    }
    Ok(())
}

async fn proxy(client: TcpStream, backend: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(backend).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::join!(relay(&client, &server), relay(&server, &client));
    Ok(())
}

/// Ends the whole connection where a direction fails, as the other one would wait for ever.
async fn relay(source: &TcpStream, target: &TcpStream) {
    if copy(source, target).await.is_err() {
        // A socket that the error has already disconnected can not be shut down again.
        source.shutdown(Shutdown::Both).ok();
        target.shutdown(Shutdown::Both).ok();
    }
}

async fn copy(source: &TcpStream, target: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let (length, filled) = source.read(buffer).await;
        let length = length?;
        if length == 0 {
            return target.shutdown(Shutdown::Write);
        }
        let (written, slice) = target.write_all(filled.slice(..length)).await;
        written?;
        buffer = slice.into_inner();
    }
}
