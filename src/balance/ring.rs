//! A ring of points (ketama), with the points and the look-up of NGINX's `hash ... consistent`
//! (ngx_stream_upstream_hash_module.c): a fleet can move over without moving its keys.
//!
//! Each backend has 160 points per weight, the hashes of a chain that begins with its name. A key
//! belongs to the first point that is not before its hash.

/// The points in the order of their hashes.
#[derive(Debug)]
pub(super) struct Ring {
    points: Box<[Point]>,
    /// By the leading bits of a hash, the first point that is not before all hashes with them: a
    /// look-up begins beside its end.
    directory: Box<[u32]>,
    /// How far the leading bits have to be shifted.
    shift: u32,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    hash: u32,
    index: u32,
}

impl Ring {
    /// Of backends with these names and weights, in the order of their names, at least one.
    pub(super) fn new(members: &[(&str, u16)]) -> Ring {
        Ring::within(members, MOST_POINTS)
    }

    /// Weights as in SRV records would make millions of points: with more than `most`, everyone's
    /// are halved until they fit. A halved chain is the beginning of the whole, so that most keys
    /// stay when members come and the ring is halved once more.
    fn within(members: &[(&str, u16)], most: u64) -> Ring {
        let total: u64 = members.iter().map(|(_, weight)| POINTS * u64::from(*weight)).sum();
        let halvings = (0..).find(|halvings| total >> halvings <= most).unwrap_or(0);
        let mut points = Vec::new();
        for (index, (name, weight)) in (0u32..).zip(members) {
            let count = ((POINTS * u64::from(*weight)) >> halvings).max(1);
            points.extend(chain(name).take(count as usize).map(|hash| Point { hash, index }));
        }
        // Of equal hashes the first name's remains. With NGINX that depends on the order of its
        // configuration, and is as rare.
        points.sort_unstable_by_key(|point| (point.hash, point.index));
        points.dedup_by_key(|point| point.hash);
        let bits = points.len().ilog2().max(1);
        let shift = u32::BITS - bits;
        let first = |leading: u32| points.partition_point(|point| point.hash >> shift < leading);
        let directory = (0..1u32 << bits).map(|leading| first(leading) as u32).collect();
        Ring { points: points.into(), directory, shift }
    }

    /// Whom the key belongs to, then the owners of the points that follow.
    pub(super) fn walk(&self, hash: u32) -> impl Iterator<Item = usize> {
        let near = self.directory[(hash >> self.shift) as usize] as usize;
        let beside = self.points[near..].iter().take_while(|point| point.hash < hash).count();
        let (before, after) = self.points.split_at(near + beside);
        after.iter().chain(before).map(|point| point.index as usize)
    }
}

/// The hashes of a name's points, without end.
fn chain(name: &str) -> impl Iterator<Item = u32> {
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (name, ""),
    };
    let mut hasher = crc32fast::Hasher::new();
    for part in [host.as_bytes(), b"\0", port.as_bytes()] {
        hasher.update(part);
    }
    let mut previous = 0u32;
    std::iter::repeat_with(move || {
        let mut hasher = hasher.clone();
        hasher.update(&previous.to_le_bytes());
        previous = hasher.finalize();
        previous
    })
}

/// Points of a backend of weight 1.
const POINTS: u64 = 160;
/// 16 MiB of points; the weights of a ring as NGINX's may add up to 13,107.
const MOST_POINTS: u64 = 1 << 21;
