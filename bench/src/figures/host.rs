//! Owns what is told of the host of a measurement, as data; it asks no host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// All that another person needs to repeat a measurement on a host like it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
// Files from before there was such a survey have but some of it.
#[serde(default)]
pub struct Host {
    pub kernel: String,
    pub cpu_model: String,
    /// CPUs this process may use.
    pub cpus: u32,
    /// Bytes.
    pub memory: u64,
    /// "none" where no hypervisor says that it is there.
    pub hypervisor: String,
    /// By name, as sysctl(8) has them.
    pub sysctls: BTreeMap<String, String>,
    /// Of the programs that took part, by name.
    pub versions: BTreeMap<String, String>,
    /// Files or texts that programs were configured with, by name.
    pub configurations: BTreeMap<String, String>,
}
