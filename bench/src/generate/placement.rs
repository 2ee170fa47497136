//! Owns which CPUs carry the proxy, the agents and the backends; it pins nobody.

use crate::compare::cpus::Cpus;

/// CPUs of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// One for each worker, as far as there are any.
    pub proxy: Vec<usize>,
    /// None: wherever there is room, as the proxy takes all CPUs.
    pub agents: Option<usize>,
    pub backends: Option<usize>,
}

impl Placement {
    /// For a proxy of so many workers; of none, if there is no proxy of ours. `cpus` has the first
    /// of the proxy's and the first of the load's, `allowed` all that this process may use.
    pub fn choose(cpus: Cpus, workers: u32, allowed: &[usize]) -> Placement {
        let wanted = (workers as usize).max(1);
        let others = || allowed.iter().copied().filter(|&cpu| cpu != cpus.proxy);
        // From the last on, as the first tends to serve interrupts.
        let further = others().rev().filter(|&cpu| cpu != cpus.load).take(wanted - 1);
        let mut proxy: Vec<usize> = std::iter::once(cpus.proxy).chain(further).collect();
        if proxy.len() < wanted {
            proxy.extend(others().filter(|&cpu| cpu == cpus.load));
            return Placement { proxy, agents: None, backends: None };
        }
        let left = others().find(|cpu| *cpu != cpus.load && !proxy.contains(cpu));
        let (agents, backends) = (Some(cpus.load), Some(left.unwrap_or(cpus.load)));
        Placement { proxy, agents, backends }
    }

    /// The generator has no CPU of its own, so that a limit is that of both together.
    pub fn is_shared(&self) -> bool {
        self.agents.is_none()
    }

    /// Agents and backends have one CPU between them.
    pub fn is_one_for_both(&self) -> bool {
        self.agents == self.backends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(allowed: &[usize], workers: u32) -> Placement {
        let cpus = Cpus { proxy: allowed[allowed.len() - 1], load: allowed[0] };
        Placement::choose(cpus, workers, allowed)
    }

    #[test]
    fn the_generator_has_what_the_workers_leave() {
        let two = placed(&[0, 1], 1);
        assert_eq!((two.proxy, two.agents, two.backends), (vec![1], Some(0), Some(0)));
        let four = placed(&[0, 1, 2, 3], 2);
        assert_eq!((four.proxy, four.agents, four.backends), (vec![3, 2], Some(0), Some(1)));
        let three = placed(&[4, 5, 6], 2);
        assert_eq!((three.proxy, three.agents, three.backends), (vec![6, 5], Some(4), Some(4)));
    }

    #[test]
    fn where_workers_take_all_cpus_they_are_shared_and_said_to_be() {
        let two = placed(&[0, 1], 2);
        assert!(two.is_shared() && two.is_one_for_both());
        assert_eq!((two.proxy, two.agents), (vec![1, 0], None));
        // More workers than CPUs take turns on all of them.
        assert_eq!(placed(&[0, 1], 5).proxy, [1, 0]);
        assert!(!placed(&[0, 1], 1).is_shared());
    }
}
