//! One tier of a pool as it was published: its backends, which of them may be picked, and what
//! its policy has worked out for picking.

use std::sync::Arc;

use super::backend::Backend;
use super::draw::Draw;
use super::maglev::Maglev;
use super::policy::Policy;
use super::pool::Member;
use super::rendezvous::Rendezvous;
use super::ring::Ring;
use super::standing::Standing;

/// Backends of the same rank. Those of weight 0 are none of them.
#[derive(Debug)]
pub struct Tier {
    number: u16,
    /// In the order of their names, so that hosts with the same backends have the same tables.
    pub(super) seats: Box<[Seat]>,
    /// The seats that may be picked.
    pub(super) open: Box<[u32]>,
    pub(super) table: Table,
    /// Of the pool's new connections, in millionths.
    pub(super) share: u32,
    /// How many are up or starting.
    healthy: usize,
}

/// A backend in its tier.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) backend: Arc<Backend>,
    /// In hundredths of the backend's; 0: it may not be picked.
    pub(super) weight: u32,
}

/// What a policy picks from. Those that hash know every seat, whether it is open or not: a change
/// of health moves no keys but those of whom it concerns, and the table is shared.
#[derive(Clone, Debug)]
pub(super) enum Table {
    /// The schedule is the worker's.
    Turns,
    LeastConnections(Option<Arc<Draw>>),
    RandomTwo(Option<Arc<Draw>>),
    Maglev(Arc<Maglev>),
    Ring(Arc<Ring>),
    Rendezvous(Arc<Rendezvous>),
}

impl Tier {
    /// `members` have weights above 0; `previous` is the tier's last version under this policy.
    pub(super) fn new(
        number: u16,
        mut members: Vec<&Member>,
        policy: &Policy,
        panic: bool,
        previous: Option<&Tier>,
    ) -> Tier {
        members.sort_by(|one, other| one.backend.name.cmp(&other.backend.name));
        let seat = |member: &&Member| {
            let backend = Arc::clone(&member.backend);
            let weight = u32::from(backend.weight) * percent(member.standing, policy, panic);
            Seat { backend, weight }
        };
        let seats: Box<[Seat]> = members.iter().map(seat).collect();
        let opens = |(_, seat): &(u32, &Seat)| seat.weight > 0;
        let open: Box<[u32]> = (0u32..).zip(&seats).filter(opens).map(|(index, _)| index).collect();
        let healthy = members.iter().filter(|member| member.standing.is_eligible()).count();
        let table = table(&seats, &open, policy, previous);
        Tier { number, seats, open, table, share: 0, healthy }
    }

    /// The lowest of a pool serves first.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The part of the pool's new connections that it gets, from 0 to 1.
    pub fn share(&self) -> f64 {
        f64::from(self.share) / f64::from(WHOLE)
    }

    /// Its backends, those of weight 0 left out.
    pub fn size(&self) -> usize {
        self.seats.len()
    }

    /// How many of its backends are up or starting.
    pub fn healthy(&self) -> usize {
        self.healthy
    }

    pub(super) fn open_seats(&self) -> impl Iterator<Item = (usize, &Seat)> {
        self.open.iter().map(|index| (*index as usize, &self.seats[*index as usize]))
    }

    fn has_members_of(&self, seats: &[Seat]) -> bool {
        let same = |(one, other): (&Seat, &Seat)| {
            let names = (&one.backend.name, &other.backend.name);
            one.backend.weight == other.backend.weight
                && (Arc::ptr_eq(names.0, names.1) || names.0 == names.1)
        };
        self.seats.len() == seats.len() && self.seats.iter().zip(seats).all(same)
    }
}

/// How much of its weight a backend picks with. One that starts has a whole place in a table that
/// hashes: with less, it would take its keys one by one from where they are now, each of which
/// would find its data split between two backends.
fn percent(standing: Standing, policy: &Policy, panic: bool) -> u32 {
    match standing {
        Standing::Draining => 0,
        Standing::Up => 100,
        Standing::Starting(percent) if !panic && policy.hashing().is_none() => {
            u32::from(percent).clamp(1, 100)
        }
        Standing::Starting(_) => 100,
        Standing::Down | Standing::Ejected => 100 * u32::from(panic),
    }
}

fn table(seats: &[Seat], open: &[u32], policy: &Policy, previous: Option<&Tier>) -> Table {
    if policy.hashing().is_some()
        && let Some(previous) = previous
        && previous.has_members_of(seats)
    {
        return previous.table.clone();
    }
    let members =
        || seats.iter().map(|seat| (&*seat.backend.name, seat.backend.weight)).collect::<Vec<_>>();
    let draw = || {
        let weights: Vec<_> =
            open.iter().map(|index| (*index, seats[*index as usize].weight)).collect();
        (!weights.is_empty()).then(|| Arc::new(Draw::new(&weights)))
    };
    match policy {
        Policy::RoundRobin => Table::Turns,
        Policy::LeastConnections => Table::LeastConnections(draw()),
        Policy::RandomTwo => Table::RandomTwo(draw()),
        Policy::Maglev { size, .. } => Table::Maglev(Arc::new(Maglev::new(&members(), *size))),
        Policy::Ring(_) => Table::Ring(Arc::new(Ring::new(&members()))),
        Policy::Rendezvous(_) => Table::Rendezvous(Arc::new(Rendezvous::new(&members()))),
    }
}

/// All of a pool's new connections.
pub(super) const WHOLE: u32 = 1_000_000;
