//! One pool kept current, sans-IO: what discovery finds, what health thinks of it, and what
//! follows for its sessions. Asks, probes, logs and publishes nothing itself.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::discovery::{self, DiscoveryOptions, Found, PoolDiscovery, Question, Saved};
use super::health::{self, Change, Entrant, PoolHealth, ProbeId};
use super::homecoming::{Census, Homecoming, Step};
use super::losses::{Loss, Losses};
use super::rebalance::{Load, Rebalance};
use crate::balance::{Backend, Member, Pool, PoolSettings, Standing};
use crate::config;
use crate::observe::ChangeCounts;

/// Everything that is known of one pool.
pub struct Keeper {
    name: Arc<str>,
    settings: PoolSettings,
    discovery: PoolDiscovery,
    health: PoolHealth,
    /// Failures in a row that eject; none: nothing does.
    failures: Option<u32>,
    losses: Losses,
    rebalance: Option<Rebalance>,
    /// In its place where keys are hashed.
    homecoming: Option<Homecoming>,
    backends: HashMap<Arc<str>, Arc<Backend>>,
    /// Removed, with sessions that go on. One that is found again counts them again.
    gone: HashMap<Arc<str>, Arc<Backend>>,
    pool: Arc<Pool>,
    is_stale: bool,
    /// Questions and readings that have not been answered.
    awaited: usize,
    changes: ChangeCounts,
    outputs: VecDeque<Output>,
}

/// What has happened.
#[derive(Clone, Debug)]
pub enum Input {
    Discovery(discovery::Input),
    Health(health::Input),
    /// The deadline has come.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Ask(Question),
    ReadFile(PathBuf),
    /// The set of backends has changed and is worth saving.
    Save,
    Probe {
        probe: ProbeId,
        name: Arc<str>,
        addresses: Arc<[SocketAddr]>,
    },
    CancelProbe(ProbeId),
    /// The sessions of a backend are to be closed in order.
    EndSessions(Arc<str>),
    /// So many of a backend's sessions are to move elsewhere.
    Move {
        backend: Arc<str>,
        count: u32,
    },
    /// So many sessions are to move to the backends that their keys belong to.
    LeadHome {
        count: u32,
    },
    /// One line for the log.
    Note {
        text: String,
        is_warning: bool,
    },
}

impl Keeper {
    /// The pool as configured, with what an earlier run saved of it.
    pub fn new(pool: &config::Pool, saved: Saved, seed: u64) -> Keeper {
        let options = DiscoveryOptions {
            sources: pool.sources.clone(),
            fixed: pool.backends.iter().map(fixed).collect(),
            discovery: pool.discovery.clone(),
            saved,
        };
        let (name, settings): (Arc<str>, _) = (pool.name.as_str().into(), settings(pool));
        let nobody = Pool::new(Arc::clone(&name), settings.clone(), Vec::new(), None);
        let (health, ejection) = (pool.health.clone(), pool.ejection.clone());
        let hashes = pool.balancing.policy.hashing().is_some();
        let mut keeper = Keeper {
            name,
            settings,
            discovery: PoolDiscovery::new(options, seed),
            failures: ejection.as_ref().map(|ejection| ejection.failures),
            health: PoolHealth::new(health, ejection, pool.slow_start, seed.rotate_left(32)),
            losses: Losses::new(pool.on_down, pool.on_removal, pool.on_drain),
            rebalance: pool.rebalance.filter(|_| !hashes).map(Rebalance::new),
            homecoming: pool.rebalance.filter(|_| hashes).map(Homecoming::new),
            backends: HashMap::new(),
            gone: HashMap::new(),
            pool: Arc::new(nobody),
            is_stale: true,
            awaited: 0,
            changes: ChangeCounts::default(),
            outputs: VecDeque::new(),
        };
        keeper.found(Duration::ZERO);
        keeper.follow_health(Duration::ZERO);
        keeper
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub fn discovery(&self) -> &PoolDiscovery {
        &self.discovery
    }

    pub fn health(&self) -> &PoolHealth {
        &self.health
    }

    /// The pool as it was last published.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub fn backend(&self, name: &str) -> Option<&Arc<Backend>> {
        self.backends.get(name)
    }

