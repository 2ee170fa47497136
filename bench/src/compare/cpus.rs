//! Owns which CPU carries the proxy and which the load; it starts no thread and no process.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Two different CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus {
    pub proxy: usize,
    pub load: usize,
}

impl Cpus {
    /// What is not given is taken from the CPUs this process may use: the last for the proxy, as
    /// the first tends to serve interrupts, and the first that is left for the load. `None`, when
    /// there are not two.
    pub fn choose(proxy: Option<usize>, load: Option<usize>) -> io::Result<Option<Self>> {
        Ok(Self::choose_from(&allowed()?, proxy, load))
    }

    fn choose_from(allowed: &[usize], proxy: Option<usize>, load: Option<usize>) -> Option<Self> {
        let proxy = match proxy {
            Some(cpu) => cpu,
            None => allowed.iter().rev().copied().find(|&cpu| Some(cpu) != load)?,
        };
        let load = match load {
            Some(cpu) => cpu,
            None => allowed.iter().copied().find(|&cpu| cpu != proxy)?,
        };
        let usable = allowed.contains(&proxy) && allowed.contains(&load) && proxy != load;
        usable.then_some(Self { proxy, load })
    }
}

/// The CPUs that the calling thread may use.
pub fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

/// Pins the calling thread; what it starts from now on inherits the CPU.
pub fn pin(cpu: usize) -> io::Result<()> {
    pin_to(&[cpu])
}

/// The same to any of several.
pub fn pin_to(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|&cpu| set.set(cpu));
    Ok(sched_setaffinity(None, &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_and_load_never_share_a_cpu() {
        let choose = Cpus::choose_from;
        assert_eq!(choose(&[0, 1], None, None), Some(Cpus { proxy: 1, load: 0 }));
        assert_eq!(choose(&[0, 1, 2], None, Some(2)), Some(Cpus { proxy: 1, load: 2 }));
        assert_eq!(choose(&[0, 1, 2], Some(0), None), Some(Cpus { proxy: 0, load: 1 }));
        assert_eq!(choose(&[0, 1], Some(1), Some(1)), None);
        assert_eq!(choose(&[0], None, None), None);
        assert_eq!(choose(&[0, 1], Some(7), None), None);
    }
}
