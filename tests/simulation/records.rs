//! How the records leave that the proxy makes of what comes in abundance: several in one send.

use std::time::Duration;

use fastrand::Rng;
use ringmain::balance::PoolId;
use ringmain::engine::Time;

use crate::actors::{Backend, Fate, Kind, Plan};
use crate::security::{Keyring, Security};
use crate::stage::{HOUR, Settings, Stage, address, plan, pool};

const PLENTY: u64 = 4 << 20;
/// The most that a record says in the clear (RFC 8446, section 5.1).
const RECORD: u64 = 1 << 14;

/// How often bytes are sent while all of `PLENTY` passes the proxy. Its client has always more to
/// send than the backend takes.
fn sends(seed: u64, security: Security) -> u64 {
    let keys = Keyring::new(HOUR);
    let mut settings = Settings::plenty(vec![pool(0, 1)]);
    settings.seed = seed;
    settings.prefaces = vec![keys.preface(security, PoolId(0), HOUR)];
    settings.pools_tls = vec![keys.towards(security)];
    settings.engine.buffers.size = 16 << 10;
    settings.engine.buffers.count = 64;
    let mut stage = Stage::new(settings);
    stage.world.even_out(256 << 10, Duration::from_micros(100));
    let slow = Kind::SlowReader { chunk: 4096, pause: Duration::from_micros(100) };
    let (backend, log) = Backend::new(address(0, 0), 1, slow, keys.backend(security));
    stage.world.spawn(Time::default(), backend);
    let wire = keys.client(security, &mut Rng::with_seed(seed));
    let plan = Plan { chunk: 256 << 10, pause: Duration::ZERO, wire, ..plan(1, PLENTY) };
    let client = stage.client(Duration::ZERO, plan);
    stage.run_until_done([&client]);
    assert_eq!(client.get().fate, Fate::Done, "seed {seed}, {security:?}");
    assert_eq!(log.borrow().received[&1], PLENTY, "seed {seed}, {security:?}");
    stage.world.sends()
}

#[test]
fn several_records_go_out_in_one_send_while_plenty_comes() {
    for security in [Security::Origination, Security::Reencryption] {
        for seed in 0..3 {
            let (sends, records) = (sends(seed, security), PLENTY / RECORD);
            println!("seed {seed}, {security:?}: {sends} sends of at least {records} records");
            assert!(sends < records, "seed {seed}, {security:?}: {sends} sends, {records} records");
        }
    }
}
