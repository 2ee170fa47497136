//! Owns nginx as a backend: HTTPS with files to fetch, a place to put files, and a page that names
//! the connection.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use super::openssl::Certificate;
use super::process::Process;

pub struct Nginx {
    _process: Process,
    /// Bound but not listening, so that the port is nginx's until its end.
    _reserved: Socket,
    folder: TempDir,
    pub address: SocketAddr,
}

impl Nginx {
    pub fn start(certificate: &Certificate) -> Nginx {
        let folder = TempDir::new().unwrap();
        fs::create_dir_all(folder.path().join("files/upload")).unwrap();
        let reserved = reserve();
        let address = reserved.local_addr().unwrap().as_socket().unwrap();
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration(&folder, address, certificate)).unwrap();
        let mut command = Command::new("nginx");
        let process = Process::start(command.arg("-c").arg(&file).arg("-p").arg(folder.path()));
        // Said once its sockets listen.
        process.stderr.until("using the \"epoll\" event method");
        Nginx { _process: process, _reserved: reserved, folder, address }
    }

    /// The file behind a path of a URL.
    pub fn file(&self, path: &str) -> PathBuf {
        self.folder.path().join("files").join(path.trim_start_matches('/'))
    }
}

/// A port of the kernel's choice. nginx can not ask for one, and takes this one with `reuseport`.
fn reserve() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket
}

/// One process, so that killing it leaves no worker behind; `user` lets it read the folder, which
/// is open to its owner alone, when the tests run as root.
fn configuration(folder: &TempDir, address: SocketAddr, certificate: &Certificate) -> String {
    let folder = folder.path().display();
    let (file, key) = (certificate.file(), certificate.key());
    let (file, key) = (file.display(), key.display());
    format!(
        r#"
        daemon off;
        master_process off;
        user root;
        pid {folder}/nginx.pid;
        error_log stderr notice;
        events {{ use epoll; }}
        http {{
            access_log off;
            client_body_temp_path {folder}/body;
            proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi;
            uwsgi_temp_path {folder}/uwsgi;
            scgi_temp_path {folder}/scgi;
            server {{
                listen {address} ssl reuseport;
                ssl_certificate {file};
                ssl_certificate_key {key};
                ssl_protocols TLSv1.2 TLSv1.3;
                client_max_body_size 100m;
                root {folder}/files;
                location /upload/ {{ dav_methods PUT; }}
                location = /connection {{
                    return 200 "$ssl_protocol $connection $connection_requests\n";
                }}
            }}
        }}
        "#
    )
}
