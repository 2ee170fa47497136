//! Owns the order of a comparison: who runs when, at which rate, and what is kept of it. It starts
//! nobody, and leaves the presentation of figures to the report.

use std::time::Duration;

use serde::Serialize;

use super::candidate::Candidate;
use super::failure::Failure;
use super::memory::{Footprint, Memory, MemoryReport, MemoryRow};
use super::options::Options;
use super::subject::{self, Speed, Subject};
use super::work::{Shape, Task, Work};
use super::works::{Figures, Row, WorkReport};
use crate::figures::Run;
use crate::generate::{self, Carried, Order};
use crate::report::Progress;

/// Who takes part: a contender that runs on this host, or somebody who only says what would become
/// of it. A failure is why a run does not count, unless somebody wants it all to end.
pub trait Entrant {
    fn candidate(&self) -> Candidate;

    fn carry(&self, order: &Order) -> Result<Carried, generate::Failure>;

    /// What a process that has held no connection yet has in memory, with so many of them that have
    /// been quiet for so long, and then with more.
    fn hold(
        &self,
        work: Work,
        counts: [usize; 2],
        quiet: Duration,
    ) -> Result<[Footprint; 2], generate::Failure>;
}

/// What was found until now.
#[derive(Default, Serialize)]
pub struct Findings {
    pub works: Vec<WorkReport>,
    pub memory: Vec<MemoryReport>,
    /// Those at the offered rates, with all of their latencies.
    pub runs: Vec<Run>,
}

pub struct Course<'a> {
    pub options: &'a Options,
    pub progress: Progress,
}

impl Findings {
    pub fn is_empty(&self) -> bool {
        self.works.is_empty() && self.memory.is_empty()
    }
}

