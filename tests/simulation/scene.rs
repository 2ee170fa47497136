//! A whole run drawn from a seed: who is there, what they do, within which limits, and what may
//! have become of each of them. How the worker is set up and wound up is `stage`'s affair.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use ringmain::balance::{Member, PoolId};
use ringmain::engine::Time;
use ringmain::engine::driver::simulated::Faults;
use ringmain::observe::{AccessRecord, CloseReason};
use ringmain::proxy::Command;

use crate::actors::{Backend, Client, Ending, Fate, Kind, Log, Outcome, Plan};
use crate::drawing::{
    Cast, MOST_CLIENTS, Traits, cast, draw_listener, draw_pool, drawn_patience, engine, plan,
};
use crate::security::{Keyring, Security};
use crate::stage::{HOUR, Settings, Stage, address, front, is_over, listener_name};

pub struct Scene {
    pub stage: Stage,
    clients: Vec<(Plan, Rc<Cell<Outcome>>)>,
    backends: Vec<(Kind, Rc<RefCell<Log>>)>,
    /// By listener.
    securities: Vec<Security>,
    traits: Traits,
}

impl Scene {
    /// Anything may happen.
    pub fn any(seed: u64) -> Scene {
        let mut random = Rng::with_seed(seed ^ SALT);
        let faults = Faults::from_seed(seed);
        let traits = Traits {
            faults,
            healthy: false,
            few_descriptors: random.u8(0..4) == 0,
            backend_limit: (random.u8(0..4) == 0).then(|| random.u32(1..=8)),
            queue: random.bool(),
            ages: random.u8(0..4) == 0,
            commands: if random.bool() { random.u32(1..=8) } else { 0 },
            early_drain: random.bool(),
        };
        Scene::draw(seed, &mut random, traits)
    }

    /// Healthy backends, well-behaved clients and enough of everything.
    pub fn healthy(seed: u64) -> Scene {
        // Both kinds of kernel.
        Scene::peaceful(seed, |_, traits| traits.faults.caps_receives = seed % 8 < 4)
    }

    /// The same, with those faults that the proxy has to get over.
    pub fn healthy_but_bumpy(seed: u64) -> Scene {
        let faults = Faults::from_seed(seed);
        let died = Faults { cut_reset: 0, cut_timeout: 0, ..faults };
        let faults = Faults { no_port: 0, unreachable: 0, gives_up: 0, ..died };
        Scene::peaceful(seed, |_, traits| traits.faults = faults)
    }

    /// Everyone is healthy, and the proxy closes sessions that would go on.
    pub fn healthy_but_moved(seed: u64) -> Scene {
        Scene::peaceful(seed, |random, traits| {
            traits.faults.caps_receives = seed % 8 < 4;
            traits.ages = random.bool();
            traits.commands = random.u32(1..=16);
        })
    }

    fn peaceful(seed: u64, change: impl FnOnce(&mut Rng, &mut Traits)) -> Scene {
        let mut random = Rng::with_seed(!seed ^ SALT);
        let mut traits = Traits {
            faults: Faults::none(),
            healthy: true,
            few_descriptors: false,
            // Whoever finds no place waits for one.
            backend_limit: (random.u8(0..4) == 0).then(|| random.u32(1..=8)),
            queue: true,
            ages: false,
            commands: 0,
            early_drain: false,
        };
        change(&mut random, &mut traits);
        Scene::draw(seed, &mut random, traits)
    }

