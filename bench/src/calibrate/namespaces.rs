//! Owns two network namespaces with a pair of interfaces between them. They have no name, and live
//! as long as a process each that reads from a pipe of ours: whatever ends this process, also a
//! signal that nobody can catch, ends them and takes the interfaces along.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::geteuid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::command::Failure;

/// Where the two ends are.
pub struct Namespaces {
    /// Agents and backends.
    pub here: Namespace,
    /// The proxy.
    pub there: Namespace,
}

/// One namespace, and the process that holds it.
pub struct Namespace {
    holder: Child,
    pub address: Ipv4Addr,
}

impl Namespaces {
    /// Packets that come to an end are taken by the CPU with its number: that of the proxy there,
    /// as an interrupt of its interface would have it, and that of the load here.
    pub fn create(load_cpu: usize, proxy_cpu: usize) -> Result<Namespaces, Failure> {
        if !geteuid().is_root() {
            return Err(Failure::NotRoot);
        }
        let here = Namespace::create(HERE)?;
        let there = Namespace::create(THERE)?;
        let peer = there.file("net");
        let peer = peer.display().to_string();
        here.run(&[
            "ip", "link", "add", NAME, "type", "veth", "peer", "name", NAME, "netns", &peer,
        ])?;
        for (end, cpu) in [(&here, load_cpu), (&there, proxy_cpu)] {
            let address = format!("{}/30", end.address);
            end.run(&["ip", "address", "add", &address, "dev", NAME])?;
            end.run(&["ip", "link", "set", NAME, "up"])?;
            end.run(&["ip", "link", "set", "lo", "up"])?;
            end.steer(cpu).map_err(Failure::Steering)?;
        }
        Ok(Namespaces { here, there })
    }
}

impl Namespace {
    fn create(address: Ipv4Addr) -> Result<Namespace, Failure> {
        // A view of its own on /sys, which shows the interfaces of who mounted it.
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh", "-c", HOLD]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let holder = command.spawn().map_err(|error| Failure::Missing("unshare", error))?;
        let mut namespace = Namespace { holder, address };
        let mut said = String::new();
        if let Some(output) = namespace.holder.stdout.take() {
            BufReader::new(output).read_line(&mut said).map_err(Failure::Host)?;
        }
        if said.trim() == "ready" { Ok(namespace) } else { Err(Failure::NoNamespace) }
    }

    /// The file that stands for one of its kinds.
    pub fn file(&self, kind: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/{kind}", self.holder.id()))
    }

    fn run(&self, words: &[&str]) -> Result<(), Failure> {
        let output = Command::new("nsenter")
            .arg(format!("--net={}", self.file("net").display()))
            .args(words)
            .output()
            .map_err(|error| Failure::Missing("nsenter", error))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Failure::Command { words: words.join(" "), said })
    }

    /// Has packets received by that CPU, as far as the kernel knows of it.
    fn steer(&self, cpu: usize) -> io::Result<()> {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        let file = root.join("sys/class/net").join(NAME).join("queues/rx-0/rps_cpus");
        // A mask in words of 32 bits, the highest first.
        let mut mask = format!("{:x}", 1_u32 << (cpu % 32));
        mask += &",00000000".repeat(cpu / 32);
        fs::write(file, mask)
    }

    /// The calling thread, and those that it starts, are in this namespace from now on.
    pub fn enter(&self) -> io::Result<()> {
        let file = File::open(self.file("net"))?;
        Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Its pipe closes, and it ends by itself; the namespace goes with the last process in it.
        drop(self.holder.stdin.take());
        // Waiting for one's own child fails only when it has been waited for.
        self.holder.wait().ok();
    }
}

/// Ends when its standard input does.
const HOLD: &str = "mount -t sysfs sysfs /sys && echo ready && exec cat";
const NAME: &str = "ringmain";
/// Of a network of four, kept for tests between networks (RFC 2544); nobody else sees it.
const HERE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_goes_with_its_owner() {
        if !geteuid().is_root() {
            eprintln!("namespaces are made by root");
            return;
        }
        let both = Namespaces::create(0, 0).unwrap();
        let holder = both.there.holder.id();
        both.there.run(&["ip", "link", "show", NAME]).unwrap();
        both.here.run(&["ip", "link", "show", NAME]).unwrap();
        drop(both);
        assert!(!PathBuf::from(format!("/proc/{holder}")).exists());
        // Nothing of it was to be seen outside.
        let outside = fs::read_dir("/sys/class/net").unwrap();
        let names = outside.map(|entry| entry.unwrap().file_name());
        assert!(names.into_iter().all(|name| name != NAME));
    }

    #[test]
    fn what_a_command_said_is_passed_on() {
        if !geteuid().is_root() {
            return;
        }
        let namespace = Namespace::create(HERE).unwrap();
        let error = namespace.run(&["ip", "link", "show", "nobody"]).unwrap_err().to_string();
        assert!(error.contains("ip link show nobody") && error.contains("not exist"), "{error}");
    }
}
