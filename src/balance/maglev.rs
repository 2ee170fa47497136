//! Maglev hashing: a table that a key's hash points into, filled so that each backend has its
//! share and few places change hands when one leaves or joins.
//!
//! From "Maglev: A Fast and Reliable Software Network Load Balancer" (Eisenbud and others, 2016),
//! section 3.4, but for the filling. There a backend that finds a place taken goes on to its next
//! one in the same turn, so that one change displaces others and these others again: with a
//! hundred places for each of N backends, a simulation moved 2.6/N of them among 100 backends, 5/N
//! among 300. Here the turn is lost, and a backend stops at 1 % above its share. Who gets a place
//! then depends almost only on when those who want it ask: 1.5/N and 1.6/N change hands. Nobody
//! has more than that 1 % too much, and one place; a light backend beside a few heavy ones may
//! have a tenth too little, since they ask for every place before it has asked for a few.

use super::hash;

/// Who owns each place.
#[derive(Debug)]
pub(super) struct Maglev {
    places: Places,
}

/// Half the memory where it will do: a table that stays in the processor's cache is twice as fast.
#[derive(Debug)]
enum Places {
    Narrow(Box<[u16]>),
    Wide(Box<[u32]>),
}

/// The order in which one backend asks for places: all of them once, as the size is prime.
struct Permutation {
    index: u32,
    place: usize,
    skip: usize,
    weight: u64,
    /// What it has of its next turn, which takes the largest weight of those who still ask.
    credit: u64,
    /// Places it may still take.
    wanted: usize,
}

impl Maglev {
    /// A table for backends of these names and weights, in the order of their names, at least one.
    /// The size is that of the next prime.
    pub(super) fn new(members: &[(&str, u16)], size: u32) -> Maglev {
        let owners = fill(members, prime(size));
        let narrow: Result<Box<[u16]>, _> = owners.iter().copied().map(u16::try_from).collect();
        let places = narrow.map_or_else(|_| Places::Wide(owners.into()), Places::Narrow);
        Maglev { places }
    }

    /// Whom the key belongs to, then whom it would belong to without that one, and so on. Some
    /// come up more than once.
    pub(super) fn walk(&self, hash: u64) -> impl Iterator<Item = usize> {
        let size = self.size();
        let first = hash::part(hash, size);
        (first..size).chain(0..first).map(|place| self.owner(place))
    }

    fn size(&self) -> usize {
        match &self.places {
            Places::Narrow(places) => places.len(),
            Places::Wide(places) => places.len(),
        }
    }

    fn owner(&self, place: usize) -> usize {
        match &self.places {
            Places::Narrow(places) => places[place].into(),
            Places::Wide(places) => places[place] as usize,
        }
    }
}

fn fill(members: &[(&str, u16)], size: usize) -> Vec<u32> {
    let total: usize = members.iter().map(|(_, weight)| usize::from(*weight)).sum();
    let permutation = |(index, (name, weight)): (u32, &(&str, u16))| Permutation {
        index,
        place: hash::part(hash::of_bytes(PLACE, name.as_bytes()), size),
        skip: hash::part(hash::of_bytes(SKIP, name.as_bytes()), size - 1) + 1,
        weight: u64::from(*weight),
        credit: 0,
        wanted: (size * usize::from(*weight) * MOST_PERCENT).div_ceil(total * 100),
    };
    let mut asking: Vec<_> = (0..).zip(members).map(permutation).collect();
    let mut owners = vec![FREE; size];
    let mut free = size;
    // Together they want more than there is, so that somebody asks as long as a place is free.
    while free > 0 {
        let largest = asking.iter().map(|permutation| permutation.weight).max().unwrap_or(0);
        let all = asking.len();
        while free > 0 && asking.len() == all {
            free -= round(&mut asking, largest, &mut owners);
        }
    }
    owners
}

