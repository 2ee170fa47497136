//! Owns the keys of a profile and the order that they mean.

use std::time::Duration;

use clap::ValueEnum;
use toml::de::DeTable;

use crate::generate::{Arrivals, Group, LONGEST_DATAGRAM, Order, Pace, Protocol, Sizes, Spikes};

use super::error::{ProfileError, ProfileErrors};
use super::reader::{Field, Notes, Section};

/// The order of a profile. `origin` is the name the text goes by.
pub fn load(origin: &str, text: &str) -> Result<Order, ProfileErrors> {
    let (table, syntax_errors) = DeTable::parse_recoverable(text);
    let notes = Notes::new(text, &syntax_errors);
    let order = read(&notes.document(table.get_ref()));
    let errors: Vec<ProfileError> = notes.into_errors();
    match order {
        Some(order) if errors.is_empty() => Ok(order),
        _ => Err(ProfileErrors { origin: origin.to_owned(), errors }),
    }
}

fn read(document: &Section<'_>) -> Option<Order> {
    let name = document.required("name", |field| match field.word() {
        Some(name) if !name.is_empty() => Some(name.to_owned()),
        _ => field.refuse("a name in quotes"),
    });
    let times = Duration::ZERO..=DAY;
    let warm_up = document.value_or("warm_up", WARM_UP, |field| field.duration(times.clone()));
    let least = Duration::from_secs(1)..=DAY;
    let window = document.value_or("window", WINDOW, |field| field.duration(least));
    let patience = document.value_or("patience", PATIENCE, |field| field.duration(times));
    let seed = document.value_or("seed", 1.0, |field| field.whole(0.0..=1e15)) as u64;
    let agents = document.required("agents", Field::section);
    let mut groups = Vec::new();
    if let Some(agents) = agents {
        let sections = agents.sections();
        if sections.is_empty() {
            agents.refuse("there are no agents; add a table [agents.NAME]".to_owned());
        }
        groups.extend(sections.iter().filter_map(|(name, section)| group(name, section)));
    }
    document.finish();
    Some(Order { name: name?, groups, warm_up, window, patience, seed })
}

fn group(name: &str, section: &Section<'_>) -> Option<Group> {
    let protocol = section.required("protocol", protocol);
    let count = section.required("count", |field| field.whole(1.0..=1e6));
    let pace = pace(section);
    let sizes = section.required("size", sizes);
    let lifetime = section.field("lifetime").and_then(|field| match field.word() {
        Some("off") => None,
        _ => field.duration(Duration::from_millis(100)..=DAY),
    });
    let percent = |key| section.value_or(key, 0.0, |field| field.number(0.0..=100.0)) / 100.0;
    let (slow, broken) = (percent("slow"), percent("broken"));
    if slow + broken > 1.0 {
        section.refuse("`slow` and `broken` are more than 100 together; lower one".to_owned());
    }
    section.finish();
    if let Some(protocol) = protocol.filter(|protocol| protocol.is_datagrams()) {
        refuse_as_datagrams(section, protocol, sizes, [("slow", slow), ("broken", broken)]);
        let closed = pace.is_some_and(|pace| pace.rate().is_none());
        if closed && protocol.dialogue().ends_at_backends() {
            let message = "nothing comes back that a closed loop could wait for; give units per \
                           second";
            section.refuse_key("rate", message.to_owned());
        }
    }
    let mut group = Group::new(protocol?, count? as u32, pace?, sizes?);
    group.name = name.to_owned();
    (group.lifetime, group.slow, group.broken) = (lifetime, slow, broken);
    Some(group)
}

/// Refuses what agents that send datagrams can not do.
fn refuse_as_datagrams(
    section: &Section<'_>,
    protocol: Protocol,
    sizes: Option<Sizes>,
    manners: [(&str, f64); 2],
) {
    if sizes.is_some_and(|sizes| sizes.longest() > LONGEST_DATAGRAM) {
        section.refuse_key(
            "size",
            format!(
                "a unit of {} is one datagram; give at most {LONGEST_DATAGRAM} bytes",
                protocol.as_str()
            ),
        );
    }
    for (key, _) in manners.into_iter().filter(|(_, share)| *share > 0.0) {
        let message = "a datagram is sent whole or not at all; leave the key out";
        section.refuse_key(key, message.to_owned());
    }
}

