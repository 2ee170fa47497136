//! How a pool's traffic is shared among its tiers, after Envoy's priority levels, and when too few
//! of its backends are healthy to care for health.

use super::pool::{Balancing, Member};
use super::standing::Standing;
use super::tier::WHOLE;

/// Weights of one tier.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Health {
    /// Of all that are up or starting.
    pub(super) healthy: u64,
    pub(super) whole: u64,
}

impl Health {
    /// Of these members; in a panic all are healthy that do not drain.
    pub(super) fn of<'a>(members: impl Iterator<Item = &'a Member>, panic: bool) -> Health {
        let mut health = Health::default();
        for member in members {
            let weight = u64::from(member.backend.weight);
            let ignored = panic && member.standing != Standing::Draining;
            health.whole += weight;
            health.healthy += if ignored || member.standing.is_eligible() { weight } else { 0 };
        }
        health
    }
}

/// Whether health is ignored. Who drains was taken out on purpose: that is no reason to send
/// traffic to those that fail.
pub(super) fn is_panic(members: &[Member], balancing: &Balancing) -> bool {
    let staying = members.iter().filter(|member| member.standing != Standing::Draining);
    let Health { healthy, whole } = Health::of(staying, false);
    healthy * 100 < whole * u64::from(balancing.panic_threshold)
}

/// In millionths, for tiers in their order. A tier is worth the healthy part of its weight, times
/// `over_provisioning`; each gets what it is worth of what those before it have left. What nobody
/// is worth is shared out in proportion. All are 0 only if nothing is healthy.
pub(super) fn shares(tiers: &[Health], over_provisioning: u16) -> Vec<u32> {
    let whole = u64::from(WHOLE);
    let worth = |tier: &Health| {
        let provisioned = u128::from(tier.healthy) * u128::from(over_provisioning);
        let worth = provisioned * u128::from(whole) / (100 * u128::from(tier.whole.max(1)));
        // A healthy backend among very many counts, however little it is worth.
        (worth as u64).clamp(u64::from(tier.healthy > 0), whole)
    };
    let worths: Vec<u64> = tiers.iter().map(worth).collect();
    let sum = worths.iter().sum::<u64>().min(whole);
    let mut left = if sum > 0 { whole } else { 0 };
    let mut shares: Vec<u64> = worths
        .iter()
        .map(|worth| {
            let share = (worth * whole).checked_div(sum).unwrap_or(0).min(left);
            left -= share;
            share
        })
        .collect();
    // What was lost in rounding is the first one's.
    if let Some(first) = shares.iter_mut().find(|share| **share > 0) {
        *first += left;
    }
    shares.into_iter().map(|share| share as u32).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pool::tests::member;
    use super::*;

    fn percents(tiers: &[(u64, u64)], over_provisioning: u16) -> Vec<u32> {
        let tiers: Vec<_> = tiers
            .iter()
            .map(|(healthy, whole)| Health { healthy: *healthy, whole: *whole })
            .collect();
        let rounded = |share: u32| (share + WHOLE / 200) / (WHOLE / 100);
        shares(&tiers, over_provisioning).into_iter().map(rounded).collect()
    }

    #[test]
    fn traffic_moves_by_the_healthy_share_and_back() {
        for (healthy, first) in [(10, 100), (8, 100), (7, 98), (5, 70), (1, 14), (0, 0)] {
            assert_eq!(percents(&[(healthy, 10), (4, 4)], 140), [first, 100 - first]);
        }
        assert_eq!(percents(&[(5, 10), (4, 4)], 100), [50, 50]);
        // The table of Envoy's documentation on three levels, with its factor of 140.
        for (healthy, expected) in [
            ([100, 100, 100], [100, 0, 0]),
            ([72, 72, 100], [100, 0, 0]),
            ([71, 71, 100], [99, 1, 0]),
            ([50, 50, 100], [70, 30, 0]),
            ([25, 100, 100], [35, 65, 0]),
            ([25, 25, 100], [35, 35, 30]),
            ([25, 25, 20], [36, 36, 29]),
        ] {
            assert_eq!(percents(&healthy.map(|healthy| (healthy, 100)), 140), expected);
        }
    }

    #[test]
    fn what_nobody_is_worth_is_shared_out() {
        assert_eq!(percents(&[(1, 10)], 140), [100]);
        assert_eq!(percents(&[(1, 10), (1, 10)], 140), [50, 50]);
        assert_eq!(percents(&[(0, 10), (1, 1_000_000_000)], 140), [0, 100]);
        assert_eq!(percents(&[(0, 10), (0, 10)], 140), [0, 0]);
        assert_eq!(percents(&[], 140), [0; 0]);
    }

    #[test]
    fn health_is_ignored_below_the_threshold_and_drains_do_not_count() {
        let pool = |standings: &[Standing]| -> Vec<Member> {
            let with = |standing: &Standing| Member { standing: *standing, ..member("a", 2) };
            standings.iter().map(with).collect()
        };
        let balancing = Balancing { panic_threshold: 50, ..Balancing::default() };
        use Standing::{Down, Draining, Ejected, Starting, Up};
        assert!(!is_panic(&pool(&[Up, Starting(10), Down, Ejected]), &balancing));
        assert!(is_panic(&pool(&[Up, Down, Ejected]), &balancing));
        assert!(!is_panic(&pool(&[Up, Draining, Draining, Draining]), &balancing));
        assert!(!is_panic(&pool(&[Draining]), &balancing));
        assert!(!is_panic(&pool(&[Down]), &Balancing::default()));
    }

    proptest! {
        #[test]
        fn shares_are_the_whole_or_nothing(
            tiers in prop::collection::vec((0u64..=1 << 40, 0u64..=1 << 40), 1..6),
            over_provisioning in 100u16..,
        ) {
            let health = |(healthy, sick): &(u64, u64)| Health {
                healthy: *healthy,
                whole: healthy + sick,
            };
            let tiers: Vec<_> = tiers.iter().map(health).collect();
            let shares = shares(&tiers, over_provisioning);
            let any = tiers.iter().any(|tier| tier.healthy > 0);
            prop_assert_eq!(shares.iter().sum::<u32>(), if any { WHOLE } else { 0 });
            for (share, tier) in shares.iter().zip(&tiers) {
                prop_assert!(*share == 0 || tier.healthy > 0);
            }
        }
    }
}
