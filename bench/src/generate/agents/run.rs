//! Owns the course of a run on the side of the agents: connect, warm up, pace, drain, close the
//! books. It starts no thread and no backend.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use ringmain::engine::{Either, race};

use super::super::cause::Cause;
use super::super::channel::AgentTls;
use super::super::course::Schedule;
use super::super::datagrams;
use super::super::grpc::Caller;
use super::super::one_way::{OneWay, Tidings};
use super::super::order::{Group, Order, Pace};
use super::super::protocol::Dialogue;
use super::super::record::Window;
use super::super::stage::Stage;
use super::super::tls::Disagreed;
use super::agent::Agent;
use super::team::{Lasting, Team};
use super::visits::Visits;

/// Where the agents of a group go.
#[derive(Clone)]
pub struct Site {
    pub target: SocketAddr,
    /// Addresses to connect from, in turn; none: the kernel's choice.
    pub sources: Vec<IpAddr>,
    pub tls: Option<AgentTls>,
    /// Whom requests over HTTP name; none: nobody in particular.
    pub host: Option<String>,
}

/// What the two sides of a run, and whoever watches it, know of each other.
#[derive(Clone, Default)]
pub struct Signals {
    /// Somebody wants the run to end at once.
    pub interrupted: Arc<AtomicBool>,
    /// What backends have sent, and what has come to them, that nobody answers.
    pub backends: Arc<Tidings>,
}

/// Why there was no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// So many of the group's connections came about in time.
    NotConnected {
        group: usize,
        connected: u32,
        cause: Option<Cause>,
    },
    /// Handshakes succeeded and were not what they should have been.
    Disagreed(Disagreed),
    /// Handshakes brought none, so that nothing can be resumed.
    NoTickets,
    Interrupted,
}

/// The agents of one group.
enum Crew {
    Agents(Vec<Rc<dyn Lasting>>),
    Visits(Rc<Visits>),
}

/// Makes the load of `order`, the groups at the site with the same number. The counts are with the
/// stage afterwards, on a part for each group.
pub async fn run(
    stage: &Rc<Stage>,
    order: &Order,
    sites: &[Site],
    signals: &Signals,
) -> Result<Window, Fault> {
    stage.engine.spawn(Rc::clone(stage).tell());
    let before = signals.backends.read();
    let mut random = Rng::with_seed(order.seed);
    let mut teams = Vec::new();
    for (group, site) in order.groups.iter().zip(sites) {
        teams.push(Team::new(stage.part(), group.clone(), site.clone(), random.fork()));
    }
    let mut crews = Vec::new();
    let mut streams = 0;
    for (number, team) in teams.iter().enumerate() {
        let crew = Crew::new(team, &mut streams);
        crew.connect(team, number, signals).await?;
        crews.push(crew);
    }
    let window = open_window(stage, order);
    let start = window.begin.saturating_sub(nanos(order.warm_up));
    for (team, crew) in teams.iter().zip(&crews) {
        crew.begin(team, start, order.length(), &mut random);
    }
    let watched = race(stage.until(window.end), interrupted(stage, signals)).await;
    if watched == Either::Second(()) {
        stage.end();
        return Err(Fault::Interrupted);
    }
    drain(stage, &crews, order.patience, signals, before).await;
    stage.end();
    if let Some(disagreed) = teams.iter().find_map(|team| team.audit.borrow().verdict()) {
        return Err(Fault::Disagreed(disagreed));
    }
    crews.iter().for_each(Crew::close_books);
    // The last second is told when the first turn after it has come.
    stage.tick();
    Ok(window)
}

fn open_window(stage: &Stage, order: &Order) -> Window {
    let begin = stage.now() + nanos(LEAD) + nanos(order.warm_up);
    let (end, patience) = (begin + nanos(order.window), nanos(order.patience));
    stage.open_window(Window { begin, end, patience })
}

impl Crew {
    fn new(team: &Rc<Team>, streams: &mut u32) -> Crew {
        let mut next = || {
            *streams += 1;
            *streams - 1
        };
        match team.group.protocol.dialogue() {
            Dialogue::Visit => Crew::Visits(Visits::new(Rc::clone(team), next())),
            _ if team.group.protocol.is_datagrams() => {
                let scratch = Rc::default();
                let agent = |_| -> Rc<dyn Lasting> {
                    datagrams::Agent::new(Rc::clone(team), next(), Rc::clone(&scratch))
                };
                Crew::Agents((0..team.group.agents).map(agent).collect())
            }
            _ => {
                let agents = (0..team.group.agents).map(|number| agent(team, next(), number));
                Crew::Agents(agents.collect())
            }
        }
    }

