//! Owns the proof that every preset runs: a second of each, against backends without anybody in
//! between.

use std::time::Duration;

use super::super::backends::Behaviour;
use super::super::order::{Order, Pace};
use super::scene::play;

/// A second of the preset, with a twentieth of its rates.
fn sample(name: &str) -> Order {
    let path = format!("{}/../configs/fleets/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let mut order = crate::fleet::load(&path, &text).unwrap_or_else(|errors| panic!("{errors}"));
    (order.warm_up, order.window) = (Duration::from_millis(500), Duration::from_secs(1));
    for group in &mut order.groups {
        let Pace::Open { rate, ramp, .. } = &mut group.pace else { panic!("{name}: a rate") };
        *rate /= 20.0;
        *ramp = (*ramp).min(Duration::from_millis(500));
    }
    order
}

#[test]
fn a_second_of_every_preset_runs_and_loses_nothing() {
    for (name, groups) in [("datadog", 3), ("syslog", 6), ("vector", 5)] {
        let order = sample(name);
        assert_eq!(order.groups.len(), groups, "{name}");
        let rate: f64 = order.groups.iter().filter_map(|group| group.pace.rate()).sum();
        let tally = play(&order, Behaviour::default()).tally;
        let counts = tally.counts();
        let sent = counts.sent as f64;
        assert!((sent - rate).abs() < 5.0 * rate.sqrt(), "{name}: {sent} of {rate}");
        assert_eq!((counts.answered, counts.failed()), (counts.sent, 0), "{name}: {counts:?}");
    }
}

/// One of the presets shows all that a profile can say of agents.
#[test]
fn the_syslog_estate_has_all_kinds_of_agents() {
    let groups = sample("syslog").groups;
    let has = |what: fn(&super::super::order::Group) -> bool| groups.iter().any(what);
    assert!(has(|group| group.slow > 0.0) && has(|group| group.broken > 0.0));
    assert!(has(|group| group.lifetime.is_some()) && has(|group| group.protocol.is_datagrams()));
    let ramps = |pace: &Pace| matches!(pace, Pace::Open { ramp, .. } if !ramp.is_zero());
    let spikes = |pace: &Pace| matches!(pace, Pace::Open { spikes: Some(_), .. });
    assert!(groups.iter().any(|group| ramps(&group.pace)));
    assert!(groups.iter().any(|group| spikes(&group.pace)));
}
