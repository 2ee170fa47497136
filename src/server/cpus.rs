//! Which CPUs the workers are pinned to.
//!
//! The affinity mask of the process is the truth: taskset, systemd's CPUAffinity= and cgroup CPU
//! sets all show in it.

use std::fmt;

use crate::config::Process;

/// The configuration asks for CPUs that this process may not use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CpuError {
    /// process.cpus names CPUs outside the affinity mask.
    NotAllowed { cpus: Vec<usize>, allowed: Vec<usize> },
    /// The system did not say which CPUs there are.
    Unknown,
}

impl fmt::Display for CpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CpuError::NotAllowed { cpus, allowed } => write!(
                f,
                "process.cpus: this process may not use CPU {cpus:?}, only {allowed:?}; change \
                 the list, or the affinity mask or cgroup CPU set the service runs under"
            ),
            CpuError::Unknown => f.write_str(
                "the system does not say which CPUs this process may use; name them in \
                 process.cpus",
            ),
        }
    }
}

/// One CPU for each worker: the listed ones, else all that are allowed, in turn.
pub fn usable_cpus(process: &Process) -> Result<Vec<usize>, CpuError> {
    let allowed: Vec<usize> = core_affinity::get_core_ids()
        .map(|cores| cores.into_iter().map(|core| core.id).collect())
        .unwrap_or_default();
    assign(process.workers, process.cpus.as_deref(), &allowed)
}

fn assign(
    workers: Option<usize>,
    listed: Option<&[usize]>,
    allowed: &[usize],
) -> Result<Vec<usize>, CpuError> {
    let forbidden: Vec<usize> =
        listed.unwrap_or(&[]).iter().filter(|cpu| !allowed.contains(cpu)).copied().collect();
    if !forbidden.is_empty() && !allowed.is_empty() {
        return Err(CpuError::NotAllowed { cpus: forbidden, allowed: allowed.to_vec() });
    }
    let chosen = listed.unwrap_or(allowed);
    if chosen.is_empty() {
        return Err(CpuError::Unknown);
    }
    let workers = workers.unwrap_or(chosen.len());
    Ok(chosen.iter().copied().cycle().take(workers).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_worker_for_each_allowed_cpu() {
        assert_eq!(assign(None, None, &[2, 5]), Ok(vec![2, 5]));
    }

    #[test]
    fn more_workers_than_cpus_share_them() {
        assert_eq!(assign(Some(3), Some(&[1, 0]), &[0, 1, 2]), Ok(vec![1, 0, 1]));
    }

    #[test]
    fn a_listed_cpu_must_be_allowed() {
        let error = assign(None, Some(&[0, 7]), &[0, 1]).unwrap_err();
        assert_eq!(error, CpuError::NotAllowed { cpus: vec![7], allowed: vec![0, 1] });
    }
}
