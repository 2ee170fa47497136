//! Runs drawn from seeds, spread over a few tests so that several CPUs share them. A failure
//! prints its seed; `RINGMAIN_SEED` has each test run that seed alone.

use ringmain::engine::driver::simulated::World;

use crate::scene::Scene;

/// Prints where a failed run is to be found, and how things stood.
struct Report {
    seed: u64,
    test: &'static str,
    world: World,
}

impl Drop for Report {
    fn drop(&mut self) {
        let Report { seed, test, world } = self;
        if std::thread::panicking() {
            eprintln!("{world}");
            eprintln!("seed {seed} failed; to replay it:");
            eprintln!("    RINGMAIN_SEED={seed} cargo test --test simulation {test}");
        }
    }
}

/// Plays every seed of `range` whose remainder by `PARTS` is `part`, or the one that is asked for.
fn play(test: &'static str, count: u64, part: u64, draw: impl Fn(u64) -> Scene) {
    let asked = std::env::var("RINGMAIN_SEED").ok();
    let asked = asked.map(|seed| seed.parse::<u64>().expect("RINGMAIN_SEED is a number"));
    let seeds = asked.map_or(0..count, |seed| seed..seed + 1);
    for seed in seeds.filter(|seed| seed % PARTS == part) {
        let scene = draw(seed);
        let _report = Report { seed, test, world: scene.stage.world.clone() };
        scene.play();
    }
}

/// The tests that share the seeds of one kind.
const PARTS: u64 = 4;

macro_rules! parts {
    ($name:ident, $count:expr, $draw:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn first_quarter() {
                play(stringify!($name), $count, 0, $draw);
            }

            #[test]
            fn second_quarter() {
                play(stringify!($name), $count, 1, $draw);
            }

            #[test]
            fn third_quarter() {
                play(stringify!($name), $count, 2, $draw);
            }

            #[test]
            fn fourth_quarter() {
                play(stringify!($name), $count, 3, $draw);
            }
        }
    };
}

parts!(whatever_happens_nothing_is_lost_unnoticed_or_left_over, 256, Scene::any);
parts!(without_faults_every_byte_arrives_and_every_session_finishes, 64, Scene::healthy);
parts!(sessions_that_are_moved_lose_no_byte_that_was_sent, 128, Scene::healthy_but_moved);
parts!(harmless_faults_change_nothing_for_anyone, 128, Scene::healthy_but_bumpy);

#[test]
fn a_seed_gives_the_same_run_each_time() {
    let fingerprint = |seed| {
        let scene = Scene::any(seed);
        let world = scene.stage.world.clone();
        scene.play();
        world.fingerprint()
    };
    for seed in 0..8 {
        assert_eq!(fingerprint(seed), fingerprint(seed), "seed {seed}");
    }
}