impl Course<'_> {
    /// Prints a table of each subject as it is done. What there is when somebody interrupts it is
    /// kept.
    pub fn all<E: Entrant>(
        &mut self,
        subjects: &[Subject],
        entrants: &[E],
        found: &mut Findings,
    ) -> Result<(), Failure> {
        for &subject in subjects {
            let able = entrants.iter().filter(|entrant| is_able(entrant.candidate(), subject));
            let able: Vec<&E> = able.collect();
            match (subject.task(), subject) {
                (Task::Carry(shape), _) => self.carry(Job { subject, shape }, &able, found)?,
                (Task::Hold, Subject::Work(work)) => self.hold(work, &able, found)?,
                // No protocol is held.
                (Task::Hold, Subject::Protocol { .. }) => {}
            }
        }
        Ok(())
    }

    fn carry<E: Entrant>(
        &mut self,
        job: Job,
        entrants: &[&E],
        found: &mut Findings,
    ) -> Result<(), Failure> {
        let rows = entrants.iter().map(|entrant| Row::new(entrant.candidate())).collect();
        let Job { subject: work, shape } = job;
        let mut report = WorkReport { work, shape, offered: None, rows };
        let ended = self.measure(job, entrants, &mut report, &mut found.runs);
        if report.has_figures() || ended.is_ok() {
            self.progress.aside(|| println!("{}", report.table()));
            found.works.push(report);
        }
        ended
    }

    /// First all rounds at full speed; they also tell which rate everybody carries. Then all
    /// rounds at that rate.
    fn measure<E: Entrant>(
        &mut self,
        job: Job,
        entrants: &[&E],
        report: &mut WorkReport,
        runs: &mut Vec<Run>,
    ) -> Result<(), Failure> {
        self.rounds(job, Speed::Full, entrants, &mut report.rows, &mut |_| ())?;
        report.offered = offered(self.options.rate(job.subject), &report.rows);
        // Without a rate nobody has carried anything, and the faults say why.
        if let Some(rate) = report.offered {
            let keep = &mut |run| runs.push(run);
            self.rounds(job, Speed::Rate(rate), entrants, &mut report.rows, keep)?;
        }
        Ok(())
    }

    /// The candidates take turns, so that what disturbs the host for a while disturbs them all.
    fn rounds<E: Entrant>(
        &mut self,
        job: Job,
        speed: Speed,
        entrants: &[&E],
        rows: &mut [Row],
        keep: &mut dyn FnMut(Run),
    ) -> Result<(), Failure> {
        for round in 1..=self.options.rounds() {
            for (entrant, row) in entrants.iter().zip(rows.iter_mut()) {
                let result = self.run(job, speed, *entrant)?;
                self.tell(job, speed, round, row.candidate, &result);
                match result {
                    Err(fault) => row.faults.push(fault),
                    Ok((figures, run)) => {
                        let of = if speed == Speed::Full { &mut row.full } else { &mut row.paced };
                        of.push(figures);
                        keep(run);
                    }
                }
            }
        }
        Ok(())
    }

    fn run(&self, job: Job, speed: Speed, entrant: &impl Entrant) -> Counted<(Figures, Run)> {
        let order = job.subject.order(job.shape, speed, WARM_UP, self.window(speed));
        let carried = counted(entrant.carry(&order))?;
        Ok(carried.and_then(|carried| Ok((Figures::of(job.shape, &carried)?, carried.run))))
    }

    fn window(&self, speed: Speed) -> Duration {
        match speed {
            Speed::Full => self.options.window_full(),
            Speed::Rate(_) => self.options.window_paced(),
        }
    }

    fn tell(
        &mut self,
        job: Job,
        speed: Speed,
        round: u32,
        candidate: Candidate,
        result: &Result<(Figures, Run), String>,
    ) {
        let (name, work) = (candidate.as_str(), job.subject.as_str());
        let how = if speed == Speed::Full { "full speed" } else { "paced" };
        let what = format!("{work:<17} {how:<10} round {round}: {name:<15}");
        let planned = WARM_UP + self.window(speed);
        match result {
            Ok((figures, run)) => {
                self.progress.ended(planned, &what, run, &figures.summary(job.shape));
            }
            Err(fault) => self.progress.step(planned, &format!("{what} {fault}")),
        }
    }

    fn hold<E: Entrant>(
        &mut self,
        work: Work,
        entrants: &[&E],
        found: &mut Findings,
    ) -> Result<(), Failure> {
        let rows = entrants.iter().map(|entrant| MemoryRow::new(entrant.candidate())).collect();
        let mut report = MemoryReport { work, connections: HELD, rows };
        let ended = self.weigh(entrants, &mut report);
        if report.has_figures() || ended.is_ok() {
            self.progress.aside(|| println!("{}", report.table()));
            found.memory.push(report);
        }
        ended
    }

    /// Memory that was once given to a process seldom comes back, so every round has a fresh one.
    fn weigh<E: Entrant>(
        &mut self,
        entrants: &[&E],
        report: &mut MemoryReport,
    ) -> Result<(), Failure> {
        let work = report.work;
        for round in 1..=self.options.rounds().min(MEMORY_ROUNDS) {
            for (entrant, row) in entrants.iter().zip(&mut report.rows) {
                let read = counted(entrant.hold(work, [FEW, FEW + HELD], QUIET))?;
                let result = read.map(|[few, all]| Memory::of(few, all, HELD));
                let said = match &result {
                    Ok(memory) => memory.summary(),
                    Err(fault) => fault.clone(),
                };
                let (name, work) = (row.candidate.as_str(), work.as_str());
                let what = format!("{work:<17} memory, round {round}: {name:<15} {said}");
                self.progress.step(HOLDING, &what);
                match result {
                    Err(fault) => row.faults.push(fault),
                    Ok(memory) => row.runs.push(memory),
                }
            }
        }
        Ok(())
    }
}

/// Something whose units are to be carried.
#[derive(Clone, Copy, Debug)]
struct Job {
    subject: Subject,
    shape: Shape,
}

/// The inner error is why a run does not count.
type Counted<T> = Result<Result<T, String>, Failure>;