    /// Removed backends whose sessions may go on.
    pub fn gone(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.gone.values()
    }

    pub fn changes(&self) -> ChangeCounts {
        self.changes
    }

    /// Every source has said something, or has failed to, and the pool shows it.
    pub fn is_settled(&self) -> bool {
        self.awaited == 0 && !self.discovery.is_changing()
    }

    /// `now` is the time since the control thread began, and never goes back.
    pub fn handle(&mut self, input: Input, now: Duration) {
        match input {
            Input::Discovery(input) => {
                use discovery::Input::{Answered, FileRead};
                if matches!(input, Answered { .. } | FileRead { .. }) {
                    // A file that changed by itself was not asked for.
                    self.awaited = self.awaited.saturating_sub(1);
                }
                self.discovery.handle(input, now);
            }
            Input::Health(input) => self.health.handle(input, now),
            Input::Tick => {}
        }
        if self.discovery.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.discovery.handle(discovery::Input::Tick, now);
        }
        if self.health.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.health.handle(health::Input::Tick, now);
        }
        self.follow_discovery(now);
        self.follow_health(now);
        for name in self.losses.take_due(now) {
            self.outputs.push_back(Output::EndSessions(name));
        }
        self.move_sessions(now);
        self.lead_home(now);
    }

    /// Asks everything that discovery begins with.
    pub fn begin(&mut self, now: Duration) {
        self.handle(Input::Discovery(discovery::Input::Tick), now);
    }

    /// Reads what the workers have counted against the backends.
    pub fn look_at_failures(&mut self, now: Duration) {
        let Some(limit) = self.failures else { return };
        let failed = self.backends.values().filter(|backend| backend.failures_in_a_row() >= limit);
        let failed = failed.map(|backend| health::Input::Failures {
            name: Arc::clone(&backend.name),
            in_a_row: backend.failures_in_a_row(),
        });
        for input in failed.collect::<Vec<_>>() {
            // One by one: what is done about the first may change what the next one means.
            self.handle(Input::Health(input), now);
        }
    }

    /// The operator takes a backend out, or lets it in again. False: there is none of that name,
    /// and none that was drained and may come again.
    pub fn drain(&mut self, name: &str, on: bool, now: Duration) -> bool {
        if !self.backends.contains_key(name) && !self.health.remembers(name) {
            return false;
        }
        if !on {
            // Who is away has no standing that could change.
            self.losses.is_back(name, Loss::Drained);
        }
        self.handle(Input::Health(health::Input::Drain { name: name.into(), on }), now);
        true
    }

    pub fn counts_failures(&self) -> bool {
        self.failures.is_some()
    }

    pub fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn next_deadline(&self) -> Option<Duration> {
        let rebalance = self.rebalance.as_ref().and_then(Rebalance::next_deadline);
        let homecoming = self.homecoming.as_ref().and_then(Homecoming::next_deadline);
        let own = [rebalance, homecoming, self.losses.next_deadline()];
        let deadlines = [self.discovery.next_deadline(), self.health.next_deadline()];
        deadlines.into_iter().chain(own).flatten().min()
    }

    /// The pool is no longer what was last taken.
    pub fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// The pool as it is now, to be published.
    pub fn publish(&mut self) -> Arc<Pool> {
        if std::mem::take(&mut self.is_stale) {
            let member = |found: &Found| {
                let backend = Arc::clone(self.backends.get(&found.name)?);
                Some(Member { backend, standing: self.health.standing(&found.name) })
            };
            let members = self.discovery.found().iter().filter_map(member).collect();
            let (name, settings) = (Arc::clone(&self.name), self.settings.clone());
            self.pool = Arc::new(Pool::new(name, settings, members, Some(&self.pool)));
        }
        Arc::clone(&self.pool)
    }

    fn follow_discovery(&mut self, now: Duration) {
        while let Some(output) = self.discovery.next_output() {
            match output {
                discovery::Output::Ask(question) => {
                    self.awaited += 1;
                    self.outputs.push_back(Output::Ask(question));
                }
                discovery::Output::ReadFile(path) => {
                    self.awaited += 1;
                    self.outputs.push_back(Output::ReadFile(path));
                }
                discovery::Output::Changed => {
                    self.found(now);
                    self.outputs.push_back(Output::Save);
                }
                discovery::Output::Event(event) => self.note(&event),
            }
        }
    }

    fn note(&mut self, event: &discovery::Event) {
        use discovery::Event;
        match event {
            Event::Added(_) => self.changes.added += 1,
            Event::Removed(_) => self.changes.removed += 1,
            Event::Moved { .. } => self.changes.moved += 1,
            Event::Weighed(_) => self.changes.weighed += 1,
            _ => {}
        }
        let text = match event.is_of_source() {
            true => format!("pool.{}.{event}", self.name),
            false => event.to_string(),
        };
        self.outputs.push_back(Output::Note { text, is_warning: event.is_warning() });
    }

    /// Takes over the set that discovery has found.
    fn found(&mut self, now: Duration) {
        self.is_stale = true;
        self.shares_changed(now);
        self.gone.retain(|_, backend| backend.connections() > 0);
        let mut known = std::mem::take(&mut self.backends);
        for found in self.discovery.found() {
            self.losses.is_back(&found.name, Loss::Removed);
            let before = known.remove(&found.name).or_else(|| self.gone.remove(&found.name));
            self.backends.insert(Arc::clone(&found.name), backend(found, before));
        }
        for (name, backend) in known {
            self.losses.lost(&name, Loss::Removed, now);
            self.gone.insert(name, backend);
        }
        let entrants = self.discovery.found().iter().map(|found| Entrant {
            name: &found.name,
            addresses: &found.addresses,
            drain: found.drain,
        });
        self.health.set_members(entrants, now);
    }

    fn follow_health(&mut self, now: Duration) {
        while let Some(output) = self.health.next_output() {
            match output {
                health::Output::Probe { probe, name, addresses } => {
                    self.outputs.push_back(Output::Probe { probe, name, addresses });
                }
                health::Output::Cancel { probe, .. } => {
                    self.outputs.push_back(Output::CancelProbe(probe));
                }
                health::Output::Eject { name } => {
                    self.backends.get(&name).inspect(|backend| backend.set_ejected(true));
                }
                health::Output::Readmit { name } => {
                    if let Some(backend) = self.backends.get(&name) {
                        backend.succeeded();
                        backend.set_ejected(false);
                    }
                }
                health::Output::Ailing { name, on: true } => {
                    self.losses.lost(&name, Loss::Down, now);
                }
                health::Output::Ailing { name, on: false } => {
                    self.losses.is_back(&name, Loss::Down);
                }
                health::Output::Changed(change) => self.standing_changed(&change, now),
            }
        }
    }

    fn standing_changed(&mut self, change: &Change, now: Duration) {
        self.is_stale = true;
        if change.to.is_eligible() {
            self.shares_changed(now);
        }
        match change.to {
            Standing::Draining => self.losses.lost(&change.name, Loss::Drained, now),
            _ => self.losses.is_back(&change.name, Loss::Drained),
        }
        // That a new backend without a check is up says no more than that it was added.
        if !change.is_step() && change.cause != health::Cause::Unprobed {
            let is_warning = matches!(change.to, Standing::Down | Standing::Ejected);
            self.outputs.push_back(Output::Note { text: change.to_string(), is_warning });
        }
    }

    /// A backend has come or gone, or gets another share of new sessions.
    fn shares_changed(&mut self, now: Duration) {
        if let Some(rebalance) = &mut self.rebalance {
            rebalance.changed(now);
        }
        if let Some(homecoming) = &mut self.homecoming {
            homecoming.changed(now);
        }
    }

    fn lead_home(&mut self, now: Duration) {
        let Some(homecoming) = &mut self.homecoming else { return };
        let sum = |count: fn(&Backend) -> u64| self.backends.values().map(|it| count(it)).sum();
        let census = Census {
            connections: sum(|backend| backend.connections().into()),
            moving: sum(|backend| backend.moving().into()),
            moved: sum(Backend::moved),
        };
        match homecoming.take_due(&census, now) {
            Some(Step::Lead(count)) => self.outputs.push_back(Output::LeadHome { count }),
            Some(Step::Rest { led: led @ 1.. }) => {
                let text = format!("{led} sessions have moved to where their keys belong");
                self.outputs.push_back(Output::Note { text, is_warning: false });
            }
            Some(Step::Rest { led: 0 }) | None => {}
        }
    }

    fn move_sessions(&mut self, now: Duration) {
        let Some(rebalance) = &mut self.rebalance else { return };
        if rebalance.next_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        let load = |backend: &Arc<Backend>| Load {
            name: Arc::clone(&backend.name),
            connections: backend.connections(),
            moving: backend.moving(),
            weight: share(backend.weight, self.health.standing(&backend.name)),
        };
        let loads: Vec<Load> = self.backends.values().map(load).collect();
        for (backend, count) in rebalance.take_due(&loads, now) {
            let text = format!("{count} sessions of backend {backend} are to move to others");
            self.outputs.push_back(Output::Note { text, is_warning: false });
            self.outputs.push_back(Output::Move { backend, count });
        }
    }
}

