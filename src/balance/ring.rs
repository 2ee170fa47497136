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

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: [(&str, u16); 3] = [("a:1", 40), ("b:1", 60), ("c:1", 1)];
    const LIGHT: [(&str, u16); 2] = [("a:1", 4), ("b:1", 6)];

    fn shares(ring: &Ring) -> [f64; 3] {
        let mut shares = [0.0; 3];
        for key in 0..20_000u32 {
            let owner = ring.walk(key.wrapping_mul(0x9e37_79b9)).next().unwrap();
            shares[owner] += 1.0 / 20_000.0;
        }
        shares
    }

    #[test]
    fn a_look_up_finds_the_first_point_that_is_not_before_the_hash() {
        let ring = Ring::new(&LIGHT);
        let hashes = ring.points.iter().map(|point| point.hash);
        let beside = hashes.flat_map(|hash| [hash.wrapping_sub(1), hash, hash.wrapping_add(1)]);
        for hash in beside.chain([0, u32::MAX]) {
            let point = ring.points.iter().find(|point| point.hash >= hash);
            let expected = point.unwrap_or(&ring.points[0]).index as usize;
            assert_eq!(ring.walk(hash).next(), Some(expected), "{hash:x}");
        }
        assert_eq!(ring.walk(0).count(), ring.points.len());
    }

    #[test]
    fn too_many_points_are_halved_and_almost_every_key_stays() {
        let (whole, halved) = (Ring::new(&MEMBERS), Ring::within(&MEMBERS, 101 * POINTS - 1));
        assert!(halved.points.len().abs_diff(101 * 80) <= 3, "{}", halved.points.len());
        for (whole, halved) in shares(&whole).iter().zip(shares(&halved)) {
            assert!((whole - halved).abs() < 0.05, "{whole} and {halved}");
        }
        let large = [("a:1", 65_535), ("b:1", 65_535), ("c:1", 1)];
        let ring = Ring::within(&large, 20_000);
        assert!((10_000..=20_003).contains(&ring.points.len()));
        assert!(shares(&ring)[0] > 0.45);
    }

    #[test]
    fn names_are_split_where_nginx_splits_them() {
        let first = |text: &[u8]| crc32fast::hash(text);
        for (name, text) in [
            ("10.0.0.1:6000", &b"10.0.0.1\x006000\0\0\0\0"[..]),
            ("[2001:db8::1]:6000", b"[2001:db8::1]\x006000\0\0\0\0"),
            ("aggregator", b"aggregator\0\0\0\0\0"),
            ("a:b", b"a:b\0\0\0\0\0"),
            ("a:", b"a\0\0\0\0\0"),
        ] {
            assert_eq!(chain(name).next(), Some(first(text)), "{name}");
        }
    }
}