fn protocol(field: &Field<'_>) -> Option<Protocol> {
    let found = field.word().and_then(|word| Protocol::from_str(word, false).ok());
    found.or_else(|| {
        let names = Protocol::value_variants().iter().map(|protocol| protocol.as_str());
        field.refuse(&format!("one of {}", names.collect::<Vec<_>>().join(", ")))
    })
}

/// Units per second of the whole group, and how they lie over time.
fn pace(section: &Section<'_>) -> Option<Pace> {
    let closed = section.field("rate").is_some_and(|field| field.word() == Some("closed"));
    let rate = if closed {
        Some(0.0)
    } else {
        section.required("rate", |field| field.number(0.001..=1e8))
    };
    let depth = section.value_or("depth", 1.0, |field| field.whole(1.0..=10_000.0));
    let arrivals = section.value_or("arrivals", Arrivals::Poisson, |field| match field.word() {
        Some("constant") => Some(Arrivals::Constant),
        Some("poisson") => Some(Arrivals::Poisson),
        _ => field.refuse("\"constant\" or \"poisson\""),
    });
    let ramp =
        section.value_or("ramp", Duration::ZERO, |field| field.duration(Duration::ZERO..=DAY));
    let spikes = section.field("spikes").and_then(|field| field.section());
    let spikes = spikes.and_then(|section| spikes_of(&section));
    Some(match closed {
        true => Pace::Closed { depth: depth as u32 },
        false => Pace::Open { rate: rate?, arrivals, ramp, spikes },
    })
}

fn spikes_of(section: &Section<'_>) -> Option<Spikes> {
    let second = Duration::from_secs(1);
    let every = section.required("every", |field| field.duration(second..=DAY));
    let length = section.required("length", |field| field.duration(second / 10..=DAY));
    let factor = section.required("factor", |field| field.number(0.0..=1_000.0));
    section.finish();
    let (every, length) = (every?, length?);
    if length >= every {
        section.refuse("`length` is not below `every`; make it shorter".to_owned());
    }
    Some(Spikes { every, length, factor: factor? })
}

/// Bytes: a number, `{ least = .., most = .. }` or `{ median = .., p99 = .. }`.
fn sizes(field: &Field<'_>) -> Option<Sizes> {
    let bytes = |field: &Field<'_>| field.whole(1.0..=LONGEST).map(|size| size as usize);
    let Some(section) = table(field) else {
        return bytes(field).map(Sizes::Constant);
    };
    let sizes = if section.field("least").is_some() || section.field("most").is_some() {
        let (least, most) = (section.required("least", bytes), section.required("most", bytes));
        Sizes::Uniform { least: least?, most: most? }
    } else {
        let (median, p99) = (section.required("median", bytes), section.required("p99", bytes));
        Sizes::LogNormal { median: median?, p99: p99? }
    };
    section.finish();
    match sizes {
        Sizes::Uniform { least, most } if least > most => {
            field.refuse("a `least` that is not above `most`")
        }
        Sizes::LogNormal { median, p99 } if median > p99 => {
            field.refuse("a `median` that is not above `p99`")
        }
        sizes => Some(sizes),
    }
}

