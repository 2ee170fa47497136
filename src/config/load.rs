//! From a file or a text to a `Config`, or to everything that is wrong with it. Applies nothing.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use toml::de::DeTable;

use super::address::Addresses;
use super::admin::{self, Admin};
use super::error::{ConfigError, ConfigErrors};
use super::listener::{self, Listener};
use super::log::{self, Log};
use super::pool::{self, Pool};
use super::process::{self, Process};
use super::reader::{Reader, Section};
use super::resolver::{self, Resolver};
use super::tls::{self, Tls};
use super::ways::Ways;

/// What the operator asked for, every default filled in. Only `load` and `parse` make one, so
/// that its limits hold, its names are distinct and its references lead somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    pub process: Process,
    pub log: Log,
    pub admin: Admin,
    pub resolver: Resolver,
    /// By order of name.
    pub tls: Vec<Tls>,
    /// At least one, by order of name.
    pub listeners: Vec<Listener>,
    /// By order of name.
    pub pools: Vec<Pool>,
}

/// Reads a configuration from a file.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let origin = path.display().to_string();
    let text = read_text(path).map_err(|error| {
        let message = format!("cannot be read: {error}; give a TOML file that this user may read");
        ConfigErrors::new(&origin, vec![ConfigError { line: None, path: String::new(), message }])
    })?;
    parse(&text, &origin)
}

/// Reads a configuration from a text. `origin` is the name the text has in errors.
pub fn parse(text: &str, origin: &str) -> Result<Config, ConfigErrors> {
    let (document, syntax_errors) = DeTable::parse_recoverable(text);
    let reader = Reader::new(text, &syntax_errors);
    let config = reader.document(document.get_ref(), read);
    let errors = reader.into_errors();
    if errors.is_empty() { Ok(config) } else { Err(ConfigErrors::new(origin, errors)) }
}

