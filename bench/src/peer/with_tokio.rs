//! Owns the plain tokio proxy: `copy_bidirectional` on a current-thread runtime, after tokio-rustls
//! where TLS is ended, no more.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::BUFFER;
use super::front::Front;

/// Serves all fronts; returns when accepting fails at one.
pub fn run(fronts: Vec<Front>, backends: Vec<SocketAddr>) -> io::Result<()> {
    runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let mut serving = JoinSet::new();
        for front in fronts {
            serving.spawn(serve(front, backends.clone()));
        }
        match serving.join_next().await {
            Some(ended) => ended?,
            None => Ok(()),
        }
    })
}

async fn serve(front: Front, backends: Vec<SocketAddr>) -> io::Result<()> {
    let listener = TcpListener::from_std(front.listener)?;
    let acceptor = front.tls.map(TlsAcceptor::from);
    for backend in backends.into_iter().cycle() {
        let (client, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // An error ends this connection, and the generator notices where it must not.
            session(client, acceptor, backend).await.ok();
        });
    }
    Ok(())
}

async fn session(
    client: TcpStream,
    acceptor: Option<TlsAcceptor>,
    backend: SocketAddr,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    match acceptor {
        Some(acceptor) => proxy(acceptor.accept(client).await?, backend).await,
        None => proxy(client, backend).await,
    }
}

async fn proxy(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    backend: SocketAddr,
) -> io::Result<()> {
    let mut server = TcpStream::connect(backend).await?;
    server.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await?;
    Ok(())
}