/// The share of new connections that a backend gets, in hundredths of its weight.
fn share(weight: u16, standing: Standing) -> u64 {
    let percent = match standing {
        Standing::Up => 100,
        Standing::Starting(percent) => percent.into(),
        Standing::Down | Standing::Ejected | Standing::Draining => 0,
    };
    u64::from(weight) * percent
}

/// The backend as found; what is live of it goes on.
fn backend(found: &Found, before: Option<Arc<Backend>>) -> Arc<Backend> {
    let Some(before) = before else {
        let mut backend = Backend::new(Arc::clone(&found.name), found.addresses.clone());
        (backend.weight, backend.limit, backend.tier) = (found.weight, found.limit, found.tier);
        return Arc::new(backend);
    };
    let is_same = before.addresses == found.addresses
        && (before.weight, before.limit, before.tier) == (found.weight, found.limit, found.tier);
    if is_same {
        return before;
    }
    let mut backend = before.renewed();
    backend.addresses.clone_from(&found.addresses);
    (backend.weight, backend.limit, backend.tier) = (found.weight, found.limit, found.tier);
    Arc::new(backend)
}

fn fixed(backend: &config::Backend) -> Found {
    Found {
        name: backend.name.as_str().into(),
        addresses: vec![backend.address],
        weight: backend.weight,
        tier: backend.tier,
        limit: backend.max_connections,
        drain: backend.drain,
    }
}