/// A turn for those who have saved the largest weight, a part of it for the others; the places
/// taken. Who has enough leaves.
fn round(asking: &mut Vec<Permutation>, largest: u64, owners: &mut [u32]) -> usize {
    let mut taken = 0;
    asking.retain_mut(|permutation| {
        permutation.credit += permutation.weight;
        if permutation.credit < largest {
            return true;
        }
        permutation.credit -= largest;
        let size = owners.len();
        let owner = &mut owners[permutation.place];
        permutation.place += permutation.skip;
        if permutation.place >= size {
            permutation.place -= size;
        }
        if *owner == FREE {
            *owner = permutation.index;
            permutation.wanted -= 1;
            taken += 1;
        }
        permutation.wanted > 0
    });
    taken
}

/// The least prime that is not less; every permutation needs one to reach all places.
fn prime(size: u32) -> usize {
    let is_prime = |number: &usize| {
        let up_to_root = (3..).step_by(2).take_while(|divisor| divisor * divisor <= *number);
        number % 2 == 1 && up_to_root.into_iter().all(|divisor| !number.is_multiple_of(divisor))
    };
    // There is one before the double of any number.
    (size.max(3) as usize..).find(is_prime).unwrap_or(3)
}

const FREE: u32 = u32::MAX;
/// Of its share of the places, what a backend takes at most.
const MOST_PERCENT: usize = 101;
/// Seeds of the two hashes of a name.
const PLACE: u64 = 1;
const SKIP: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(weights: &[u16], size: u32) -> (Maglev, Vec<usize>) {
        let names: Vec<String> = (0..weights.len()).map(|number| format!("b{number}")).collect();
        let members: Vec<_> =
            names.iter().map(String::as_str).zip(weights.iter().copied()).collect();
        let table = Maglev::new(&members, size);
        let mut counts = vec![0; weights.len()];
        for place in 0..table.size() {
            counts[table.owner(place)] += 1;
        }
        (table, counts)
    }

    #[test]
    fn places_are_shared_by_weight() {
        let (table, places) = counts(&[1; 10], 1009);
        assert_eq!(table.size(), 1009);
        assert!(places.iter().all(|count| (90..=102).contains(count)), "{places:?}");
        let (_, places) = counts(&[1, 2, 5, 2], 10_007);
        for (count, expected) in places.iter().zip([1001, 2001, 5004, 2001]) {
            assert!((expected * 88 / 100..=expected * 101 / 100 + 1).contains(count), "{places:?}");
        }
    }

    /// With the least places that are advised, a hundred for each.
    #[test]
    fn few_places_change_hands_when_one_leaves() {
        for count in [3, 10, 100, 300] {
            let names: Vec<String> = (0..count).map(|number| format!("b{number}")).collect();
            let mut members: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
            let whole = Maglev::new(&members, 100 * count);
            let left = members.remove(count as usize / 2).0;
            let after = Maglev::new(&members, 100 * count);
            let name = |index: usize| members[index].0;
            let moved = |place: &usize| names[whole.owner(*place)] != name(after.owner(*place));
            let moved = (0..whole.size()).filter(moved).count();
            let share = moved as f64 / whole.size() as f64 * f64::from(count);
            assert!(share <= 2.2, "{left} of {count}: {share}");
        }
    }

    #[test]
    fn a_size_that_is_not_prime_is_made_so() {
        for (size, prime) in [(0, 3), (4, 5), (65_536, 65_537), (1000, 1009), (25, 29)] {
            assert_eq!(counts(&[1], size).0.size(), prime);
        }
    }

    #[test]
    fn very_unequal_weights_fill_the_table_too() {
        let (_, places) = counts(&[65_535, 1], 65_537);
        assert_eq!(places.iter().sum::<usize>(), 65_537);
        assert!(places[1] <= 2, "{places:?}");
    }

    #[test]
    fn a_walk_begins_with_the_owner_and_passes_every_place() {
        let (table, places) = counts(&[1, 1, 1], 101);
        for hash in [0, u64::MAX, 0x1234_5678_9abc_def0] {
            let walk: Vec<_> = table.walk(hash).collect();
            assert_eq!(walk[0], table.owner(hash::part(hash, 101)));
            let passed = |index| walk.iter().filter(|passed| **passed == index).count();
            assert_eq!((0..3).map(passed).collect::<Vec<_>>(), places);
        }
    }
}
