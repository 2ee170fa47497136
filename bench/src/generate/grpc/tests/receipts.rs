//! Owns the checks of what a backend makes of calls that no agent of ours would make.

use super::super::super::backends::Behaviour;
use super::super::super::order::{Group, Pace, Sizes};
use super::super::super::protocol::Protocol;
use super::super::super::wire::Mark;
use super::super::{Service, batch, status};
use super::scene::Scene;

fn scene(protocol: Protocol) -> Scene {
    let group = Group::new(protocol, 1, Pace::constant(1.0), Sizes::Constant(500));
    let scene = Scene::new(&group, Behaviour::default(), 5);
    scene.count();
    scene
}

fn body(service: Service, sequence: u64, size: usize) -> Vec<u8> {
    let mut body = Vec::new();
    batch::encode(service, &Mark { stream: 3, sequence, due: 9 }, size, &mut body);
    body
}

#[test]
fn events_that_come_twice_late_or_changed_are_counted_with_their_call() {
    for (protocol, service) in
        [(Protocol::Vector, Service::Vector), (Protocol::OtlpGrpc, Service::OtlpLogs)]
    {
        let scene = scene(protocol);
        // Of two events each: in order, with a gap, into the gap, again, half of it again.
        for sequence in [0, 4, 2, 2, 5] {
            let reply = scene.call(service.path(), body(service, sequence, 900));
            let heard = Mark { stream: 3, sequence: sequence + 1, due: 9 };
            assert_eq!((reply.status, reply.mark), (status::OK, Some((heard, true))));
        }
        let mut changed = body(service, 10, 900);
        let place = changed.windows(3).position(|bytes| bytes == b"rm=").unwrap() - 2;
        changed[place] ^= 1;
        assert_eq!(scene.call(service.path(), changed).status, status::OK);
        let counts = scene.end().tally.counts();
        assert_eq!((counts.reordered, counts.duplicated, counts.corrupted), (1, 2, 1));
        assert_eq!(counts.errors(), 0);
    }
}

#[test]
fn calls_that_make_no_sense_get_the_status_for_it() {
    let scene = scene(Protocol::Vector);
    let path = Service::Vector.path();
    let bodies = [
        Vec::new(),
        vec![0, 0, 0, 0, 9, 1],
        // Compressed, which nobody offered.
        [&[1], &body(Service::Vector, 0, 400)[1..]].concat(),
        body(Service::OtlpLogs, 0, 400),
        // No event.
        batch::NOTHING.to_vec(),
    ];
    for body in &bodies {
        let reply = scene.call(path, body.clone());
        assert_eq!(reply.status, status::INVALID_ARGUMENT, "{body:?}");
    }
    let reply = scene.call(Service::OtlpLogs.path(), body(Service::OtlpLogs, 0, 400));
    assert_eq!(reply.status, status::UNIMPLEMENTED);
    let counts = scene.end().tally.counts();
    assert_eq!(counts.errors["malformed"], bodies.len() as u64);
    assert_eq!(counts.errors(), bodies.len() as u64);
}
