//! Owns what gave out first in runs that missed their objective; it reads figures and asks no
//! host.

use serde::{Deserialize, Serialize};

use crate::figures::{Run, kinds, told};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// The proxy's CPUs.
    Cpu,
    /// The proxy's CPUs, most of it in the kernel's softirqs.
    Softirq,
    Ports,
    Descriptors,
    Memory,
    /// Connections that the proxy was configured to take at most.
    Limits,
    /// The measuring side: the figure is a lower bound.
    Generator,
    /// The backends: the figure is a lower bound as well.
    Backends,
    /// No resource was full: the objective gave out by itself.
    Nothing,
}

/// What gave out, and what says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exhausted {
    pub resource: Resource,
    pub evidence: String,
}

impl Resource {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Softirq => "softirq",
            Self::Ports => "ports",
            Self::Descriptors => "descriptors",
            Self::Memory => "memory",
            Self::Limits => "limits",
            Self::Generator => "generator",
            Self::Backends => "backends",
            Self::Nothing => "nothing",
        }
    }

    /// What was measured is what the measuring side can do, not what the proxy can.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Generator | Self::Backends)
    }
}

/// What most of the runs just above the limit lacked. `missed` are those that missed.
pub fn exhausted<'a>(missed: impl Iterator<Item = &'a Run>) -> Exhausted {
    let mut missed: Vec<&Run> = missed.collect();
    missed.sort_by(|a, b| asked(a).total_cmp(&asked(b)));
    let Some(lowest) = missed.first().map(|run| asked(run)) else {
        return Exhausted { resource: Resource::Nothing, evidence: "no run missed".to_owned() };
    };
    // Far above the limit more gives out than what gave out first.
    let near = missed.into_iter().filter(|run| asked(run) <= lowest * NEAR);
    let found: Vec<Exhausted> = near.map(of_one).collect();
    let votes = |resource| found.iter().filter(|of| of.resource == resource).count();
    let most = found.iter().rev().max_by_key(|of| votes(of.resource));
    most.cloned().unwrap_or_else(|| Exhausted {
        resource: Resource::Nothing,
        evidence: "no run missed".to_owned(),
    })
}

fn asked(run: &Run) -> f64 {
    run.offered.unwrap_or(run.achieved)
}

/// The rate was what the measuring side could do, not what the proxy could.
pub fn is_generator_limited(run: &Run) -> bool {
    let busy = run.generator.generator.max(run.generator.backends);
    // Without a proxy the generator does what a proxy would do of TLS as well, so that it can do
    // more with one; then its CPU is not full at its ceiling.
    let at_ceiling = run.generator.ceiling.is_some_and(|ceiling| asked(run) >= ceiling * FULL);
    (at_ceiling && busy >= PROXY_FULL) || (busy >= FULL && proxy_share(run) < PROXY_FULL)
}

/// Of the CPUs of its workers; 0 where it was not looked at.
fn proxy_share(run: &Run) -> f64 {
    run.cpus_used().unwrap_or(0.0) / f64::from(run.workers.max(1))
}

/// Errors that name a resource come first; then what measures itself; then CPUs.
fn of_one(run: &Run) -> Exhausted {
    let errors = |kind: &str| run.counts.errors.get(kind).copied().unwrap_or(0);
    let of = |resource, evidence| Exhausted { resource, evidence };
    let named = [
        (Resource::Ports, kinds::PORTS, "connections found no free port"),
        (Resource::Descriptors, kinds::DESCRIPTORS, "connections found no free descriptor"),
        (Resource::Memory, kinds::MEMORY, "operations found no memory"),
    ];
    for (resource, kind, what) in named {
        if errors(kind) > 0 {
            return of(resource, format!("{} {what}", errors(kind)));
        }
    }
    if let Some(told) = told_by_proxy(run) {
        return told;
    }
    if is_generator_limited(run) {
        let (generator, proxy) = (run.generator.generator * 100.0, proxy_share(run) * 100.0);
        let backends = run.generator.backends * 100.0;
        // With a CPU of their own it may be they alone.
        if run.generator.backends >= FULL && run.generator.generator < FULL {
            let text =
                format!("the backends' CPU was {backends:.0}% busy, the proxy's {proxy:.0}%");
            return of(Resource::Backends, text);
        }
        let text = format!("the generator's CPU was {generator:.0}% busy, the proxy's {proxy:.0}%");
        return of(Resource::Generator, text);
    }
    if let Some(full) = descriptors(run) {
        return full;
    }
    let share = proxy_share(run);
    let of_cpus = (run.window * f64::from(run.workers.max(1))).max(f64::MIN_POSITIVE);
    let cost = run.cost.as_ref();
    let softirq = cost.map_or(0.0, |cost| cost.softirq) / of_cpus;
    // A process is charged for the softirqs that come while it runs; the others are beside it.
    let busy = cost.and_then(|cost| cost.busy).map_or(share, |busy| busy / of_cpus);
    let text =
        format!("{:.0}% of the proxy's CPUs, {:.0}% in softirqs", share * 100.0, softirq * 100.0);
    if softirq >= busy / 2.0 && busy >= FULL {
        return of(Resource::Softirq, text);
    }
    if share >= PROXY_FULL {
        return of(Resource::Cpu, text);
    }
    if let Some(waited) = run.told.get(told::BUFFERS) {
        let text = format!("{waited} receives of the proxy waited for a buffer");
        return of(Resource::Memory, text);
    }
    let text = match in_words(run) {
        said if said.is_empty() => text,
        said => format!("{text}, and the proxy counted {said}"),
    };
    let others = busy - share.max(softirq);
    if others >= DISTURBED {
        let others = others * 100.0;
        return of(Resource::Nothing, format!("{text}, and {others:.0}% for others: disturbed"));
    }
    of(Resource::Nothing, format!("{text}: none was full"))
}