fn table<'a>(field: &Field<'a>) -> Option<Section<'a>> {
    if field.is_table() { field.section() } else { None }
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const WARM_UP: Duration = Duration::from_secs(5);
const WINDOW: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(5);
const LONGEST: f64 = 1_048_576.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_loads() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/fleets");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let origin = path.display().to_string();
            let order = load(&origin, &std::fs::read_to_string(&path).unwrap());
            let order = order.unwrap_or_else(|errors| panic!("{errors}"));
            assert!(order.groups.len() > 1, "{origin} is a mix");
            names.push(order.name);
        }
        names.sort();
        assert_eq!(names, ["datadog-estate", "reconnects", "syslog-estate", "vector-fleet"]);
    }

    #[test]
    fn all_errors_are_told_at_once_with_key_and_remedy() {
        let text = "name = \"x\"\nwindow = \"5\"\nwnidow = 1\n[agents.web]\nprotocol = \"smtp\"\n\
                    count = 0\nsize = { median = 500, p99 = 100 }\nslow = 60\nbroken = 60\n\
                    [agents.web.spikes]\nevery = \"10s\"\nlength = \"20s\"\nfactor = 2\n";
        let said = load("fleet.toml", text).unwrap_err().to_string();
        for part in [
            "fleet.toml:2: window: its value can not be used; give a time from 1s",
            "fleet.toml:3: wnidow: unknown key; the keys here are agents,",
            "fleet.toml:4: agents.web: `rate` is missing",
            "fleet.toml:4: agents.web: `slow` and `broken` are more than 100",
            "fleet.toml:5: agents.web.protocol: its value can not be used; give one of tcp-echo,",
            "fleet.toml:6: agents.web.count: its value can not be used; give a whole number from 1",
            "fleet.toml:7: agents.web.size: its value can not be used; give a `median` that",
            "fleet.toml:10: agents.web.spikes: `length` is not below `every`",
        ] {
            assert!(said.contains(part), "{part}\n{said}");
        }
        assert_eq!(said.lines().count(), 8, "{said}");
    }

    #[test]
    fn what_datagrams_can_not_do_is_told_at_its_key() {
        let text = "name = \"x\"\n[agents.a]\nprotocol = \"syslog-udp\"\ncount = 10\n\
                    rate = \"closed\"\nsize = { median = 900, p99 = 70_000 }\nbroken = 1\n\
                    [agents.b]\nprotocol = \"udp-echo\"\ncount = 1.5\nrate = \"closed\"\n\
                    size = 65507\nslow = 0\n";
        let said = load("fleet.toml", text).unwrap_err().to_string();
        let lines: Vec<&str> = said.lines().collect();
        for (line, part) in lines.iter().zip([
            "fleet.toml:5: agents.a.rate: nothing comes back",
            "fleet.toml:6: agents.a.size: a unit of syslog-udp is one datagram; give at most 65507",
            "fleet.toml:7: agents.a.broken: a datagram is sent whole",
            "fleet.toml:10: agents.b.count: its value can not be used; give a whole number from 1",
        ]) {
            assert!(line.starts_with(part), "{said}");
        }
        assert_eq!(lines.len(), 4, "{said}");
    }

    #[test]
    fn what_is_no_toml_or_has_no_agents_is_told() {
        let said = load("f", "name = \n").unwrap_err().to_string();
        assert!(said.contains("f:1: not TOML"), "{said}");
        let said = load("f", "name = \"x\"\n[agents]\n").unwrap_err().to_string();
        assert!(said.contains("[agents.NAME]"), "{said}");
    }

    #[test]
    fn a_group_is_read_whole() {
        let text = "name = \"x\"\n[agents.web]\nprotocol = \"syslog-tls\"\ncount = 40\n\
                    rate = 1_000\nramp = \"10s\"\nsize = { least = 100, most = 300 }\n\
                    lifetime = \"1m\"\nslow = 5\nspikes = { every = \"30s\", length = \"3s\", \
                    factor = 4 }\n[agents.fast]\nprotocol = \"tcp-echo\"\ncount = 1\n\
                    rate = \"closed\"\ndepth = 8\nsize = 64\n";
        let order = load("f", text).unwrap_or_else(|errors| panic!("{errors}"));
        let [fast, web] = &order.groups[..] else { panic!("two groups, by name") };
        assert_eq!((fast.pace, &fast.sizes), (Pace::Closed { depth: 8 }, &Sizes::Constant(64)));
        assert_eq!((web.agents, web.slow, web.broken), (40, 0.05, 0.0));
        assert_eq!(web.lifetime, Some(Duration::from_secs(60)));
        assert_eq!(web.sizes, Sizes::Uniform { least: 100, most: 300 });
        let Pace::Open { rate, arrivals, ramp, spikes } = web.pace else { panic!("open") };
        assert_eq!((rate, arrivals, ramp), (1_000.0, Arrivals::Poisson, Duration::from_secs(10)));
        assert_eq!(spikes.unwrap().factor, 4.0);
    }
}