    fn draw(seed: u64, random: &mut Rng, traits: Traits) -> Scene {
        // Apart from the other draws, which are the same with TLS and without.
        let mut secret = Rng::with_seed(seed.rotate_left(32) ^ SALT);
        let casts: Vec<Cast> =
            (0..random.usize(1..=2)).map(|_| cast(random, &mut secret, &traits)).collect();
        // Few places are given one at a time, many as clients come.
        let limit = if random.bool() { random.u32(1..=48) } else { 10_000 };
        let pools = casts.iter().enumerate();
        let pools = pools.map(|(index, cast)| draw_pool(index, cast, random, &traits)).collect();
        let securities: Vec<_> = casts.iter().map(|cast| cast.security).collect();
        let secure = securities.iter().any(|security| *security != Security::Nowhere);
        let patience = if traits.healthy { HOUR } else { drawn_patience(&mut secret) };
        let keyring = secure.then(|| Keyring::new(patience));
        let keys = keyring.as_ref();
        let stage = Stage::new(Settings {
            seed,
            faults: traits.faults,
            engine: engine(random, &traits, limit.min(MOST_CLIENTS)),
            pools,
            listeners: casts.iter().map(|_| draw_listener(random, &traits)).collect(),
            process_limit: limit,
            few_places: limit / 2,
            linger_timeout: match traits.healthy {
                true => HOUR,
                false => Duration::from_millis(1 << random.u32(6..=12)),
            },
            prefaces: (securities.iter().enumerate())
                .map(|(index, security)| keys?.preface(*security, PoolId(index), patience))
                .collect(),
            pools_tls: securities.iter().map(|security| keys?.towards(*security)).collect(),
            handshakes: if secret.bool() { secret.u32(1..=4) } else { 256 },
            hello_memory: 1 << 20,
        });
        if traits.few_descriptors {
            stage.world.limit_descriptors(random.usize(12..=60));
        }
        let mut scene =
            Scene { stage, clients: Vec::new(), backends: Vec::new(), securities, traits };
        scene.populate(casts, keys, random, &mut secret);
        scene.command(random);
        scene.end(random);
        scene
    }

    /// Has sessions closed at any time, of backends that there are, or were.
    fn command(&self, random: &mut Rng) {
        for _ in 0..self.traits.commands {
            let pool = format!("pool-{}", random.u32(0..2)).into();
            let backend = format!("backend-{}", random.u32(0..5)).into();
            let count = random.u32(0..=4);
            let command = match random.bool() {
                true => Command::EndSessions { pool, backend },
                false => Command::Rebalance { pool, backend, count },
            };
            self.stage.tell(Duration::from_millis(random.u64(1..3000)), command);
        }
    }

    fn populate(
        &mut self,
        casts: Vec<Cast>,
        keys: Option<&Keyring>,
        random: &mut Rng,
        secret: &mut Rng,
    ) {
        for (index, cast) in casts.iter().enumerate() {
            for (number, kind) in cast.kinds.iter().enumerate() {
                let Some(kind) = *kind else { continue };
                let backlog = random.usize(1..=64);
                let wire = keys.map(|keys| keys.backend(cast.security)).unwrap_or_default();
                let (backend, log) = Backend::new(address(index, number), backlog, kind, wire);
                self.stage.world.spawn(Time::default(), backend);
                self.backends.push((kind, log));
            }
        }
        let spread = Duration::from_millis(1 << random.u32(0..=11));
        for number in 0..random.u32(8..=MOST_CLIENTS) {
            let index = random.usize(..casts.len());
            let mut plan = plan(number.into(), index, &casts[index], random, &self.traits);
            if let Some(keys) = keys {
                plan.wire = keys.client(casts[index].security, secret);
                if !plan.wire.is_plain() && secret.u8(0..8) == 0 {
                    plan.ending = Ending::Cut;
                }
            }
            let (client, outcome) = Client::new(plan.clone());
            let start = Duration::from_nanos(random.u64(1..=spread.as_nanos() as u64));
            self.stage.world.spawn(Time::default() + start, client);
            self.clients.push((plan, outcome));
        }
    }

    fn end(&self, random: &mut Rng) {
        let outcomes: Vec<_> = self.clients.iter().map(|(_, outcome)| outcome.clone()).collect();
        let latest = match self.traits {
            Traits { healthy: true, .. } => HOUR,
            Traits { early_drain: true, .. } => Duration::from_millis(random.u64(1..3000)),
            _ => Duration::from_secs(300),
        };
        // A client can be done before its session is.
        let limit = match self.traits.healthy {
            true => HOUR,
            false => Duration::from_millis(1 << random.u32(0..=12)),
        };
        self.stage.drain(Time::default() + latest, limit, move || outcomes.iter().all(is_over));
    }