/// What the proxy itself lacked: its clients see no more than connections that end.
fn told_by_proxy(run: &Run) -> Option<Exhausted> {
    let named = [
        (Resource::Ports, told::CLOSED_PORTS, "sessions of the proxy found no free port"),
        (Resource::Descriptors, told::CLOSED_DESCRIPTORS, "sessions of it found no descriptor"),
        (
            Resource::Descriptors,
            told::PAUSED_DESCRIPTORS,
            "times it could accept no more for want \
                                                           of descriptors",
        ),
        (Resource::Memory, told::CLOSED_MEMORY, "sessions stalled longer than its memory allows"),
        (Resource::Limits, told::CLOSED_LIMIT, "sessions found all backends at their limit"),
        (Resource::Limits, told::PAUSED_LIMIT, "times it had as many connections as it may have"),
    ];
    named.into_iter().find_map(|(resource, word, what)| {
        let count = run.told.get(word).filter(|count| **count > 0)?;
        Some(Exhausted { resource, evidence: format!("{count} {what}") })
    })
}

/// All that the proxy says went wrong.
fn in_words(run: &Run) -> String {
    let all: Vec<String> = run.told.iter().map(|(word, count)| format!("{count} {word}")).collect();
    all.join(", ")
}

fn descriptors(run: &Run) -> Option<Exhausted> {
    let cost = run.cost.as_ref()?;
    let limit = cost.descriptor_limit?;
    let is_full = f64::from(cost.descriptors) >= limit as f64 * FULL;
    is_full.then(|| Exhausted {
        resource: Resource::Descriptors,
        evidence: format!("{} of {limit} descriptors were open", cost.descriptors),
    })
}

/// What is this busy is full, as a window holds a little idleness at its ends.
const FULL: f64 = 0.95;
const PROXY_FULL: f64 = 0.90;
/// Share of the proxy's CPUs that others have when a run is no measure of the proxy.
const DISTURBED: f64 = 0.25;
/// Runs up to this much above the lowest that missed tell what gave out first.
const NEAR: f64 = 1.3;

#[cfg(test)]
mod tests {
    use super::super::simulated::quiet_run;
    use super::*;

    /// A run whose proxy used so many of its CPUs, and had so much softirq beside it.
    fn busy(cpu: f64, softirq: f64, generator: f64) -> Run {
        let mut run = quiet_run(1000.0, 10.0);
        let cost = run.cost.as_mut().unwrap();
        (cost.cpu_seconds, cost.softirq) = (cpu * run.window, softirq * run.window);
        cost.busy = Some(((cpu + softirq) * run.window).min(run.window));
        run.generator.generator = generator;
        run
    }

    fn found(run: Run) -> Resource {
        exhausted([&run].into_iter()).resource
    }

    #[test]
    fn the_fullest_side_is_named() {
        assert_eq!(found(busy(0.97, 0.2, 0.8)), Resource::Cpu);
        assert_eq!(found(busy(0.97, 0.2, 1.0)), Resource::Cpu);
        assert_eq!(found(busy(0.47, 0.53, 0.8)), Resource::Softirq);
        assert_eq!(found(busy(0.60, 0.1, 0.99)), Resource::Generator);
        assert_eq!(found(busy(0.60, 0.1, 0.5)), Resource::Nothing);
    }

