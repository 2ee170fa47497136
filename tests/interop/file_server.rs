//! Owns a backend with bulk in it: nginx with files to fetch over HTTPS, a place to put files, and
//! a page that names the connection.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::address;
use super::nginx::Nginx;
use super::openssl::Certificate;

pub struct FileServer {
    nginx: Nginx,
    pub address: SocketAddr,
}

impl FileServer {
    pub fn start(certificate: &Certificate) -> FileServer {
        let address = address::own();
        let (file, key) = (certificate.file(), certificate.key());
        let (file, key) = (file.display(), key.display());
        let nginx = Nginx::http(&format!(
            r#"
            server {{
                listen {address} ssl;
                ssl_certificate {file};
                ssl_certificate_key {key};
                ssl_protocols TLSv1.2 TLSv1.3;
                client_max_body_size 100m;
                root files;
                location /upload/ {{ dav_methods PUT; }}
                location = /connection {{
                    return 200 "$ssl_protocol $connection $connection_requests\n";
                }}
            }}
            "#
        ));
        FileServer { nginx, address }
    }

    /// The file behind a path of a URL.
    pub fn file(&self, path: &str) -> PathBuf {
        self.nginx.file(path)
    }
}