fn read(document: &Section<'_>) -> Config {
    let mut addresses = Addresses::default();
    let mut ways = Ways::new(document);
    let config = Config {
        process: document.section("process", process::read),
        log: document.section("log", log::read),
        admin: document.section("admin", |section| admin::read(section, &mut addresses)),
        resolver: document.section("resolver", resolver::read),
        tls: document.sections("tls", tls::read),
        listeners: document.sections("listener", |name, section| {
            listener::read(name, section, &mut ways, &mut addresses)
        }),
        pools: document.sections("pool", |name, section| pool::read(name, section, &mut addresses)),
    };
    addresses.check(document.reader);
    ways.check(document.reader, &config.pools);
    if document.names("listener").is_empty() {
        let message = "nothing to listen on; add a [listener.NAME] and the pool it leads to";
        document.reader.refuse_absence(&document.place_of("listener"), message.to_owned());
    }
    config
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 16 MiB"));
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// In bytes: a hundred thousand backends fit, a device that never ends does not.
const FILE_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::PathBuf;
    use std::time::Duration;

    use crate::balance::{Keepalive, SocketOptions};
    use crate::config::samples::{
        LISTENER, POOL, errors, valid, with_listener, with_pool, with_top,
    };
    use crate::config::{AccessLog, AllowChanges, Backend, LogLevel};
    use proptest::prelude::*;
    use toml::de::DeValue;

    fn configs() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("configs")
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let config = valid(&format!("{LISTENER}{POOL}"));
        let socket = SocketOptions {
            nodelay: true,
            keepalive: Some(Keepalive {
                idle: Duration::from_secs(60),
                interval: Duration::from_secs(10),
                probes: 6,
            }),
            user_timeout: None,
            receive_buffer: None,
            send_buffer: None,
        };
        let process = Process {
            workers: None,
            cpus: None,
            max_connections: None,
            max_handshakes: 256,
            relay_memory: 64 << 20,
            relay_share: 50,
            buffer_size: 16 << 10,
            pipes: 64,
            pipe_size: 256 << 10,
            drain_timeout: Duration::from_secs(30),
            linger_timeout: Duration::from_secs(5),
            reserved_descriptors: 64,
            state_directory: None,
        };
        assert_eq!(config.process, process);
        assert_eq!(config.admin.listen, "127.0.0.1:9600".parse().ok());
        assert_eq!(config.admin.allow_changes, AllowChanges::Loopback);
        assert_eq!((config.log.level, config.log.access_queue), (LogLevel::Info, 8192));
        assert_eq!((config.listeners.len(), config.pools.len()), (1, 1));
        let (listener, pool) = (&config.listeners[0], &config.pools[0]);
        assert_eq!((listener.max_connections, listener.backlog), (None, 4096));
        assert_eq!(listener.idle_timeout, Some(Duration::from_secs(600)));
        assert_eq!(listener.half_closed_timeout, Duration::from_secs(60));
        assert_eq!((listener.max_connection_age, listener.max_connection_age_jitter), (None, 10));
        assert_eq!((pool.connect_timeout, pool.tries), (Duration::from_secs(5), 3));
        assert_eq!((&listener.socket, &pool.socket), (&socket, &socket));
        let backend = Backend {
            name: "10.0.0.1:1".to_owned(),
            address: "10.0.0.1:1".parse().unwrap(),
            weight: 1,
            max_connections: None,
            tier: 0,
            drain: false,
        };
        assert_eq!(pool.backends, [backend]);
    }

    #[test]
    fn what_is_given_is_read() {
        let config = valid(
            "[process]\nworkers = 4\ncpus = \"0-2,8\"\nmax_connections = 1_000\n\
             relay_memory = 1048576\nbuffer_size = \"4KiB\"\npipes = 0\n\
             drain_timeout = \"1m30s\"\nstate_directory = \"/var/lib/ringmain\"\n\
             [log]\nlevel = \"trace\"\naccess = \"/var/log/access\"\n\
             [admin]\nlisten = \"off\"\nallow_changes = \"all\"\n\
             [listener.l]\nlisten = [\"[::]:1\", \"[::ffff:10.0.0.9]:1\"]\npool = \"p\"\n\
             max_connection_age = \"1h\"\nmax_connection_age_jitter = 0\n\
             idle_timeout = \"off\"\nkeepalive_idle = \"off\"\nuser_timeout = \"20s\"\n\
             receive_buffer = \"256KiB\"\nsend_buffer = 4096\n\
             [pool.p]\nmax_connections = 7\nsend_buffer = \"off\"\n\
             source_addresses = [\"10.0.0.5\", \"::1\"]\n\
             backends = [\n\
             \"[2001:db8::1]:2\",\n\
             { address = \"10.0.0.2:2\", name = \"b\", \
               weight = 0, max_connections = \"off\" },\n]\n",
        );
        assert_eq!(config.process.workers, Some(4));
        assert_eq!(config.process.cpus, Some(vec![0, 1, 2, 8]));
        assert_eq!(config.process.max_connections, Some(1000));
        assert_eq!((config.process.relay_memory, config.process.buffer_size), (1 << 20, 4096));
        assert_eq!((config.process.pipes, config.process.drain_timeout.as_secs()), (0, 90));
        assert_eq!(config.process.state_directory, Some("/var/lib/ringmain".into()));
        assert_eq!(config.log.level, LogLevel::Trace);
        assert_eq!(config.log.access, AccessLog::File("/var/log/access".into()));
        assert_eq!((config.admin.listen, config.admin.allow_changes), (None, AllowChanges::All));
        let (listener, pool) = (&config.listeners[0], &config.pools[0]);
        assert_eq!(listener.listen[0], "[::]:1".parse().unwrap());
        assert_eq!(listener.listen[1], "10.0.0.9:1".parse().unwrap(), "a mapped address is IPv4");
        assert_eq!((listener.idle_timeout, &listener.socket.keepalive), (None, &None));
        assert_eq!(listener.socket.user_timeout, Some(Duration::from_secs(20)));
        let buffers = |socket: &SocketOptions| (socket.receive_buffer, socket.send_buffer);
        assert_eq!(buffers(&listener.socket), (Some(256 << 10), Some(4096)));
        assert_eq!(buffers(&pool.socket), (None, None));
        assert_eq!(listener.max_connection_age, Some(Duration::from_secs(3600)));
        assert_eq!(listener.max_connection_age_jitter, 0);
        assert_eq!(pool.source_addresses.len(), 2);
        let backends = pool.backends.iter();
        let backends: Vec<_> =
            backends.map(|b| (b.name.as_str(), b.weight, b.max_connections)).collect();
        assert_eq!(backends, [("[2001:db8::1]:2", 1, Some(7)), ("b", 0, None)]);
    }

    #[test]
    fn unknown_keys_are_refused_with_a_suggestion() {
        let cases = [
            (
                with_listener("idle_timout = \"5s\""),
                "4: listener.l.idle_timout: unknown key; did you mean `idle_timeout`?",
            ),
            (
                with_top("[admin]\nbind = 1"),
                "2: admin.bind: unknown key; the keys here are `allow_changes`, `listen`",
            ),
            (with_top("[proces]"), "1: proces: unknown key; did you mean `process`?"),
            (
                with_top("\"a\\nb\" = 1"),
                "1: \"a\\nb\": unknown key; \
                 the keys here are `admin`, `listener`, `log`, `pool`, `process`, \
                 `resolver`, `tls`",
            ),
            (
                with_pool("backends = [\n{ address = \"10.0.0.1:1\",\nwieght = 2 }]"),
                "7: pool.p.backends[0].wieght: unknown key; did you mean `weight`?",
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found, [expected]);
        }
    }

    #[test]
    fn values_of_the_wrong_type_or_range_are_refused_with_the_right_one() {
        let cases = [
            ("workers = 0", "workers: found 0; give an integer from 1 to 1024, or \"auto\""),
            (
                "workers = \"4\"",
                "workers: found \"4\"; give an integer from 1 to 1024, or \"auto\"",
            ),
            (
                "cpus = \"3-1\"",
                "cpus: \"3-1\" has a range that runs backwards; \
                 give a CPU list such as \"0-3,8\", or \"all\"",
            ),
            (
                "relay_memory = \"64\"",
                "relay_memory: found \"64\"; give a size from 256KiB to 1GiB",
            ),
            (
                "relay_memory = \"2GB\"",
                "relay_memory: found \"2GB\"; give a size from 256KiB to 1GiB",
            ),
            (
                "relay_memory = \"1 MiB\"",
                "relay_memory: \"1 MiB\" has an unknown unit; give a size from 256KiB to 1GiB",
            ),
            ("relay_share = 101", "relay_share: found 101; give an integer from 1 to 100"),
            ("relay_share = -1", "relay_share: found -1; give an integer from 1 to 100"),
            (
                "buffer_size = 5000",
                "buffer_size: 5000 is not a power of two; \
                 give 4KiB, 8KiB, 16KiB, 32KiB, 64KiB, 128KiB or 256KiB",
            ),
            (
                "pipes = 99999999999999999999999999999999999999999",
                "pipes: found 99999999999999999999999999999999999999999; \
                 give an integer from 0 to 16384",
            ),
            ("pipes = 1.5", "pipes: found 1.5; give an integer from 0 to 16384"),
            ("drain_timeout = 30", "drain_timeout: 30 has no unit; give a duration from 1ms to 1d"),
            (
                "drain_timeout = \"0s\"",
                "drain_timeout: found \"0s\"; give a duration from 1ms to 1d",
            ),
            (
                "state_directory = \"state\"",
                "state_directory: found \"state\"; give an absolute path, or \"off\"",
            ),
            ("drain_timeout = true", "drain_timeout: found true; give a duration from 1ms to 1d"),
            (
                "linger_timeout = [1979-05-27]",
                "linger_timeout: found an array; give a duration from 1ms to 1d",
            ),
        ];
        for (line, expected) in cases {
            let expected = format!("2: process.{expected}");
            assert_eq!(with_top(&format!("[process]\n{line}")), [expected], "{line:?}");
        }
    }

    #[test]
    fn words_flags_and_tables_are_refused_with_what_there_is() {
        let cases = [
            (
                with_top("[log]\nformat = \"xml\""),
                "2: log.format: found \"xml\"; \
                 give \"auto\" or \"text\" or \"json\" or \"journald\"",
            ),
            (
                with_top("[log]\naccess = \"access.log\""),
                "2: log.access: found \"access.log\"; \
                 give \"stdout\", \"off\" or an absolute path",
            ),
            (
                with_top("[admin]\nallow_changes = true"),
                "2: admin.allow_changes: found true; give \"loopback\" or \"all\" or \"off\"",
            ),
            (
                with_listener("nodelay = \"yes\""),
                "4: listener.l.nodelay: found \"yes\"; give true or false",
            ),
            (
                with_listener("keepalive_idle = \"1500ms\""),
                "4: listener.l.keepalive_idle: \
                 \"1500ms\" is not of whole seconds, which the kernel counts; \
                 give whole seconds, or \"off\"",
            ),
            (
                with_listener("receive_buffer = \"4kB\""),
                "4: listener.l.receive_buffer: found \"4kB\"; \
                 give a size from 4KiB to 64MiB, or \"off\"",
            ),
            (
                with_pool("send_buffer = true\nbackends = [\"10.0.0.1:1\"]"),
                "5: pool.p.send_buffer: found true; give a size from 4KiB to 64MiB, or \"off\"",
            ),
            (
                with_listener("max_connection_age = \"500ms\""),
                "4: listener.l.max_connection_age: found \"500ms\"; \
                 give a duration from 1s to 365d, or \"off\"",
            ),
            (
                with_listener("max_connection_age_jitter = 51"),
                "4: listener.l.max_connection_age_jitter: found 51; \
                 give an integer from 0 to 50",
            ),
            (
                with_pool("policy = \"random\"\nbackends = [\"10.0.0.1:1\"]"),
                "5: pool.p.policy: found \"random\"; give \"round-robin\" or \"least-connections\" \
                 or \"random-two\" or \"maglev\" or \"ring\" or \"rendezvous\"",
            ),
            (with_top("process = 1"), "1: process: found 1; give a table, written [process]"),
            (
                with_top("[listener]\nlisten = \"0.0.0.0:2\""),
                "2: listener.listen: found \"0.0.0.0:2\"; give a table, written [listener.NAME]",
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found, [expected]);
        }
    }

    #[test]
    fn listen_addresses_are_literal() {
        let remedy = "give an IP address and port to listen on, such as \"0.0.0.0:6000\"";
        for address in ["\"*:1\"", "\"localhost:1\"", "\"10.0.0.1\"", "\"[::]:70000\"", "1", "[]"] {
            let text = format!("[listener.l]\nlisten = {address}\npool = \"p\"\n{POOL}");
            let found = if address == "[]" { "an empty array" } else { address };
            let expected = format!("2: listener.l.listen: found {found}; {remedy}");
            assert_eq!(errors(&text), [expected]);
        }
        let off = with_top("[admin]\nlisten = \"none\"");
        assert_eq!(off, [format!("2: admin.listen: found \"none\"; {remedy}, or \"off\"")]);
    }

    #[test]
    fn backend_addresses_are_literal_and_reachable() {
        let remedy = "give an IP address and port";
        let unresolved = format!("is a name, which stands under sources; {remedy}");
        let cases = [
            ("agg.example.com:6000", format!("\"agg.example.com:6000\" {unresolved}")),
            ("agg", format!("\"agg\" {unresolved}")),
            ("10.0.0.1", format!("\"10.0.0.1\" has no port; {remedy}")),
            ("::1", format!("\"::1\" has no port; {remedy}")),
            ("10.0.0.1:0", format!("\"10.0.0.1:0\" has the port 0; {remedy}")),
            ("0.0.0.0:6000", format!("\"0.0.0.0:6000\" is the address of no host; {remedy}")),
            ("10.0.0.256:6000", format!("found \"10.0.0.256:6000\"; {remedy}")),
            ("fe80::z:1", format!("found \"fe80::z:1\"; {remedy}")),
        ];
        for (address, expected) in cases {
            let bare = with_pool(&format!("backends = [\n\"{address}\"]"));
            assert_eq!(bare, [format!("6: pool.p.backends[0]: {expected}")]);
            let table = with_pool(&format!("backends = [\n{{ address = \"{address}\" }}]"));
            assert_eq!(table, [format!("6: pool.p.backends[0].address: {expected}")]);
        }
    }

    #[test]
    fn what_must_be_there_is_missed() {
        let missing = "missing, and it has no default; add it";
        assert_eq!(
            errors("[listener.l]\n[pool.p]\nbackends = [{ weight = 2 }]\n[pool.q]\n"),
            [
                format!("1: listener.l.listen: {missing}"),
                "1: listener.l.pool: missing, and so are routes; add one of them".to_owned(),
                format!("3: pool.p.backends[0].address: {missing}"),
                "4: pool.q.backends: missing, and so is sources; add one of them".to_owned(),
            ]
        );
        assert_eq!(
            errors(""),
            ["1: listener: nothing to listen on; \
              add a [listener.NAME] and the pool it leads to"]
        );
        assert_eq!(
            with_pool("backends = []"),
            ["5: pool.p.backends: found an empty array; \
              give at least one backend, such as \"10.0.0.1:6000\""]
        );
    }

    #[test]
    fn references_lead_to_a_pool() {
        let to = |pool| {
            let listener = format!("[listener.l]\nlisten = \"0.0.0.0:1\"\npool = {pool}\n");
            errors(&format!("{listener}[pool.aggregators]\nbackends = [\"10.0.0.1:1\"]\n"))
        };
        assert_eq!(to("\"aggregators\""), [""; 0]);
        assert_eq!(
            to("\"agregators\""),
            ["3: listener.l.pool: no pool is named \"agregators\"; did you mean \"aggregators\"?"]
        );
        assert_eq!(
            to("\"x\""),
            ["3: listener.l.pool: no pool is named \"x\"; \
              add it, or give the name of another pool"]
        );
    }

    #[test]
    fn a_reference_to_a_broken_pool_is_no_second_error() {
        let found = with_pool("backends = [\"a.b:1\"]");
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn names_are_plain_and_distinct() {
        let rule = "is no valid name; give 1 to 64 letters, digits and characters of `._:-[]`";
        assert_eq!(
            errors(&format!(
                "{LISTENER}[listener.\"a b\"]\nlisten = \"0.0.0.0:2\"\npool = \"p\"\n{POOL}"
            )),
            [format!("4: listener.\"a b\": \"a b\" {rule}")]
        );
        assert_eq!(
            with_pool("backends = [{ address = \"10.0.0.1:1\", name = \"é\" }]"),
            [format!("5: pool.p.backends[0].name: \"é\" {rule}")]
        );
        assert_eq!(
            with_pool("backends = [\n\"10.0.0.1:1\",\n\"10.0.0.1:1\"\n]"),
            ["7: pool.p.backends[1]: \"10.0.0.1:1\" is the name of pool.p.backends[0] already; \
              give each backend a name of its own"]
        );
    }

    #[test]
    fn an_address_is_listened_on_once() {
        let both = "listen = [\"0.0.0.0:1\",\n\"[::]:1\", \"127.0.0.1:1\",\n\"0.0.0.0:1\"]";
        let text = format!("[listener.a]\n{both}\npool = \"p\"\n{POOL}");
        assert_eq!(
            errors(&text),
            ["4: listener.a.listen[3]: 0.0.0.0:1 is taken by listener.a.listen[0]; \
              give another address"]
        );
        let admin = "[listener.l]\nlisten = \"127.0.0.1:9600\"\npool = \"p\"\n";
        assert_eq!(
            errors(&format!("{admin}{POOL}")),
            ["2: listener.l.listen: 127.0.0.1:9600 is taken by admin.listen; \
              give another address"]
        );
        let free = text.replace("0.0.0.0:1", "0.0.0.0:0");
        assert_eq!(errors(&free), [""; 0], "each port 0 is another port");
    }

    #[test]
    fn a_backend_does_not_lead_back() {
        let to = |listen, backend| {
            let listener = format!("[listener.l]\nlisten = \"{listen}\"\npool = \"p\"\n");
            errors(&format!("{listener}[pool.p]\nbackends = [\n\"{backend}\"]\n"))
        };
        for (listen, backend) in [
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("10.0.0.1:1", "[::ffff:10.0.0.1]:1"),
            ("0.0.0.0:1", "127.0.0.3:1"),
            ("[::]:1", "[::1]:1"),
        ] {
            let shown: std::net::SocketAddr =
                backend.replace("[::ffff:10.0.0.1]", "10.0.0.1").parse().unwrap();
            let expected = format!(
                "6: pool.p.backends[0]: {shown} leads back to listener.l.listen; \
                 give the backend's own address"
            );
            assert_eq!(to(listen, backend), [expected]);
        }
        for (listen, backend) in [
            ("10.0.0.1:1", "10.0.0.1:2"),
            ("0.0.0.0:1", "10.0.0.1:1"),
            ("[::]:1", "127.0.0.1:1"),
            ("127.0.0.1:1", "127.0.0.2:1"),
        ] {
            assert_eq!(to(listen, backend), [""; 0]);
        }
    }

    #[test]
    fn values_that_exclude_each_other_are_refused() {
        assert_eq!(
            with_top("[process]\nrelay_memory = \"256KiB\"\nbuffer_size = \"256KiB\""),
            ["2: process.relay_memory: \"256KiB\" leaves relay_share, 50 percent, \
              less than one buffer; give more of either, or a smaller buffer_size"]
        );
        assert_eq!(
            with_pool("source_addresses = [\"10.0.0.9\"]\nbackends = [\n\"[2001:db8::1]:1\"]"),
            ["7: pool.p.backends[0]: source_addresses has no IPv6 address to reach \
              [2001:db8::1]:1 from; add one"]
        );
        let broken = with_pool("source_addresses = [\"::1\", \"a\"]\nbackends = [\"10.0.0.1:1\"]");
        assert_eq!(
            broken,
            ["5: pool.p.source_addresses[1]: found \"a\"; \
              give an IP address of this host without a port"]
        );
    }

    #[test]
    fn every_error_is_reported_by_line() {
        let text = "[listener.l]\nlisten = \"x\"\npool = \"q\"\nbacklog = 0\n\
                    [process]\nworkers = 0\nspeed = 1\n[pool.p]\ntries = 17\nbackends = [\"a\"]\n";
        let found = errors(text);
        let heads: Vec<_> = found.iter().map(|line| line.split(": ").nth(1).unwrap()).collect();
        let expected = [
            "listener.l.listen",
            "listener.l.pool",
            "listener.l.backlog",
            "process.workers",
            "process.speed",
            "pool.p.tries",
            "pool.p.backends[0]",
        ];
        assert_eq!(heads, expected);
    }

    #[test]
    fn errors_of_syntax_do_not_hide_errors_of_meaning() {
        let text = "[listener.l]\nlisten = 0.0.0.0:1\nbacklog = 0\nbacklog = 1\n[pool.p\n";
        assert_eq!(
            errors(text),
            [
                "2: not TOML at \".0.0:1\": invalid float, expected nothing",
                "3: listener.l.backlog: found 0; give an integer from 1 to 65535",
                "4: not TOML at \"backlog\": duplicate key",
                "5: not TOML: unclosed table, expected `]`",
            ]
        );
    }

    #[test]
    fn a_second_section_of_the_same_name_is_refused() {
        let found = errors(&format!("{LISTENER}{POOL}{POOL}"));
        assert!(found.contains(&"6: not TOML at \"p\": duplicate key".to_owned()), "{found:?}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_one_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        let load = || load(&path).unwrap_err().to_string().replace(path.to_str().unwrap(), "x");
        let remedy = "give a TOML file that this user may read";
        assert_eq!(
            load(),
            format!("x: cannot be read: No such file or directory (os error 2); {remedy}")
        );
        std::fs::write(&path, b"# \xff").unwrap();
        let reason = "invalid utf-8 sequence of 1 bytes from index 2";
        assert_eq!(load(), format!("x: cannot be read: {reason}; {remedy}"));
        let file = File::create(&path).unwrap();
        file.set_len(FILE_MAX + 1).unwrap();
        assert_eq!(load(), format!("x: cannot be read: it is larger than 16 MiB; {remedy}"));
    }

    /// What the reference says beyond the defaults.
    const REFERENCE: &str = r#"
        [listener.example]
        listen = "0.0.0.0:7100"
        pool = "example"
        [listener.example-routed]
        listen = "0.0.0.0:7101"
        pool = "example"
        routes = [
            { server_names = ["a.example.com", "*.eu.example.com"],
              alpn = ["h2"], pool = "example" },
            { server_names = ["b.example.com"], pool = "example", tls = "example" },
            { server_names = ["old.example.com"], reject = true },
            { alpn = ["mqtt"], pool = "example" },
        ]
        [tls.example]
        certificates = [{ chain = "/etc/ringmain/a.pem", key = "/etc/ringmain/a.key",
                          staple = "/etc/ringmain/a.ocsp" }]
        [tls.example-clients]
        certificates = [{ chain = "/etc/ringmain/edge.pem", key = "/etc/ringmain/edge.key" }]
        client_auth = "required"
        client_ca = "/etc/ringmain/clients.pem"
        client_crls = ["/etc/ringmain/clients.crl"]
        ticket_keys = "/etc/ringmain/tickets.keys"
        [pool.example]
        backends = ["127.0.0.2:17100", "127.0.0.3:17100", "127.0.0.4:17100", "127.0.0.5:17100"]
        health.check = "tcp"
        ejection = {}
        [pool.example-hashed]
        policy = "maglev"
        backends = ["127.0.0.2:17101", "127.0.0.3:17101"]
        [pool.example-found]
        sources = [
            { dns = "agg.example:6000" },
            { srv = "_vector._tcp.agg.example" },
            { template = "agg-{0..2}.vector.svc.cluster.local:6000" },
            { file = "/etc/ringmain/aggregators.txt" },
        ]
        [pool.example-tls]
        backends = ["127.0.0.2:17107"]
        tls = { certificate = "/etc/ringmain/ringmain.pem", key = "/etc/ringmain/ringmain.key" }
        [pool.example-tls-hello]
        backends = ["127.0.0.2:17102"]
        health = { check = "tls-hello", tls_server_name = "agg.example" }
        [pool.example-http]
        backends = ["127.0.0.2:17103"]
        health = { check = "http", host = "agg.example" }
        [pool.example-grpc]
        backends = ["127.0.0.2:17104"]
        health.check = "grpc"
        [pool.example-send-expect]
        backends = ["127.0.0.2:17105"]
        health = { check = "send-expect", send = "PING\r\n", expect = "PONG" }
        [pool.example-send-expect-hex]
        backends = ["127.0.0.2:17106"]
        health = { check = "send-expect", send_hex = "00000001", expect_hex = "00" }
    "#;

    #[test]
    fn the_reference_holds_the_defaults() {
        let reference = load(&configs().join("reference.toml"));
        let reference = reference.unwrap_or_else(|errors| panic!("{errors}"));
        // Section by section, so that a difference can be found in what is printed.
        let bare = valid(REFERENCE);
        assert_eq!(reference.process, bare.process);
        assert_eq!(reference.resolver, bare.resolver);
        assert_eq!(reference.listeners, bare.listeners);
        assert_eq!(reference.tls, bare.tls);
        for (pool, bare) in reference.pools.iter().zip(&bare.pools) {
            assert_eq!(pool, bare);
        }
        assert_eq!(reference, bare);
    }

    /// Each key stands there once at least, in whatever listener, pool or backend.
    #[test]
    fn the_reference_names_every_key() {
        let text = std::fs::read_to_string(configs().join("reference.toml")).unwrap();
        let (document, _) = DeTable::parse_recoverable(&text);
        let reader = Reader::new(&text, &[]);
        reader.document(document.get_ref(), read);
        let mut named = Vec::new();
        for (key, value) in document.get_ref().iter() {
            collect_paths(key.get_ref().to_string(), value.get_ref(), &mut named);
        }
        let named: BTreeSet<_> = named.iter().map(|path| without_names(path)).collect();
        let asked: BTreeSet<_> = reader.asked().iter().map(|path| without_names(path)).collect();
        for path in [
            "process.workers",
            "pool.*.backends[*].weight",
            "pool.*.sources[*].srv",
            "pool.*.discovery.hold_empty",
            "pool.*.health.expect_hex",
            "pool.*.ejection.window",
            "pool.*.tls.insecure_skip_verify",
            "listener.*.routes[*].reject",
            "tls.*.certificates[*].staple",
        ] {
            assert!(asked.contains(path), "{path} is not in {asked:?}");
        }
        let forgotten: Vec<_> = asked.difference(&named).collect();
        assert!(forgotten.is_empty(), "add to configs/reference.toml: {forgotten:?}");
    }

    /// `pool.*.backends[*].name` for `pool.example.backends[1].name`.
    fn without_names(path: &str) -> String {
        let parts = path.split('.').enumerate().map(|(index, part)| {
            let has_name = ["listener.", "pool.", "tls."].iter().any(|head| path.starts_with(head));
            let named = index == 1 && has_name;
            match part.split_once('[') {
                _ if named => "*".to_owned(),
                Some((key, _)) => format!("{key}[*]"),
                None => part.to_owned(),
            }
        });
        parts.collect::<Vec<_>>().join(".")
    }

    fn collect_paths(path: String, value: &DeValue<'_>, paths: &mut Vec<String>) {
        match value {
            DeValue::Table(table) => {
                for (key, value) in table.iter() {
                    collect_paths(format!("{path}.{}", key.get_ref()), value.get_ref(), paths);
                }
            }
            DeValue::Array(array) => {
                for (index, value) in array.iter().enumerate() {
                    collect_paths(format!("{path}[{index}]"), value.get_ref(), paths);
                }
            }
            _ => {}
        }
        paths.push(path);
    }

    #[test]
    fn presets_run_side_by_side() {
        let mut owners: BTreeMap<u16, String> = BTreeMap::new();
        let mut backend_ports = Vec::new();
        let mut count = 0;
        for path in files() {
            let config = load(&path).unwrap_or_else(|errors| panic!("{errors}"));
            count += 1;
            let listening = config.listeners.iter().flat_map(|listener| &listener.listen);
            for port in listening.chain(&config.admin.listen).map(std::net::SocketAddr::port) {
                let name = path.display().to_string();
                let owner = owners.insert(port, name.clone());
                assert_eq!(owner, None, "{name} listens on port {port}, which is taken");
            }
            let backends = config.pools.iter().flat_map(|pool| &pool.backends);
            backend_ports.extend(backends.map(|backend| backend.address.port()));
        }
        assert_eq!(count, 10, "reference.toml and nine presets");
        for port in backend_ports {
            assert!(!owners.contains_key(&port), "a backend's port {port} is a preset's own");
        }
    }

    /// The configurations; fleets for the load harness have a folder of their own.
    fn files() -> impl Iterator<Item = PathBuf> {
        let paths = std::fs::read_dir(configs()).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.is_file())
    }

    fn presets() -> Vec<(PathBuf, String)> {
        let presets = files().filter(|path| !path.ends_with("reference.toml"));
        presets.map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
    }

    #[test]
    fn presets_that_close_sessions_say_what_it_costs() {
        let mut closing = 0;
        for (path, text) in presets() {
            let config = valid(&text);
            let moves = config.pools.iter().any(|pool| pool.rebalance.is_some());
            let ages =
                config.listeners.iter().any(|listener| listener.max_connection_age.is_some());
            assert_eq!(moves || ages, text.contains("sent twice"), "{}", path.display());
            closing += usize::from(moves && ages);
        }
        assert_eq!(closing, 4, "Vector twice, Datadog and OTLP");
    }

    #[test]
    fn what_presets_offer_in_comments_is_valid() {
        let mut offered = 0;
        for (_, text) in presets() {
            let offers = ["# sources = ", "# state_directory = ", "# tls_server_name = "];
            let with_offers = text.lines().map(|line| {
                let offer = offers.iter().any(|offer| line.starts_with(offer));
                offered += usize::from(offer);
                if offer { &line[2..] } else { line }
            });
            valid(&with_offers.collect::<Vec<_>>().join("\n"));
        }
        assert_eq!(offered, 7);
    }

    const KEYS: &[&str] = &[
        "[process]",
        "[log]",
        "[admin]",
        "[listener]",
        "[listener.l]",
        "[[listener.l]]",
        "[pool.p]",
        "[pool.\"\\n\"]",
        "[resolver]",
        "[pool.p.discovery]",
        "[pool.p.health]",
        "[pool.p.ejection]",
        "[tls.t]",
        "[pool.p.tls]",
        "certificates",
        "min_version",
        "cipher_suites",
        "alpn",
        "client_auth",
        "server_name",
        "routes",
        "hello_size",
        "plain_text",
        "sources",
        "policy",
        "key",
        "maglev_size",
        "rebalance",
        "on_down",
        "check",
        "tls",
        "tls_server_name",
        "send_hex",
        "interval",
        "max_interval",
        "max_time",
        "nameservers",
        "search",
        "listen",
        "pool",
        "backends",
        "workers",
        "relay_memory",
        "idle_timeout",
        "source_addresses",
        "max_connections",
        "buffer_size",
        "cpus",
        "level",
    ];

    const VALUES: &[&str] = &[
        "1",
        "-1",
        "1e400",
        "99999999999999999999999",
        "0x7fff_ffff",
        "true",
        "1979-05-27",
        "\"off\"",
        "\"5s\"",
        "\"1GiB\"",
        "\"256KiB\"",
        "\"0.0.0.0:1\"",
        "\"[::1]:1\"",
        "\"p\"",
        "\"0-1023\"",
        "[]",
        "[1]",
        "[\"10.0.0.1:1\", { address = \"::1\" }]",
        "{}",
        "{ address = \"10.0.0.1:1\", name = \"\\u0000\" }",
        "\"\\n\\u202e\"",
        "251",
        "\"maglev\"",
        "\"send-expect\"",
        "\"http\"",
        "\"00ff\"",
        "[{ srv = \"a\" }, { template = \"a{0..9}:1\", file = \"/\" }, {}]",
        "[\"a.\", \"::1\"]",
        "\"t\"",
        "\"client\"",
        "\"1.3\"",
        "\"required\"",
        "[\"TLS_AES_128_GCM_SHA256\", \"x\"]",
        "[{ chain = \"/a\", key = \"/b\" }, { key = \"c\" }]",
        "[{ server_names = [\"*.a.b\", \"*\"], pool = \"p\", tls = \"t\" }, { alpn = [\"\"] }]",
        "[{ server_names = [\"a.b\"], alpn = [\"h2\"], pool = \"p\" }, { reject = true }]",
    ];

    /// Lines that are right alone, in any order: what is wrong is how they stand together.
    fn any_line() -> impl Strategy<Value = String> {
        (prop::sample::select(KEYS), prop::sample::select(VALUES)).prop_map(|(key, value)| {
            if key.starts_with('[') { key.to_owned() } else { format!("{key} = {value}") }
        })
    }

    fn is_answered_line_by_line(text: &str) -> bool {
        match parse(text, "x.toml") {
            Ok(_) => true,
            Err(errors) => errors.to_string().lines().count() == errors.iter().count(),
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            prop_assert!(is_answered_line_by_line(&text));
        }

        #[test]
        fn no_mixture_of_lines_panics(lines in prop::collection::vec(any_line(), 0..24)) {
            prop_assert!(is_answered_line_by_line(&lines.join("\n")));
        }

        #[test]
        fn no_cut_of_a_good_file_panics(cut in 0..4096_usize) {
            for text in [
                include_str!("../../configs/syslog.toml"),
                include_str!("../../configs/vector-srv.toml"),
            ] {
                prop_assert!(is_answered_line_by_line(text.get(..cut).unwrap_or(text)));
            }
        }
    }
}