fn counted<T>(made: Result<T, generate::Failure>) -> Counted<T> {
    match made {
        Ok(made) => Ok(Ok(made)),
        Err(generate::Failure::Interrupted) => Err(Failure::Interrupted),
        Err(failure) => Ok(Err(format!("{}: {failure}", failure.as_str()))),
    }
}

fn is_able(candidate: Candidate, subject: Subject) -> bool {
    subject.terms().is_none() || candidate.ends_tls()
}

/// The rate that was asked for, or one that all have carried; none: nobody has carried anything.
fn offered(asked: Option<f64>, rows: &[Row]) -> Option<f64> {
    let slowest = rows.iter().filter_map(Row::max_rate).map(|rate| rate.median);
    asked.or_else(|| slowest.min_by(f64::total_cmp).map(|rate| rate * OFFERED_SHARE))
}

/// Half of what the slowest carries: nobody queues, and everybody does the same work.
const OFFERED_SHARE: f64 = 0.5;
pub const WARM_UP: Duration = Duration::from_millis(200);
/// Memory varies little from round to round.
pub const MEMORY_ROUNDS: u32 = 3;
/// Connections that are open when a proxy's memory is read first, and how many more the second
/// time, which make the difference.
const FEW: usize = 1000;
const HELD: usize = subject::HELD as usize;
/// Longer than a proxy takes to give back what it can.
const QUIET: Duration = Duration::from_secs(2);
/// A weighing as a whole: quiet twice, and the opening of connections.
pub const HOLDING: Duration = Duration::from_secs(6);

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::super::usage::Usage;
    use super::*;
    use crate::figures::sample;
    use crate::generate::{Pace, Protocol};
    use crate::line::options;

    /// What was asked of whom, in its order.
    #[derive(Default)]
    struct Book {
        orders: RefCell<Vec<(Candidate, Order)>>,
        weighed: RefCell<Vec<Weighing>>,
        /// After so many runs and weighings somebody wants it to end.
        patience: Option<usize>,
    }

    type Weighing = (Candidate, Work, [usize; 2], Duration);

    /// Nobody, who says what became of it: such a rate at full speed, and whatever is offered.
    struct Nobody<'a> {
        candidate: Candidate,
        book: &'a Book,
        most: f64,
        /// Runs that fail, by their numbers among its own.
        fails: &'a [usize],
    }

    impl Book {
        fn is_over(&self) -> bool {
            let asked = self.orders.borrow().len() + self.weighed.borrow().len();
            self.patience.is_some_and(|most| asked > most)
        }

        /// Who ran, and whether at full speed.
        fn turns(&self) -> Vec<(Candidate, bool)> {
            let orders = self.orders.borrow();
            let turn = |(who, order): &(Candidate, Order)| (*who, paced(order).is_none());
            orders.iter().map(turn).collect()
        }

        fn rates(&self) -> Vec<f64> {
            self.orders.borrow().iter().filter_map(|(_, order)| paced(order)).collect()
        }
    }

    fn paced(order: &Order) -> Option<f64> {
        order.groups[0].pace.rate()
    }

    impl Nobody<'_> {
        fn asked(&self, count: usize) -> Result<(), generate::Failure> {
            if self.book.is_over() {
                return Err(generate::Failure::Interrupted);
            }
            match self.fails.contains(&count) {
                true => Err(generate::Failure::Lingering(3)),
                false => Ok(()),
            }
        }
    }

    impl Entrant for Nobody<'_> {
        fn candidate(&self) -> Candidate {
            self.candidate
        }

        fn carry(&self, order: &Order) -> Result<Carried, generate::Failure> {
            let mut orders = self.book.orders.borrow_mut();
            let earlier = orders.iter().filter(|(who, _)| *who == self.candidate).count();
            orders.push((self.candidate, order.clone()));
            drop(orders);
            self.asked(earlier)?;
            let mut run = sample(self.candidate.as_str(), 100.0);
            run.achieved = paced(order).unwrap_or(self.most);
            let usage = Usage { proxy: 1_000_000, proxy_cpu_busy: 0.5, load_cpu_busy: 0.5 };
            Ok(Carried { run, usage: Some(usage), spoiled: 0 })
        }

        fn hold(
            &self,
            work: Work,
            counts: [usize; 2],
            quiet: Duration,
        ) -> Result<[Footprint; 2], generate::Failure> {
            let mut weighed = self.book.weighed.borrow_mut();
            let earlier = weighed.iter().filter(|(who, ..)| *who == self.candidate).count();
            weighed.push((self.candidate, work, counts, quiet));
            drop(weighed);
            self.asked(earlier)?;
            // A mebibyte, and a kibibyte for each.
            Ok(counts.map(|count| (1 << 20) + ((count as u64) << 10)).map(|bytes| {
                let (pss, rss) = (bytes, bytes);
                Footprint { pss, rss }
            }))
        }
    }

    /// A whole course of these.
    fn course(line: &str, entrants: &[Nobody]) -> (Findings, Result<(), Failure>) {
        let options: Options = options(line);
        let subjects = options.subjects();
        let planned = options.planned(&subjects, entrants.len() as u32);
        let mut course = Course { options: &options, progress: Progress::new(planned) };
        let mut found = Findings::default();
        let ended = course.all(&subjects, entrants, &mut found);
        (found, ended)
    }

    fn nobody(candidate: Candidate, book: &Book, most: f64) -> Nobody<'_> {
        Nobody { candidate, book, most, fails: &[] }
    }

    /// Two of them, the second of whom is half as fast.
    fn two(book: &Book) -> [Nobody<'_>; 2] {
        [nobody(Candidate::Ringmain, book, 800.0), nobody(Candidate::Nginx, book, 400.0)]
    }

    #[test]
    fn all_take_turns_first_at_full_speed_and_then_at_half_of_what_the_slowest_carried() {
        let book = Book::default();
        let (found, ended) = course("--works pingpong-64 --rounds 3 --seconds 4", &two(&book));
        ended.unwrap();
        let both = |full| [(Candidate::Ringmain, full), (Candidate::Nginx, full)];
        assert_eq!(book.turns(), [both(true).repeat(3), both(false).repeat(3)].concat());
        assert_eq!(book.rates(), [200.0; 6]);
        for (_, order) in book.orders.borrow().iter() {
            let seconds = if paced(order).is_none() { 1 } else { 4 };
            assert_eq!(order.warm_up, Duration::from_millis(200));
            assert_eq!(order.window, Duration::from_secs(seconds));
            assert_eq!(order.name, "pingpong-64");
            if paced(order).is_none() {
                assert_eq!(order.groups[0].pace, Pace::Closed { depth: 1 });
            }
        }
        let [report] = &found.works[..] else { panic!("{} works", found.works.len()) };
        assert_eq!((report.offered, report.rows.len()), (Some(200.0), 2));
        for (row, most) in report.rows.iter().zip([800.0, 400.0]) {
            let rates = |of: &[Figures]| of.iter().map(|run| run.rate).collect::<Vec<_>>();
            assert_eq!((rates(&row.full), rates(&row.paced)), (vec![most; 3], vec![200.0; 3]));
            assert!(row.faults.is_empty(), "{:?}", row.faults);
        }
        // With their latencies only those are kept that had the same load.
        let kept: Vec<(&str, f64)> =
            found.runs.iter().map(|run| (&*run.candidate, run.achieved)).collect();
        assert_eq!(kept, [("ringmain", 200.0), ("nginx", 200.0)].repeat(3));
    }

    #[test]
    fn works_come_one_after_the_other_each_at_its_own_rate() {
        let book = Book::default();
        let line = "--works bulk,pingpong-64 --rounds 1 --rate pingpong-64=50";
        let (found, ended) = course(line, &two(&book));
        ended.unwrap();
        // A stream is offered by its bytes, and paced by its messages.
        assert_eq!(book.rates(), [200.0, 200.0, 50.0, 50.0]);
        let message = f64::from(256 << 10);
        let offered: Vec<Option<f64>> = found.works.iter().map(|of| of.offered).collect();
        assert_eq!(offered, [Some(200.0 * message), Some(50.0)]);
        assert_eq!(
            book.turns().iter().map(|(_, full)| *full).collect::<Vec<_>>(),
            [true, true, false, false, true, true, false, false]
        );
    }

    #[test]
    fn only_who_ends_tls_is_put_under_it() {
        let book = Book::default();
        let entrants = Candidate::ALL.map(|candidate| nobody(candidate, &book, 100.0));
        course("--works tls-pingpong-64 --rounds 1", &entrants).1.unwrap();
        let ran: Vec<Candidate> = book.turns().into_iter().map(|(who, _)| who).collect();
        let able = Candidate::ALL.into_iter().filter(|of| of.ends_tls());
        assert_eq!(ran[..able.clone().count()], able.collect::<Vec<_>>());
    }

    #[test]
    fn a_run_that_fails_is_told_and_the_others_go_on() {
        let book = Book::default();
        let [ringmain, nginx] = two(&book);
        // Its second at full speed, and its first at the offered rate.
        let entrants = [ringmain, Nobody { fails: &[1, 3], ..nginx }];
        let (found, ended) = course("--works pingpong-64 --rounds 3", &entrants);
        ended.unwrap();
        assert_eq!(book.turns().len(), 12);
        let [report] = &found.works[..] else { panic!("{} works", found.works.len()) };
        let counts = |row: &Row| [row.full.len(), row.paced.len(), row.faults.len()];
        assert_eq!(report.rows.iter().map(counts).collect::<Vec<_>>(), [[3, 3, 0], [2, 2, 2]]);
        assert!(
            report.rows[1].faults[0].starts_with("lingering: 3 "),
            "{:?}",
            report.rows[1].faults
        );
        assert_eq!((report.offered, found.runs.len()), (Some(200.0), 5));
    }

    #[test]
    fn where_nobody_carries_anything_no_rate_is_offered() {
        let book = Book::default();
        let failing = two(&book).map(|nobody| Nobody { fails: &[0, 1], ..nobody });
        let (found, ended) = course("--works pingpong-64,connect-fin --rounds 2", &failing);
        ended.unwrap();
        assert!(book.turns()[..4].iter().all(|(_, full)| *full));
        // The faults are told, and the next work is tried: there both are well again.
        let faults = |of: &WorkReport| of.rows.iter().map(|row| row.faults.len()).sum::<usize>();
        let works: Vec<_> = found.works.iter().map(|of| (of.offered, faults(of))).collect();
        assert_eq!(works, [(None, 4), (Some(200.0), 0)]);
    }

    #[test]
    fn what_was_found_before_somebody_ends_it_is_kept() {
        let line = "--works pingpong-64,connect-fin,idle --rounds 2";
        // A work takes eight runs. Of each: runs at full speed and paced, of both.
        for (patience, figures) in [
            (0, vec![]),
            (1, vec![[1, 0]]),
            (3, vec![[3, 0]]),
            (5, vec![[4, 1]]),
            (8, vec![[4, 4]]),
            (9, vec![[4, 4], [1, 0]]),
        ] {
            let book = Book { patience: Some(patience), ..Book::default() };
            let (found, ended) = course(line, &two(&book));
            assert!(matches!(ended, Err(Failure::Interrupted)), "{patience}: {ended:?}");
            // Nobody was asked for anything after that.
            assert_eq!(book.turns().len(), patience + 1);
            assert!(book.weighed.borrow().is_empty());
            let sums = |of: &WorkReport| {
                let runs = |of: fn(&Row) -> &Vec<Figures>| move |row| of(row).len();
                let rows = || of.rows.iter();
                [rows().map(runs(|row| &row.full)).sum(), rows().map(runs(|row| &row.paced)).sum()]
            };
            let kept: Vec<[usize; 2]> = found.works.iter().map(sums).collect();
            assert_eq!(kept, figures, "{patience}");
            assert_eq!(found.is_empty(), patience == 0);
            let paced: usize = figures.iter().map(|of| of[1]).sum();
            assert_eq!(found.runs.len(), paced, "{patience}");
        }
    }

    #[test]
    fn memory_is_that_of_further_connections_in_three_rounds_at_most() {
        for (rounds, weighed) in [(2, 2), (9, 3)] {
            let book = Book::default();
            let [ringmain, nginx] = two(&book);
            let entrants = [ringmain, Nobody { fails: &[1], ..nginx }];
            let (found, ended) = course(&format!("--works idle --rounds {rounds}"), &entrants);
            ended.unwrap();
            let asked = |who| (who, Work::Idle, [1_000, 3_000], Duration::from_secs(2));
            let both = [asked(Candidate::Ringmain), asked(Candidate::Nginx)];
            assert_eq!(*book.weighed.borrow(), both.repeat(weighed));
            assert!(book.turns().is_empty() && found.works.is_empty());
            let [report] = &found.memory[..] else { panic!("{} of them", found.memory.len()) };
            assert_eq!((report.work, report.connections), (Work::Idle, 2_000));
            let counts = |row: &MemoryRow| [row.runs.len(), row.faults.len()];
            let kept: Vec<_> = report.rows.iter().map(counts).collect();
            assert_eq!(kept, [[weighed, 0], [weighed - 1, 1]]);
            assert!(report.rows[0].runs.iter().all(|run| run.pss_per_connection == 1024.0));
        }
    }

    #[test]
    fn memory_that_was_read_before_somebody_ends_it_is_kept() {
        for (patience, kept) in [(0, None), (1, Some([1, 0])), (3, Some([2, 1]))] {
            let book = Book { patience: Some(patience), ..Book::default() };
            let (found, ended) = course("--works idle,tls-idle --rounds 2", &two(&book));
            assert!(matches!(ended, Err(Failure::Interrupted)), "{ended:?}");
            let runs = |of: &MemoryReport| [0, 1].map(|at| of.rows[at].runs.len());
            assert_eq!(found.memory.first().map(runs), kept);
            assert_eq!(book.weighed.borrow().len(), patience + 1);
        }
    }

    #[test]
    fn half_of_what_the_slowest_carried_is_offered_to_all() {
        let run = |rate| Figures {
            rate,
            cpu: 1.0,
            proxy_share: 1.0,
            proxy_cpu_busy: 1.0,
            load_cpu_busy: 1.0,
            latency: None,
        };
        let row = |candidate, rates: [f64; 3]| Row {
            full: rates.map(run).to_vec(),
            ..Row::new(candidate)
        };
        // The median of each counts, and who carried nothing is no measure.
        let rows = [
            row(Candidate::Nginx, [900.0, 100.0, 800.0]),
            row(Candidate::Tokio, [600.0, 700.0, 9_000.0]),
            Row::new(Candidate::Haproxy),
        ];
        assert_eq!(offered(None, &rows), Some(350.0));
        assert_eq!(offered(Some(50.0), &rows), Some(50.0));
        assert_eq!(offered(None, &rows[2..]), None);
    }

    #[test]
    fn only_who_ends_tls_is_asked_to() {
        let subject = |protocol| Subject::Protocol { protocol, connections: 1, size: 1 };
        let able = |of: Subject| Candidate::ALL.into_iter().filter(move |who| is_able(*who, of));
        assert_eq!(able(subject(Protocol::Ndjson)).count(), Candidate::ALL.len());
        for sealed in [subject(Protocol::SyslogTls), Subject::Work(Work::TlsIdle)] {
            assert!(able(sealed).all(Candidate::ends_tls));
        }
    }
}