    /// Has every agent connect, some at a time, so that no queue of a listener overflows.
    async fn connect(&self, team: &Team, group: usize, signals: &Signals) -> Result<(), Fault> {
        let agents = match self {
            Crew::Agents(agents) => agents,
            Crew::Visits(visits) => return visits.gather(group, signals).await,
        };
        let stage = &team.stage;
        let deadline = stage.now() + nanos(CONNECT_PATIENCE);
        let mut begun = 0;
        for some in agents.chunks(CONNECTING) {
            some.iter().for_each(|agent| Rc::clone(agent).begin());
            begun += some.len() as u32;
            while team.connected.get() < begun {
                if signals.interrupted.load(Ordering::Relaxed) {
                    stage.end();
                    return Err(Fault::Interrupted);
                }
                let hopeless = team.failures.get() >= begun.saturating_mul(TRIES);
                if stage.now() >= deadline || hopeless {
                    stage.end();
                    let (connected, cause) = (team.connected.get(), team.last_cause.get());
                    return Err(Fault::NotConnected { group, connected, cause });
                }
                race(team.changed.notified(), stage.pause(GLANCE)).await;
            }
        }
        Ok(())
    }

    /// Begins to make the load of the group.
    fn begin(&self, team: &Rc<Team>, start: u64, length: Duration, random: &mut Rng) {
        let Group { protocol, pace, .. } = &team.group;
        match (self, pace.course(length)) {
            // Backends pace what they send.
            _ if protocol.dialogue() == Dialogue::Download => {}
            (Crew::Agents(agents), Some((course, arrivals))) => {
                let schedule = Schedule::new(course, arrivals, 0.0, random.fork());
                let (agents, mut turn) = (agents.clone(), 0);
                let push = move |due| {
                    agents[turn % agents.len()].push(due);
                    turn += 1;
                };
                team.stage.engine.spawn(pace_by(Rc::clone(team), schedule, start, push));
            }
            (Crew::Visits(visits), Some((course, arrivals))) => {
                let schedule = Schedule::new(course, arrivals, 0.0, random.fork());
                let visits = Rc::clone(visits);
                let push = move |due| visits.push(due);
                team.stage.engine.spawn(pace_by(Rc::clone(team), schedule, start, push));
            }
            (Crew::Visits(visits), None) => visits.fill(),
            // Agents of a closed loop have begun when they connected.
            (Crew::Agents(_), None) => debug_assert!(matches!(pace, Pace::Closed { .. })),
        }
    }

    fn is_idle(&self) -> bool {
        match self {
            Crew::Agents(agents) => agents.iter().all(|agent| agent.is_idle()),
            Crew::Visits(visits) => visits.is_idle(),
        }
    }

    fn one_way(&self) -> OneWay {
        match self {
            Crew::Agents(agents) => agents.iter().map(|agent| agent.one_way()).sum(),
            Crew::Visits(_) => OneWay::default(),
        }
    }

    fn close_books(&self) {
        match self {
            Crew::Agents(agents) => agents.iter().for_each(|agent| agent.close_books()),
            Crew::Visits(visits) => visits.close_books(),
        }
    }
}

/// The agent of this number in its team, and of this one in the run.
fn agent(team: &Rc<Team>, stream: u32, number: u32) -> Rc<dyn Lasting> {
    let (team, manner) = (Rc::clone(team), team.manner(number));
    match team.group.protocol.service() {
        Some(service) => Caller::new(team, service, stream, manner),
        None => Agent::new(team, stream, manner),
    }
}

/// Says of every unit when it is due, at the very moment; of those that are late, at once.
async fn pace_by(team: Rc<Team>, schedule: Schedule, start: u64, mut push: impl FnMut(u64)) {
    let stage = &team.stage;
    for offset in schedule {
        let due = start + offset;
        if stage.now() < due && stage.unless_over(stage.until(due)).await.is_none() {
            return;
        }
        push(due);
    }
}

/// Waits for what has left, and for answers to it: as long as the patience lasts, unless all of it
/// has come and a while has passed in which nothing more did. `before` is what backends had counted
/// when the run began.
async fn drain(
    stage: &Stage,
    crews: &[Crew],
    patience: Duration,
    signals: &Signals,
    before: OneWay,
) {
    let deadline = stage.now() + nanos(patience);
    let mut quiet = 0;
    let mut last = (0, OneWay::default());
    while stage.now() < deadline && !signals.interrupted.load(Ordering::Relaxed) {
        stage.pause(GLANCE).await;
        let there = signals.backends.read().since(before);
        let here: OneWay = crews.iter().map(Crew::one_way).sum();
        let now = (stage.ended_in_all(), there);
        let idle = crews.iter().all(Crew::is_idle) && here.is_settled_with(there) && now == last;
        quiet = if idle { quiet + 1 } else { 0 };
        last = now;
        if quiet == QUIET_GLANCES {
            return;
        }
    }
}

async fn interrupted(stage: &Stage, signals: &Signals) {
    while !signals.interrupted.load(Ordering::Relaxed) {
        stage.pause(GLANCE * 5).await;
    }
}

fn nanos(duration: Duration) -> u64 {
    // Runs take hours, not centuries.
    duration.as_nanos() as u64
}

/// Between the last connection and the first unit.
const LEAD: Duration = Duration::from_millis(20);
/// Connections that are begun at a time.
const CONNECTING: usize = 256;
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(15);
/// Failures for each agent, on average, after which nobody waits for more: a few seconds.
const TRIES: u32 = 8;
pub const GLANCE: Duration = Duration::from_millis(20);
/// So often nothing has changed when a run counts as drained.
const QUIET_GLANCES: u32 = 5;
