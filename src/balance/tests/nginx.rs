//! The ring against NGINX's `hash ... consistent`: an oracle written from the algorithm alone,
//! and choices that NGINX itself has made.

use proptest::prelude::*;

use super::super::pool::tests::member;
use super::super::{Member, Policy};
use super::stage::{Worker, hashing, pool};

/// One bit after the other, as the polynomial says.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// Every point of every server, and for a key the one that follows its hash.
fn oracle<'a>(servers: &[(&'a str, u16)], key: &str) -> &'a str {
    let mut points = Vec::new();
    for (server, weight) in servers {
        let (host, port) = server.rsplit_once(':').unwrap_or((server, ""));
        let mut previous = [0; 4];
        for _ in 0..160 * usize::from(*weight) {
            let text = [host.as_bytes(), &[0], port.as_bytes(), &previous].concat();
            let point = crc32(&text);
            points.push((point, *server));
            previous = point.to_le_bytes();
        }
    }
    let hash = crc32(key.as_bytes());
    let following = points.iter().filter(|(point, _)| *point >= hash).min();
    following.or(points.iter().min()).unwrap().1
}

fn address(number: u32) -> std::net::Ipv4Addr {
    (0x0a00_0000 + number).into()
}

fn ring(servers: &[(&str, u16)]) -> Worker {
    let members: Vec<Member> = servers.iter().map(|(name, weight)| member(name, *weight)).collect();
    Worker::new(&pool(&Policy::Ring(hashing()), &members), 1)
}

#[test]
fn the_oracle_knows_the_check_value_of_crc32() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

/// With five servers, as logged by NGINX 1.22.1 for clients from 127.0.0.1 to 127.0.3.232.
#[test]
fn first_choices_are_those_that_nginx_made() {
    let servers = [
        ("127.0.0.1:37001", 1),
        ("127.0.0.1:37002", 3),
        ("127.0.0.2:37001", 2),
        ("127.0.0.3:514", 1),
        ("[::1]:37001", 1),
    ];
    let mut ring = ring(&servers);
    let before = u32::from(std::net::Ipv4Addr::new(127, 0, 0, 0)) - u32::from(address(0));
    let mut choice =
        |number| servers.iter().position(|(name, _)| *name == &*ring.name(before + number));
    let choices: String = (1..=1000).map(|number| choice(number).unwrap().to_string()).collect();
    assert_eq!(choices, CHOICES);
}

/// By client, which of the servers NGINX chose.
const CHOICES: &str = "\
    221423243441114111112121113102221214341203111043101223422441213113321212411143321100142031\
    012413211140124431320111011430021203212130122132431013231331221341314213311310444431112221\
    433131410211402111444440112113244332421412311120114144312331442011111312111221122014414230\
    121223141114231120121114111111341212123420400421122444202012014121422212412411243114021224\
    030221321131144314313122110114121143403434101111114321333422344141121444401311221402314211\
    122001121140422111312333043312112442313131013220131100002230031232112044112201302211332021\
    212313102411431202121211414444210142104114103211101031101114121113241131311141314012230141\
    041121420323321213331000411222021431130324220000302121120220210310124111120130211143213401\
    020134212133202311300310212314120211431011444211222011221231412112244122433321404120100103\
    222122221311211122111321301101413221341233104010231242131143012111001411240111241414424411\
    302121221131320141231232021142102314031044123111320121411321321111002222111220000210101110\
    3123411012";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn first_choices_are_those_of_the_oracle(
        servers in prop::collection::btree_map("[a-z]{1,8}(:[0-9]{1,5})?", 1u16..4, 1..6),
        keys in prop::collection::vec(0u32..1 << 24, 20),
    ) {
        let servers: Vec<(&str, u16)> =
            servers.iter().map(|(name, weight)| (name.as_str(), *weight)).collect();
        let mut ring = ring(&servers);
        for key in keys {
            prop_assert_eq!(&*ring.name(key), oracle(&servers, &address(key).to_string()));
        }
    }
}
