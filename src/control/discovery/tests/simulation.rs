//! 256 seeds of a world that changes, fails and answers late, and what must hold in each.
//! `RINGMAIN_SEED` runs one seed alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::scene::*;
use crate::config::Discovery;
use crate::control::discovery::*;

const LEAST: Duration = SECOND;
const MOST: Duration = Duration::from_secs(30);
const LATEST_ANSWER: Duration = Duration::from_secs(4);

/// A machine, the world as it is, and the questions under way.
struct World {
    random: fastrand::Rng,
    machine: PoolDiscovery,
    now: Duration,
    zone: BTreeMap<Question, Outcome>,
    listing: Result<String, String>,
    /// When each is answered.
    under_way: BTreeMap<Question, Duration>,
    reading: Option<Duration>,
    /// When each was answered last, and for how long it was valid.
    answered: BTreeMap<Question, (Duration, Duration)>,
    changes: usize,
    /// A large loss is asked for again soon.
    doubts: bool,
    /// Nothing may take the last backend away.
    is_endless: bool,
    was_filled: bool,
}

#[test]
fn every_seed_keeps_the_promises() {
    let only = std::env::var("RINGMAIN_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seeds = only.map_or(0..256, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| World::new(seed).run());
        if let Err(panic) = outcome {
            eprintln!("seed {seed}; replay it alone with RINGMAIN_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = fastrand::Rng::with_seed(seed);
        let is_endless = random.bool();
        let kinds = [srv("s"), template(&["t-0", "t-1", "t-2"]), dns("d"), file("list")];
        let mut options = options(&kinds);
        let hold = if is_endless { endless() } else { options.discovery.hold.clone() };
        options.discovery = Discovery {
            min_interval: LEAST,
            max_interval: MOST,
            retry_interval: LEAST,
            hold,
            min_backends: if random.bool() { 0 } else { random.usize(0..4) },
            max_loss: random.bool().then(|| random.u8(1..100)),
        };
        let doubts = options.discovery.max_loss.is_some();
        let mut world = World {
            machine: PoolDiscovery::new(options, random.u64(..)),
            random,
            now: Duration::ZERO,
            zone: BTreeMap::new(),
            listing: Err("is not there".into()),
            under_way: BTreeMap::new(),
            reading: None,
            answered: BTreeMap::new(),
            changes: 0,
            doubts,
            is_endless,
            was_filled: false,
        };
        for _ in 0..20 {
            world.change();
        }
        world
    }

    fn run(mut self) {
        for _ in 0..self.random.usize(5..40) {
            self.change();
            let pause = Duration::from_millis(self.random.u64(0..20_000));
            self.run_to(self.now + pause);
        }
        self.calm();
        // Each name is asked again within the longest interval; a service's new targets follow,
        // and a doubted answer is confirmed after the least.
        self.run_to(self.now + 2 * (MOST + MOST / 10) + 4 * LATEST_ANSWER + 2 * LEAST);
        assert_eq!(self.names(), self.expected(), "it converges");
        let changes = self.changes;
        self.run_to(self.now + 20 * MOST);
        assert_eq!(self.changes, changes, "nothing changes without a cause");
    }

    /// One thing becomes different.
    fn change(&mut self) {
        let name = ["t-0", "t-1", "t-2", "d", "a.", "b.", "c.", "e."][self.random.usize(..8)];
        match self.random.u8(..4) {
            0 => {
                let outcome = self.services();
                self.zone.insert(services_of("s"), outcome);
            }
            1 => {
                self.listing = match self.random.u8(..3) {
                    0 => Err("is gone".into()),
                    1 => Ok("half a l".into()),
                    _ => Ok(self.lines()),
                };
                self.read();
            }
            _ => {
                let outcome = self.addresses();
                self.zone.insert(addresses_of(name), outcome);
            }
        }
    }

    /// Everything answers from now on, with something.
    fn calm(&mut self) {
        for name in ["t-0", "t-1", "t-2", "d", "a.", "b.", "c.", "e."] {
            while self.zone.get(&addresses_of(name)).is_none_or(Result::is_err) {
                let outcome = self.addresses();
                self.zone.insert(addresses_of(name), outcome);
            }
        }
        while self.zone.get(&services_of("s")).is_none_or(Result::is_err) {
            let outcome = self.services();
            self.zone.insert(services_of("s"), outcome);
        }
        self.listing = Ok(self.lines());
        self.read();
    }

    fn failure(&mut self) -> Failure {
        use Failure::*;
        [NxDomain, Empty, Refused, Failed, Timeout][self.random.usize(..5)]
    }

    fn addresses(&mut self) -> Outcome {
        if self.random.u8(..3) == 0 {
            return Err(self.failure());
        }
        let texts = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1", "2001:db8::2"];
        let count = self.random.usize(1..=texts.len());
        let mut answer = ips(&self.random.choose_multiple(texts, count))?;
        answer.valid_for = self.random.u32(..60) * SECOND;
        Ok(answer)
    }

    fn services(&mut self) -> Outcome {
        if self.random.u8(..3) == 0 {
            return Err(self.failure());
        }
        let count = self.random.usize(1..=4);
        let mut answer = targets(&self.random.choose_multiple(["a.", "b.", "c.", "e."], count))?;
        answer.valid_for = self.random.u32(..60) * SECOND;
        for record in &mut answer.records {
            if let Record::Service(service) = record {
                service.weight = self.random.u16(..3);
                service.priority = self.random.u16(..3);
                if self.random.bool() {
                    service.addresses = vec!["10.1.0.1".parse().unwrap()];
                }
            }
        }
        Ok(answer)
    }

    fn lines(&mut self) -> String {
        let count = self.random.usize(1..=3);
        let lines = ["10.0.0.1:1 name=f-1", "10.0.0.2:1 name=f-2", "a.:1 name=f-3"];
        self.random.choose_multiple(lines, count).join("\n")
    }

    fn names(&self) -> BTreeSet<String> {
        self.machine.found().iter().map(|found| found.name.to_string()).collect()
    }

    /// What there is to be found when everything answers.
    fn expected(&self) -> BTreeSet<String> {
        let mut expected: BTreeSet<String> =
            ["t-0:1", "t-1:1", "t-2:1"].map(String::from).into_iter().collect();
        for record in &self.zone[&services_of("s")].as_ref().unwrap().records {
            let Record::Service(service) = record else { unreachable!() };
            expected.insert(format!("{}:1", service.target.trim_end_matches('.')));
        }
        for record in &self.zone[&addresses_of("d")].as_ref().unwrap().records {
            let Record::Address(ip) = record else { unreachable!() };
            expected.insert(std::net::SocketAddr::new(*ip, 1).to_string());
        }
        let lines = self.listing.as_ref().unwrap().lines();
        expected.extend(lines.map(|line| line.split_once('=').unwrap().1.to_owned()));
        expected
    }

    /// The watch has told that the file is another.
    fn read(&mut self) {
        let (path, contents) = ("list".into(), self.listing.clone());
        self.handle(Input::FileRead { path, contents });
    }

    fn run_to(&mut self, end: Duration) {
        loop {
            let times = self.under_way.values().chain(&self.reading).copied();
            let next = times.chain(self.machine.next_deadline()).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if self.reading.take_if(|time| *time <= self.now).is_some() {
                self.read();
            }
            let over = |(question, time): (&Question, &Duration)| {
                (*time <= self.now).then(|| question.clone())
            };
            match self.under_way.iter().find_map(over) {
                Some(question) => self.answer(question),
                None => self.handle(Input::Tick),
            }
        }
        self.now = end;
    }

    fn answer(&mut self, question: Question) {
        self.under_way.remove(&question);
        let missing = Err(Failure::NxDomain);
        let outcome = self.zone.get(&question).cloned().unwrap_or(missing);
        let valid_for = outcome.as_ref().map_or(LEAST, |answer| answer.valid_for);
        self.answered.insert(question.clone(), (self.now, valid_for));
        self.handle(Input::Answered { question, outcome });
    }

    fn handle(&mut self, input: Input) {
        let before = self.names();
        self.machine.handle(input, self.now);
        let mut changed = false;
        while let Some(output) = self.machine.next_output() {
            match output {
                Output::Ask(question) => self.asked(question),
                Output::ReadFile(_) => {
                    assert!(self.reading.is_none(), "read twice at once");
                    self.reading = Some(self.now + Duration::from_millis(self.random.u64(..50)));
                }
                Output::Changed => changed = true,
                Output::Event(event) => assert!(!event.to_string().is_empty()),
            }
        }
        assert!(changed || self.names() == before, "no change is kept quiet");
        self.changes += usize::from(changed);
        self.check();
    }

    fn asked(&mut self, question: Question) {
        if let Some((answered, valid_for)) = self.answered.get(&question) {
            let earliest = *answered + LEAST;
            assert!(self.now >= earliest, "{question:?} again at {:?}: {earliest:?}", self.now);
            // Who newly needs a name, and a doubted answer, ask sooner than its time to live says.
            let is_plain = question == addresses_of("d") && !self.doubts;
            let full = (*valid_for).clamp(LEAST, MOST) * 9 / 10;
            assert!(!is_plain || self.now >= *answered + full, "{question:?} too soon");
        }
        let late = Duration::from_micros(self.random.u64(..LATEST_ANSWER.as_micros() as u64));
        let before = self.under_way.insert(question, self.now + late);
        assert_eq!(before, None, "asked twice at once");
    }

    fn check(&mut self) {
        let found = self.machine.found();
        assert!(found.is_sorted_by(|a, b| a.name < b.name), "distinct names, in order");
        assert!(found.iter().all(|found| !found.addresses.is_empty()));
        self.was_filled |= !found.is_empty();
        assert!(!self.was_filled || !self.is_endless || !found.is_empty(), "never emptied");
        let deadline = self.machine.next_deadline();
        assert!(deadline.is_none_or(|deadline| deadline > self.now), "a deadline stays");
    }
}