    #[test]
    fn whoever_else_had_the_cpu_is_not_passed_over() {
        let mut run = busy(0.3, 0.1, 0.5);
        run.cost.as_mut().unwrap().busy = Some(run.window);
        let found = exhausted([&run].into_iter());
        assert_eq!(found.resource, Resource::Nothing);
        assert!(found.evidence.contains("70% for others"), "{}", found.evidence);
    }

    #[test]
    fn an_error_that_names_a_resource_is_believed_first() {
        for (kind, resource) in [
            (kinds::PORTS, Resource::Ports),
            (kinds::DESCRIPTORS, Resource::Descriptors),
            (kinds::MEMORY, Resource::Memory),
        ] {
            let mut run = busy(0.99, 0.2, 1.0);
            run.counts.errors.insert(kind.to_owned(), 3);
            assert_eq!(found(run), resource);
        }
        let mut run = busy(0.99, 0.2, 0.5);
        run.counts.errors.insert(kinds::RESET.to_owned(), 3);
        assert_eq!(found(run), Resource::Cpu);
    }

    #[test]
    fn backends_on_a_cpu_of_their_own_are_told_from_agents() {
        let mut run = busy(0.60, 0.1, 0.5);
        run.generator.backends = 0.98;
        assert_eq!(found(run.clone()), Resource::Backends);
        assert!(exhausted([&run].into_iter()).evidence.contains("backends' CPU was 98% busy"));
        // On one CPU for both it is the generator as a whole.
        run.generator.generator = 0.98;
        assert_eq!(found(run.clone()), Resource::Generator);
        run.cost.as_mut().unwrap().cpu_seconds = run.window * 0.95;
        assert_eq!(found(run), Resource::Cpu);
    }

    #[test]
    fn the_proxy_is_believed_of_what_its_clients_can_not_see() {
        for (word, resource) in [
            (told::CLOSED_PORTS, Resource::Ports),
            (told::CLOSED_DESCRIPTORS, Resource::Descriptors),
            (told::PAUSED_DESCRIPTORS, Resource::Descriptors),
            (told::CLOSED_MEMORY, Resource::Memory),
            (told::PAUSED_LIMIT, Resource::Limits),
            (told::CLOSED_LIMIT, Resource::Limits),
        ] {
            // All that the agents saw of it is that they were reset.
            let mut run = busy(0.99, 0.2, 0.5);
            run.counts.errors.insert(kinds::RESET.to_owned(), 3);
            run.told.insert(word.to_owned(), 3);
            assert_eq!(found(run), resource, "{word}");
        }
        let mut run = busy(0.99, 0.2, 0.5);
        run.told.insert(told::BUFFERS.to_owned(), 3);
        assert_eq!(found(run.clone()), Resource::Cpu);
        run.cost.as_mut().unwrap().cpu_seconds = run.window * 0.3;
        assert_eq!(found(run.clone()), Resource::Memory);
        run.told = [("closed-connect-timeout".to_owned(), 5)].into();
        let said = exhausted([&run].into_iter());
        assert_eq!(said.resource, Resource::Nothing);
        assert!(said.evidence.contains("5 closed-connect-timeout"), "{}", said.evidence);
    }

    #[test]
    fn descriptors_give_out_before_an_error_counts_them() {
        let mut run = busy(0.5, 0.1, 0.5);
        let cost = run.cost.as_mut().unwrap();
        (cost.descriptors, cost.descriptor_limit) = (1020, Some(1024));
        assert_eq!(found(run), Resource::Descriptors);
    }

    #[test]
    fn the_runs_just_above_the_limit_have_the_say() {
        let first = Run { offered: Some(1000.0), ..busy(0.97, 0.1, 0.5) };
        let again = Run { offered: Some(1100.0), ..busy(0.97, 0.1, 0.5) };
        let far: Vec<Run> =
            (0..5).map(|_| Run { offered: Some(9000.0), ..busy(0.1, 0.1, 1.0) }).collect();
        let all = far.iter().chain([&again, &first]);
        assert_eq!(exhausted(all).resource, Resource::Cpu);
    }

    #[test]
    fn a_known_ceiling_marks_the_generator() {
        let mut run = busy(0.95, 0.1, 0.92);
        run.generator.ceiling = Some(1020.0);
        assert!(is_generator_limited(&run));
        run.generator.ceiling = Some(2000.0);
        assert!(!is_generator_limited(&run));
        let mut idle = busy(0.95, 0.1, 0.7);
        idle.generator.ceiling = Some(1020.0);
        assert!(!is_generator_limited(&idle));
    }
}