fn settings(pool: &config::Pool) -> PoolSettings {
    PoolSettings {
        connect_timeout: pool.connect_timeout,
        tries: pool.tries,
        balancing: pool.balancing.clone(),
        queue: pool.queue.clone(),
        sources: pool.source_addresses.clone(),
        socket: pool.socket.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::Lease;
    use crate::config::parse;

    const SECOND: Duration = Duration::from_secs(1);

    /// A pool of the backends in the file /f, with `lines` of its own.
    fn keeper(lines: &str) -> Keeper {
        let text = format!(
            "[listener.l]\nlisten = \"127.0.0.1:1\"\npool = \"p\"\n\
             [pool.p]\nsources = [{{ file = \"/f\" }}]\n{lines}\n"
        );
        let config = parse(&text, "test").unwrap_or_else(|errors| panic!("{errors}"));
        let mut keeper = Keeper::new(&config.pools[0], Saved::default(), 1);
        keeper.begin(Duration::ZERO);
        keeper
    }

    /// The file has these backends from now on; what is to be done, but for notes.
    fn list(keeper: &mut Keeper, hosts: &[u8], now: Duration) -> Vec<Output> {
        let line = |host: &u8| format!("10.0.0.{host}:1\n");
        let contents = Ok(hosts.iter().map(line).collect());
        let read = discovery::Input::FileRead { path: "/f".into(), contents };
        keeper.handle(Input::Discovery(read), now);
        outputs(keeper)
    }

    fn tick(keeper: &mut Keeper, now: Duration) -> Vec<Output> {
        keeper.handle(Input::Tick, now);
        outputs(keeper)
    }

    fn outputs(keeper: &mut Keeper) -> Vec<Output> {
        let uninteresting = |output: &Output| {
            matches!(output, Output::Note { .. } | Output::Save | Output::ReadFile(_))
        };
        std::iter::from_fn(|| keeper.next_output())
            .filter(|output| !uninteresting(output))
            .collect()
    }

    fn standings(keeper: &mut Keeper) -> Vec<(String, &'static str)> {
        let pool = keeper.publish();
        let row = |member: &Member| (member.backend.name.to_string(), member.standing.as_str());
        pool.members().iter().map(row).collect()
    }

    fn connect(keeper: &mut Keeper, name: &str, count: usize) -> Vec<Lease> {
        let pool = keeper.publish();
        let member = pool.members().iter().find(|member| &*member.backend.name == name).unwrap();
        (0..count).map(|_| member.backend.lease().unwrap()).collect()
    }

    #[test]
    fn a_pool_without_checks_is_what_was_found() {
        let mut keeper = keeper("");
        assert!(standings(&mut keeper).is_empty());
        assert!(!keeper.is_settled());
        list(&mut keeper, &[1, 2], SECOND);
        assert!(keeper.is_settled() && keeper.is_stale());
        let up = |name: &str| (name.to_owned(), "up");
        assert_eq!(standings(&mut keeper), [up("10.0.0.1:1"), up("10.0.0.2:1")]);
        assert!(!keeper.is_stale());
    }

    #[test]
    fn a_backend_that_is_found_again_still_has_its_sessions() {
        let mut keeper = keeper("");
        list(&mut keeper, &[1, 2], SECOND);
        let leases = connect(&mut keeper, "10.0.0.1:1", 3);
        list(&mut keeper, &[2], 2 * SECOND);
        assert_eq!(standings(&mut keeper).len(), 1);
        list(&mut keeper, &[1, 2], 3 * SECOND);
        assert_eq!(keeper.publish().members()[0].backend.connections(), 3);
        drop(leases);
        assert_eq!(keeper.publish().members()[0].backend.connections(), 0);
    }

    #[test]
    fn the_sessions_of_a_removed_backend_end_after_their_grace_unless_it_returns() {
        let mut keeper = keeper("on_removal = \"5s\"");
        list(&mut keeper, &[1, 2], SECOND);
        list(&mut keeper, &[2], 2 * SECOND);
        list(&mut keeper, &[1, 2], 4 * SECOND);
        assert!(tick(&mut keeper, 8 * SECOND).is_empty(), "it came back in time");
        list(&mut keeper, &[1], 10 * SECOND);
        assert!(tick(&mut keeper, 14 * SECOND).is_empty());
        let end = Output::EndSessions("10.0.0.2:1".into());
        assert_eq!(tick(&mut keeper, 15 * SECOND), [end]);
        assert!(tick(&mut keeper, 60 * SECOND).is_empty());
    }

    #[test]
    fn a_backend_that_drains_is_out_until_it_is_ready_also_over_a_loss() {
        let mut keeper = keeper("");
        list(&mut keeper, &[1, 2], SECOND);
        assert!(keeper.drain("10.0.0.1:1", true, 2 * SECOND));
        assert!(keeper.is_stale(), "it is to be published");
        assert_eq!(standings(&mut keeper)[0].1, "draining");
        list(&mut keeper, &[2], 3 * SECOND);
        assert!(!keeper.drain("10.0.0.3:1", true, 3 * SECOND), "nobody of that name");
        list(&mut keeper, &[1, 2], 4 * SECOND);
        assert_eq!(standings(&mut keeper)[0].1, "draining");
        assert!(tick(&mut keeper, 60 * SECOND).is_empty(), "its sessions stay");
        assert!(keeper.drain("10.0.0.1:1", false, 61 * SECOND));
        assert_eq!(standings(&mut keeper)[0].1, "up");
        assert!(keeper.drain("10.0.0.1:1", true, 62 * SECOND));
        list(&mut keeper, &[2], 63 * SECOND);
        assert!(keeper.drain("10.0.0.1:1", false, 64 * SECOND), "it may come again");
        assert!(!keeper.drain("10.0.0.1:1", false, 65 * SECOND), "and is forgotten");
        list(&mut keeper, &[1, 2], 66 * SECOND);
        assert_eq!(standings(&mut keeper)[0].1, "up");
    }

    #[test]
    fn sessions_of_a_backend_that_drains_end_after_their_grace_unless_it_is_ready_before() {
        let end = |host: u8| Output::EndSessions(format!("10.0.0.{host}:1").into());
        let mut keeper = keeper("on_drain = \"5s\"");
        list(&mut keeper, &[1, 2], SECOND);
        keeper.drain("10.0.0.1:1", true, 2 * SECOND);
        keeper.drain("10.0.0.1:1", true, 4 * SECOND);
        assert!(tick(&mut keeper, 6 * SECOND).is_empty());
        keeper.drain("10.0.0.1:1", false, 6 * SECOND);
        assert!(tick(&mut keeper, 20 * SECOND).is_empty(), "it was ready in time");
        keeper.drain("10.0.0.1:1", true, 20 * SECOND);
        // What is said twice holds from the first time on.
        keeper.drain("10.0.0.1:1", true, 24 * SECOND);
        assert_eq!(tick(&mut keeper, 25 * SECOND), [end(1)]);
        // And that the backend is lost meanwhile changes nothing.
        keeper.drain("10.0.0.2:1", true, 30 * SECOND);
        list(&mut keeper, &[1], 31 * SECOND);
        assert_eq!(tick(&mut keeper, 35 * SECOND), [end(2)]);
    }

    #[test]
    fn sessions_of_a_backend_that_fails_while_it_drains_end_as_those_of_any_other() {
        let lines = "on_down = \"5s\"\n[pool.p.health]\ncheck = \"tcp\"\nfall = 1\nrise = 1\n\
                     interval = \"2s\"\njitter = 0";
        let mut keeper = keeper(lines);
        let asked = list(&mut keeper, &[1, 2], SECOND);
        keeper.drain("10.0.0.1:1", true, 2 * SECOND);
        let refused = Err(health::ProbeFailure::Refused);
        probed(&mut keeper, &asked, refused, 3 * SECOND);
        let asked = tick(&mut keeper, 6 * SECOND);
        probed(&mut keeper, &asked, Ok(()), 7 * SECOND);
        let asked = tick(&mut keeper, 9 * SECOND);
        let end = Output::EndSessions("10.0.0.1:1".into());
        assert!(!asked.contains(&end), "it was well again in time");
        probed(&mut keeper, &asked, refused, 10 * SECOND);
        assert!(tick(&mut keeper, 15 * SECOND).contains(&end));
    }

    /// Ends the probe of the first backend, which is among those asked for.
    fn probed(
        keeper: &mut Keeper,
        asked: &[Output],
        result: Result<(), health::ProbeFailure>,
        now: Duration,
    ) {
        let first = |output: &Output| match output {
            Output::Probe { probe, name, .. } if &**name == "10.0.0.1:1" => Some(*probe),
            _ => None,
        };
        let probe = asked.iter().find_map(first).expect("it is probed");
        let (name, took) = ("10.0.0.1:1".into(), Duration::ZERO);
        keeper.handle(Input::Health(health::Input::Probed { name, probe, result, took }), now);
    }

    #[test]
    fn failures_that_the_workers_count_eject_and_time_readmits() {
        let mut keeper =
            keeper("on_down = \"close\"\n[pool.p.ejection]\nfailures = 3\nbase_time = \"10s\"");
        list(&mut keeper, &[1, 2], SECOND);
        let backend = Arc::clone(&keeper.publish().members()[0].backend);
        (0..3).for_each(|_| backend.failed());
        keeper.look_at_failures(2 * SECOND);
        assert!(backend.is_ejected(), "at once");
        assert_eq!(outputs(&mut keeper), [Output::EndSessions("10.0.0.1:1".into())]);
        assert_eq!(standings(&mut keeper)[0].1, "ejected");
        tick(&mut keeper, 12 * SECOND);
        assert!(!backend.is_ejected());
        assert_eq!(backend.failures_in_a_row(), 0);
        assert_eq!(standings(&mut keeper)[0].1, "up");
    }

    #[test]
    fn where_keys_are_hashed_each_change_leads_sessions_home_until_nobody_is_left() {
        let mut keeper = keeper("policy = \"maglev\"\nrebalance = 4");
        list(&mut keeper, &[1, 2], SECOND);
        let leases = connect(&mut keeper, "10.0.0.1:1", 9);
        let step = [Output::LeadHome { count: 4 }];
        assert_eq!(tick(&mut keeper, 2 * SECOND), step);
        assert!(tick(&mut keeper, 3 * SECOND).is_empty(), "nobody was astray");
        for (second, hosts) in [(10, &[1, 2, 3][..]), (20, &[1, 3])] {
            list(&mut keeper, hosts, second * SECOND);
            leases[second as usize / 10].moves();
            assert_eq!(tick(&mut keeper, (second + 1) * SECOND), step, "{hosts:?}");
            assert_eq!(tick(&mut keeper, (second + 2) * SECOND), step, "some are on their way");
        }
        drop(leases);
        assert!(tick(&mut keeper, 30 * SECOND).is_empty());
        let contents = Ok("10.0.0.1:1 weight=2\n10.0.0.3:1\n".to_owned());
        let read = discovery::Input::FileRead { path: "/f".into(), contents };
        keeper.handle(Input::Discovery(read), 40 * SECOND);
        assert_eq!(tick(&mut keeper, 41 * SECOND), step, "a weight moves keys as well");
    }

    #[test]
    fn a_newcomer_gets_its_share_of_the_sessions() {
        let mut keeper = keeper("rebalance = 4\nrebalance_tolerance = 0");
        list(&mut keeper, &[1, 2], SECOND);
        let _leases = ["10.0.0.1:1", "10.0.0.2:1"].map(|name| connect(&mut keeper, name, 9));
        assert!(tick(&mut keeper, 5 * SECOND).is_empty(), "those are balanced");
        list(&mut keeper, &[1, 2, 3], 6 * SECOND);
        let moved =
            |host: u8, count| Output::Move { backend: format!("10.0.0.{host}:1").into(), count };
        let mut outputs = tick(&mut keeper, 7 * SECOND);
        outputs.sort_by_key(|output| format!("{output:?}"));
        assert_eq!(outputs, [moved(1, 2), moved(2, 2)]);
    }
}
