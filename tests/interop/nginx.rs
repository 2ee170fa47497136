//! Owns nginx as a program: how it is started with the blocks of a test, and its folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::process::Process;

/// It is killed when it is dropped.
pub struct Nginx {
    _process: Process,
    folder: TempDir,
}

impl Nginx {
    /// With the `server` blocks of HTTP. Paths in them are relative to the folder.
    pub fn http(servers: &str) -> Nginx {
        Nginx::start(&format!(
            r#"
            http {{
                access_log off;
                client_body_temp_path body;
                proxy_temp_path proxy;
                fastcgi_temp_path fastcgi;
                uwsgi_temp_path uwsgi;
                scgi_temp_path scgi;
                {servers}
            }}
            "#
        ))
    }

    /// With the `upstream` and `server` blocks of TCP.
    pub fn stream(blocks: &str) -> Nginx {
        let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
        assert!(Path::new(module).exists(), "libnginx-mod-stream is missing: {module}");
        Nginx::start(&format!("load_module {module};\nstream {{ {blocks} }}"))
    }

    /// One process, so that killing it leaves no worker behind; `user` lets it read the folder,
    /// which is open to its owner alone, when the tests run as root.
    fn start(blocks: &str) -> Nginx {
        let folder = TempDir::new().unwrap();
        fs::create_dir_all(folder.path().join("files/upload")).unwrap();
        let file = folder.path().join("nginx.conf");
        // The blocks come first, because a module has to be loaded before any block is read.
        let configuration = format!(
            "{blocks}\n\
             daemon off;\n\
             master_process off;\n\
             user root;\n\
             pid nginx.pid;\n\
             error_log stderr notice;\n\
             events {{ use epoll; worker_connections 4096; }}\n"
        );
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new("nginx");
        let process = Process::start(command.arg("-c").arg(&file).arg("-p").arg(folder.path()));
        // Said once its sockets listen.
        process.stderr.until("using the \"epoll\" event method");
        Nginx { _process: process, folder }
    }

    /// The file behind a path of a URL, where `root` is `files`.
    pub fn file(&self, path: &str) -> PathBuf {
        self.folder.path().join("files").join(path.trim_start_matches('/'))
    }
}
