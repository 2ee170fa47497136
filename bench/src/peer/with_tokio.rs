//! Owns the plain tokio proxy: `copy_bidirectional` on a current-thread runtime, no more.

use std::io;
use std::net::{self, SocketAddr};

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;

use super::BUFFER;

pub fn run(listener: net::TcpListener, backends: Vec<SocketAddr>) -> io::Result<()> {
    runtime::Builder::new_current_thread().enable_io().build()?.block_on(serve(listener, backends))
}

async fn serve(listener: net::TcpListener, backends: Vec<SocketAddr>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    for backend in backends.into_iter().cycle() {
        let (client, _) = listener.accept().await?;
        tokio::spawn(async move {
            // An error ends this connection, and the generator notices where it must not.
            proxy(client, backend).await.ok();
        });
    }
    Ok(())
}

async fn proxy(mut client: TcpStream, backend: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(backend).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await?;
    Ok(())
}