    /// Runs it and judges what became of everyone.
    pub fn play(mut self) {
        self.stage.run();
        self.judge_reasons();
        for (plan, outcome) in &self.clients {
            self.judge_client(plan, outcome.get());
        }
        self.judge_ends();
        self.judge_tries();
        if self.traits.healthy {
            self.judge_backends();
            self.judge_cuts();
        }
    }

    fn judge_client(&self, plan: &Plan, outcome: Outcome) {
        use ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, TimedOut, UnexpectedEof};
        match outcome.fate {
            Fate::Done => {}
            // Only before the connection: the listener is gone, or its backlog full for too long.
            Fate::Failed(ConnectionRefused) => assert_eq!(outcome.sent + outcome.received, 0),
            Fate::Failed(ConnectionReset | BrokenPipe | TimedOut) => {}
            // In its handshake; later it is seen as a cut.
            Fate::Failed(UnexpectedEof) => assert_eq!(outcome.sent + outcome.received, 0),
            fate => panic!("{plan:?}: {fate:?}"),
        }
        if self.traits.healthy && !self.is_turned_away(plan, outcome) {
            assert_eq!(outcome.fate, Fate::Done, "{plan:?}");
            assert_eq!(outcome.sent, plan.length, "{plan:?}");
            let moved = self.traits.is_moving();
            assert!(moved || self.is_complete(plan, outcome), "{plan:?}: {outcome:?}");
            // Where TLS passes through, the proxy has no way to say an end of its own.
            let told = !outcome.cut_seen || moved && !self.security(plan).ends_here();
            assert!(told, "{plan:?}: {outcome:?}");
            let arrived = self.served(plan).map(|(_, received)| received);
            assert_eq!(arrived, Some(plan.length), "{plan:?}: all that was sent has arrived");
        }
    }

    /// Whether a client may have found that every backend was lost while it tried to reach it, or
    /// its session ended where it was still to shake hands with its backend.
    fn is_turned_away(&self, plan: &Plan, outcome: Outcome) -> bool {
        match outcome.fate {
            _ if outcome.received > 0 => false,
            Fate::Failed(ErrorKind::UnexpectedEof) => {
                self.traits.is_moving() && self.security(plan) == Security::Passthrough
            }
            Fate::Failed(_) => self.traits.commands > 0,
            _ => false,
        }
    }

    /// Nobody who behaved was reset; who was turned away was never served.
    fn judge_backends(&self) {
        let failed: u64 = self.backends.iter().map(|(_, log)| log.borrow().failed).sum();
        assert_eq!(failed, 0, "connections to backends were reset");
        let turned_away = self.clients.iter().filter(|(plan, outcome)| {
            let fate = outcome.get().fate;
            self.is_turned_away(plan, outcome.get())
                && fate != Fate::Failed(ErrorKind::UnexpectedEof)
        });
        let unserved: u64 = (0..self.stage.pools.len())
            .map(|index| self.stage.listener(index).sessions_closed.get(CloseReason::BackendLost))
            .sum();
        assert_eq!(turned_away.count() as u64, unserved);
    }

    /// Who sees an end of stream has all bytes before it, unless the proxy ended the session for a
    /// reason that is no failure of the other side. A reset is never made an end.
    fn judge_ends(&self) {
        for (index, security) in self.securities.iter().enumerate() {
            let ended = |reasons: &[CloseReason]| -> u64 {
                reasons.iter().map(|reason| self.stage.ended_at(index, *reason)).sum()
            };
            let in_order = ended(&[
                CloseReason::BackendLost,
                CloseReason::Rebalanced,
                CloseReason::MaxAge,
                CloseReason::Drained,
            ]);
            let for_time = ended(&[CloseReason::IdleTimeout, CloseReason::HalfClosedTimeout]);
            // In the clear an end is all that can be told, also of a stream that was cut.
            let plain = in_order + for_time + ended(&[CloseReason::TlsTruncated]);
            let allowed = |secure, here| match (secure, here) {
                (false, _) => plain,
                (true, true) => in_order,
                // What is said from end to end is never the proxy's word.
                (true, false) => 0,
            };
            let clients = self.clients.iter().filter(|(plan, _)| plan.target == front(index));
            let early: Vec<_> = (clients.clone().map(|(plan, outcome)| (plan, outcome.get())))
                .filter(|(plan, outcome)| outcome.end_seen && !self.is_complete(plan, *outcome))
                .collect();
            let most = allowed(security.of_clients(), security.ends_here());
            assert!(early.len() as u64 <= most, "clients saw an early end: {early:#?}");
            let early: Vec<_> = clients.filter(|(plan, _)| self.is_cut_in_order(plan)).collect();
            let most = allowed(security.of_backends(), security.begins_here());
            assert!(early.len() as u64 <= most, "backends saw an early end: {early:#?}");
        }
    }

    /// Each stream that its client cut is told as one, in the sessions that came to their end.
    fn judge_cuts(&self) {
        for (index, security) in self.securities.iter().enumerate() {
            let clients = self.clients.iter().filter(|(plan, _)| plan.target == front(index));
            let cut: Vec<_> =
                (clients.map(|(plan, _)| plan)).filter(|plan| plan.ending == Ending::Cut).collect();
            let told = self.stage.ended_at(index, CloseReason::TlsTruncated);
            let most = if security.ends_here() { cut.len() as u64 } else { 0 };
            let moved = self.traits.is_moving();
            // A client that has heard the end before may leave without another word.
            let last_word = |plan: &Plan| {
                let served = self.served(plan).map(|(kind, _)| kind);
                moved || matches!(served, Some(Kind::Source { .. } | Kind::Greeter { .. }))
            };
            let least =
                most.saturating_sub(cut.iter().filter(|plan| last_word(plan)).count() as u64);
            assert!((least..=most).contains(&told), "{told} of {least} to {most} were told");
            for plan in cut.iter().filter(|_| security.of_backends()) {
                let seen = |log: &Log| log.cut.contains(&plan.stream);
                assert!(moved || self.backends.iter().any(|(_, log)| seen(&log.borrow())));
            }
        }
    }

    /// A session tries each backend once at most, and no more of them than it may.
    fn judge_tries(&self) {
        for (index, pool) in self.stage.pools.iter().enumerate() {
            let name = listener_name(index);
            let mut records = self.stage.records();
            records.retain(|record| record.listener == name);
            for record in &records {
                let names = record.tried.iter().chain(&record.backend);
                let distinct: BTreeSet<_> = names.clone().collect();
                assert_eq!(distinct.len(), names.count(), "{record:?}");
                assert!(distinct.len() <= pool.settings.tries, "{record:?}");
            }
            self.judge_counts(index, &records);
        }
    }

    /// Each try is counted once: it was in vain, became the session's, or was the last one of a
    /// session that came to nothing.
    fn judge_counts(&self, index: usize, records: &[AccessRecord]) {
        let Traits { faults, healthy, commands, .. } = self.traits;
        // What else than a failure to connect makes a try vain.
        let others = faults.no_port > 0 || commands > 0 || self.securities[index].begins_here();
        let mut unsettled = 0;
        for Member { backend, .. } in self.stage.pools[index].members() {
            let tried = records.iter().flat_map(|record| &record.tried);
            let in_vain = tried.filter(|name| **name == backend.name).count() as u64;
            let tally = self.stage.session(index, backend);
            let (attempts, failures) = (tally.connect_attempts.get(), tally.connect_failures.get());
            let settled = in_vain + tally.sessions_opened.get();
            let told = format!("{attempts} attempts, {failures} failures, {in_vain} in vain");
            assert!(attempts >= settled && failures <= in_vain, "{told}");
            assert!(others || failures == in_vain, "{told}");
            unsettled += attempts - settled;
        }
        let unserved = records.iter().filter(|record| record.backend.is_none()).count() as u64;
        let most = if healthy && commands == 0 { 0 } else { unserved };
        assert!(unsettled <= most, "{unsettled} tries of {most} sessions led nowhere");
    }

    /// Whether a client that saw the end has what its backend meant it to have.
    fn is_complete(&self, plan: &Plan, outcome: Outcome) -> bool {
        if let Some(Kind::Greeter { length }) = self.greeter(outcome) {
            return outcome.received == length;
        }
        let Some((kind, received)) = self.served(plan) else { return false };
        match kind {
            Kind::Echo => outcome.received == plan.length,
            Kind::Source { length } | Kind::StayingSource { length } => outcome.received == length,
            Kind::Sink | Kind::SlowReader { .. } => received == plan.length,
            Kind::ResetAfter { received: limit } => limit > plan.length && received == plan.length,
            Kind::CloseAfter { .. } | Kind::CutAfter { .. } => true,
            Kind::Greeter { .. }
            | Kind::RudeGreeter { .. }
            | Kind::NeverRead
            | Kind::NeverAccept
            | Kind::BlackHole => false,
        }
    }

    /// Whether a backend saw the end of a stream that its client did not end there.
    fn is_cut_in_order(&self, plan: &Plan) -> bool {
        self.backends.iter().any(|(_, log)| {
            let log = log.borrow();
            let resets = matches!(plan.ending, Ending::Reset | Ending::ResetAfter { .. });
            let short = || log.received[&plan.stream] < plan.length;
            log.ended.contains(&plan.stream) && (resets || short() || self.is_cut(plan))
        })
    }

    /// Whether a client's stream has no end that its backend could be told of.
    fn is_cut(&self, plan: &Plan) -> bool {
        plan.ending == Ending::Cut && self.security(plan).of_backends()
    }

    /// Where TLS is spoken on a client's way.
    fn security(&self, plan: &Plan) -> Security {
        self.securities[usize::from(plan.target.port() - front(0).port())]
    }

    /// The backend that a client's bytes reached, and how many did.
    fn served(&self, plan: &Plan) -> Option<(Kind, u64)> {
        self.backends.iter().find_map(|(kind, log)| {
            log.borrow().received.get(&plan.stream).map(|received| (*kind, *received))
        })
    }

    /// The backend that a client was greeted by; it may never have heard of the client.
    fn greeter(&self, outcome: Outcome) -> Option<Kind> {
        let greeting = outcome.greeting?;
        let greets = |log: &Log| log.greetings.contains(&greeting);
        let (kind, _) = self.backends.iter().find(|(_, log)| greets(&log.borrow()))?;
        Some(*kind)
    }

    fn limits_places(&self) -> bool {
        self.traits.backend_limit.is_some()
    }

    fn judge_reasons(&self) {
        let faults = self.traits.faults;
        let secure = self.securities.iter().any(|security| *security != Security::Nowhere);
        for reason in CloseReason::ALL {
            let possible = match reason {
                CloseReason::Finished => true,
                CloseReason::BackendLost | CloseReason::Rebalanced => self.traits.commands > 0,
                CloseReason::MaxAge => self.traits.ages,
                // What is sent is a hello, and makes sense, also where it does not end in order.
                CloseReason::BadHello | CloseReason::NoRoute | CloseReason::ClientTls => false,
                CloseReason::TlsTruncated => secure,
                _ if self.traits.healthy => false,
                CloseReason::Panicked | CloseReason::SocketError => false,
                CloseReason::NoBackend => false,
                CloseReason::BackendLimit => self.limits_places() && !self.traits.queue,
                CloseReason::QueueFull | CloseReason::QueueTimeout => {
                    self.limits_places() && self.traits.queue
                }
                CloseReason::SourcePorts => faults.no_port > 0,
                CloseReason::Descriptors => faults.no_descriptor > 0 || self.traits.few_descriptors,
                CloseReason::ClientTimedOut => faults.cut_timeout > 0,
                CloseReason::HelloTimeout
                | CloseReason::HandshakeTimeout
                | CloseReason::BackendTls => secure,
                _ => true,
            };
            let count = self.stage.ended(reason);
            assert!(possible || count == 0, "{count} sessions ended {}", reason.as_str());
        }
    }
}

/// Keeps the draws here apart from the world's.
const SALT: u64 = 0x5ce1_e000_0000_0000;
