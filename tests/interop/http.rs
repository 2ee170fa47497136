//! Owns the tests of HTTPS between curl and nginx: bulk both ways, and connections kept alive.

use std::fs;

use super::curl::{curl, url};
use super::file_server::FileServer;
use super::openssl::Certificate;
use super::process::run;
use super::proxy::Proxy;

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn curl_and_nginx_agree_on_each_version() {
    let certificate = Certificate::make();
    let server = FileServer::start(&certificate);
    let proxy = Proxy::start(&[server.address]);
    for version in ["1.2", "1.3"] {
        let mut curl = curl(&certificate, proxy.address());
        curl.args([&format!("--tlsv{version}"), "--tls-max", version]);
        let page = run(curl.arg(url(proxy.address(), "/connection")), Vec::new());
        assert!(page.starts_with(&format!("TLSv{version} ")), "{page}");
    }
    assert_eq!(proxy.stop_finished().len(), 2);
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn a_large_download_arrives_whole() {
    let certificate = Certificate::make();
    let server = FileServer::start(&certificate);
    let proxy = Proxy::start(&[server.address]);
    let sent = large();
    fs::write(server.file("/large"), &sent).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("large");
    let mut curl = curl(&certificate, proxy.address());
    run(curl.arg(url(proxy.address(), "/large")).arg("--output").arg(&target), Vec::new());
    assert!(fs::read(&target).unwrap() == sent, "what was fetched is not what nginx has");
    let session = proxy.stop_finished().pop().unwrap();
    assert!(session["bytes_to_client"].as_u64().unwrap() > LARGE as u64, "{session}");
    assert_eq!(session["relay_to_client"], "splice", "{session}");
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn a_large_upload_arrives_whole() {
    let certificate = Certificate::make();
    let server = FileServer::start(&certificate);
    let proxy = Proxy::start(&[server.address]);
    let sent = large();
    let source = tempfile::NamedTempFile::new().unwrap();
    fs::write(&source, &sent).unwrap();
    let mut curl = curl(&certificate, proxy.address());
    curl.arg("--upload-file").arg(source.path());
    run(curl.arg(url(proxy.address(), "/upload/large")), Vec::new());
    let received = fs::read(server.file("/upload/large")).unwrap();
    assert!(received == sent, "what nginx has is not what was sent");
    let session = proxy.stop_finished().pop().unwrap();
    assert!(session["bytes_to_backend"].as_u64().unwrap() > LARGE as u64, "{session}");
    assert_eq!(session["relay_to_backend"], "splice", "{session}");
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn requests_of_one_curl_share_a_session() {
    let certificate = Certificate::make();
    let server = FileServer::start(&certificate);
    let proxy = Proxy::start(&[server.address]);
    let mut curl = curl(&certificate, proxy.address());
    let urls = vec![url(proxy.address(), "/connection"); REQUESTS];
    let pages = run(curl.arg("--http1.1").args(urls), Vec::new());
    let pages: Vec<Vec<&str>> = pages.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(pages.len(), REQUESTS);
    for (index, page) in pages.iter().enumerate() {
        assert_eq!(page[1], pages[0][1], "another connection: {pages:?}");
        assert_eq!(page[2], (index + 1).to_string(), "{pages:?}");
    }
    assert_eq!(proxy.stop_finished().len(), 1);
}

/// Bytes without a pattern, the same each time.
fn large() -> Vec<u8> {
    let mut bytes = vec![0; LARGE];
    fastrand::Rng::with_seed(1).fill(&mut bytes);
    bytes
}

const LARGE: usize = 50_000_000;
const REQUESTS: usize = 20;
