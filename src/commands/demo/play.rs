//! The order of events: backends, proxy, tour, then whoever comes, until Ctrl-C.

use std::io;
use std::process::ExitCode;

use crate::observe::{LogFormat, LogOptions, start_log};
use crate::server::{Ended, Serving};

use super::super::exit;
use super::backends::{self, Backend};
use super::certificate::{Certificates, ENDED, PASSED};
use super::error::DemoError;
use super::proxy::Proxy;
use super::screen::{Screen, bytes, is_bold};
use super::sessions::Sessions;
use super::stage::{self, Ports};
use super::tour::{Amounts, Tour, address};

/// Plays the demo on standard output; with `once`, only the tour.
pub(in super::super) fn demo(once: bool) -> ExitCode {
    let log = LogOptions { level: tracing::Level::WARN, format: LogFormat::Text };
    if let Err(error) = start_log(log) {
        return exit::fail(exit::SYSTEM, &error);
    }
    let mut stdout = io::stdout();
    let bold = is_bold(&stdout);
    let mut screen = Screen::new(&mut stdout, bold);
    match run(Play { ports: Ports::FRIENDLY, amounts: AMOUNTS, once }, &mut screen) {
        Ok(ended) => exit::outcome(Ok(ended)),
        Err(error) => error.exit(),
    }
}

/// What is played.
struct Play {
    ports: Ports,
    amounts: Amounts,
    /// End after the tour.
    once: bool,
}

/// Runs backends, client and screen on this thread.
fn run(play: Play, screen: &mut Screen<'_>) -> Result<Ended, DemoError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| DemoError::System("no runtime", error))?;
    runtime.block_on(play.run(screen))
}

impl Play {
    async fn run(self, screen: &mut Screen<'_>) -> Result<Ended, DemoError> {
        let certificates = Certificates::generate()?;
        let backends = backends::start(&certificates.acceptor).await;
        let backends =
            backends.map_err(|error| DemoError::System("a backend cannot listen", error))?;
        let config = stage::configuration(&backends, &certificates.edge, self.ports.where_free());
        let (mut proxy, (serving, records)) = Proxy::start(config).await?;
        let mut sessions = Sessions::new(records);
        self.introduce(screen, &serving, &backends);

        let mut tour = Tour {
            amounts: self.amounts,
            serving: &serving,
            connector: &certificates.connector,
            sessions: &mut sessions,
            screen,
        };
        let toured = tokio::select! {
            // After Ctrl-C the proxy drains, and what the tour makes of that is no failure.
            biased;
            _ = tokio::signal::ctrl_c() => Err(DemoError::Interrupted),
            toured = tour.run() => toured,
        };
        if toured.is_ok() && !self.once {
            invite(screen, &serving, &certificates);
        } else {
            proxy.stop();
        }
        while let Some(record) = sessions.next().await {
            if toured.is_ok() {
                screen.visitor(&record);
            }
        }
        let ended = proxy.ended().await?;
        let (count, moved) = (sessions.count, bytes(sessions.bytes));
        screen.title("Ended", format_args!("{count} sessions, {moved} relayed"));
        toured.map(|()| ended)
    }

    fn introduce(&self, screen: &mut Screen<'_>, serving: &Serving, backends: &[Backend]) {
        let workers = serving.workers;
        screen.line(format_args!(
            "Ringmain in front of {} backends of its own; workers on io_uring: {workers}",
            backends.len()
        ));
        screen.title("Listener", "Address          Backends");
        let ports = &self.ports;
        for (name, wanted) in [("echo", ports.echo), ("lines", ports.lines), ("tls", ports.tls)] {
            let address = address(serving, name);
            let shown = address.to_string();
            let members = backends.iter().filter(|backend| backend.pool == name);
            let members: Vec<_> = members
                .map(|Backend { name, address, .. }| format!("{name} at {address}"))
                .collect();
            screen.fact(name, format_args!("{shown:<17}{}", members.join(", ")));
            if name == "tls" {
                let about = format!("where TLS for {ENDED} is ended, and goes to those of echo");
                screen.fact("", format_args!("{:<17}{about}", ""));
            }
            note_if_taken(screen, wanted, address.port());
        }
        if let Some(admin) = serving.admin {
            screen.fact("admin", admin);
            note_if_taken(screen, ports.admin, admin.port());
        }
    }
}

fn note_if_taken(screen: &mut Screen<'_>, wanted: u16, port: u16) {
    if wanted != 0 && wanted != port {
        screen.fact("", format_args!("(port {wanted} is taken; {port} was free)"));
    }
}

/// What the user can try.
fn invite(screen: &mut Screen<'_>, serving: &Serving, certificates: &Certificates) {
    let [echo, lines, tls] = ["echo", "lines", "tls"].map(|name| address(serving, name).port());
    let trusted = certificates.trusted.path();
    let trusted = trusted.display();
    screen.title("Your turn", "the proxy keeps serving; from another terminal, try");
    screen.line(format_args!("  curl http://127.0.0.1:{echo}/"));
    screen.line(format_args!("  printf 'hello\\n' | nc -N 127.0.0.1 {echo}"));
    screen.line(format_args!("  seq 100000 | nc -N 127.0.0.1 {lines}"));
    for name in [PASSED, ENDED] {
        screen.line(format_args!("  curl --cacert {trusted} https://{name}:{tls}/"));
    }
    if let Some(admin) = serving.admin {
        screen.line(format_args!("  curl http://{admin}/metrics"));
    }
    screen.title("Sessions", "each is shown when it ends; Ctrl-C ends the demo");
}

/// A few seconds at most.
const AMOUNTS: Amounts = Amounts { requests: 100, lines: 200_000, blocks: 256, tls_sessions: 20 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tour_finds_everything_intact_and_bulk_spliced() {
        let amounts = Amounts { requests: 5, lines: 10_000, blocks: 32, tls_sessions: 3 };
        let play = Play { ports: Ports::default(), amounts, once: true };
        let mut shown = Vec::new();
        let outcome = run(play, &mut Screen::new(&mut shown, false));
        let shown = String::from_utf8(shown).expect("text");
        assert_eq!(outcome.expect(&shown), Ended::InOrder);
        assert_eq!(shown.matches("\n  intact ").count(), 5, "{shown}");
        assert!(shown.contains("splice/splice"), "{shown}");
        assert!(shown.contains("; 1 full, 2 resumed\n"), "{shown}");
        for backend in ["echo-a", "echo-b", "lines-a", "tls-a"] {
            assert!(shown.contains(&format!("\n  {backend}  ")), "{shown}");
        }
        assert!(shown.contains("\nEnded     48 sessions, "), "{shown}");
        assert!(shown.lines().count() <= 50, "{shown}");
    }
}
