//! How sessions are told to end: a worker's commands are passed on to them here, to all, or to
//! those of one backend. It knows of each what it takes to choose among them.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::engine::Time;
use crate::observe::CloseReason;

use super::accounts::Account;

/// The sessions of one worker that can be told something.
#[derive(Default)]
pub(super) struct Controls(RefCell<Lines>);

#[derive(Default)]
struct Lines {
    lines: Vec<Line>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Line {
    asked: Option<CloseReason>,
    /// Whom to wake when it is asked.
    waker: Option<Waker>,
    in_use: bool,
    bond: Bond,
    /// The hash by which its backend was chosen; 0 where nothing is hashed.
    key: u64,
    /// When a byte moved last, in either direction; before that, when it was given its backend.
    last_activity: Time,
}

/// What a session has to do with a backend.
#[derive(Default)]
enum Bond {
    #[default]
    None,
    /// It tries to reach it.
    Reaching(Rc<Account>),
    Served(Rc<Account>),
}

/// A session's line; to be given back with `leave`.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineNumber(u32);

impl Controls {
    pub(super) fn enlist(&self) -> LineNumber {
        let lines = &mut *self.0.borrow_mut();
        let number = lines.free.pop().unwrap_or_else(|| {
            lines.lines.push(Line::default());
            lines.lines.len() as u32 - 1
        });
        lines.lines[number as usize] = Line { in_use: true, ..Line::default() };
        LineNumber(number)
    }

    pub(super) fn leave(&self, number: LineNumber) {
        let lines = &mut *self.0.borrow_mut();
        lines.lines[number.0 as usize] = Line::default();
        lines.free.push(number.0);
    }

    /// Sessions enlisted now.
    pub(super) fn open(&self) -> usize {
        let lines = self.0.borrow();
        lines.lines.len() - lines.free.len()
    }

    /// The session tries to reach a backend.
    pub(super) fn reaches(&self, number: LineNumber, account: &Rc<Account>) {
        let line = &mut self.0.borrow_mut().lines[number.0 as usize];
        line.bond = Bond::Reaching(Rc::clone(account));
    }

    /// It did so in vain. Whether that backend is lost does not concern it any more.
    pub(super) fn gives_up(&self, number: LineNumber) {
        let line = &mut self.0.borrow_mut().lines[number.0 as usize];
        line.bond = Bond::None;
        line.asked = line.asked.filter(|reason| *reason != CloseReason::BackendLost);
    }

    /// The session's backend is chosen by this hash.
    pub(super) fn has_key(&self, number: LineNumber, key: u64) {
        self.0.borrow_mut().lines[number.0 as usize].key = key;
    }

    /// The session has reached its backend.
    pub(super) fn is_served(&self, number: LineNumber, account: &Rc<Account>, now: Time) {
        let line = &mut self.0.borrow_mut().lines[number.0 as usize];
        line.bond = Bond::Served(Rc::clone(account));
        line.last_activity = now;
    }

    /// A byte has moved.
    pub(super) fn is_active(&self, number: LineNumber, now: Time) {
        self.0.borrow_mut().lines[number.0 as usize].last_activity = now;
    }

    pub(super) fn last_activity(&self, number: LineNumber) -> Time {
        self.0.borrow().lines[number.0 as usize].last_activity
    }

    /// Asks every session to end in order, for `reason`.
    pub(super) fn close_all(&self, reason: CloseReason) {
        for line in self.0.borrow_mut().lines.iter_mut().filter(|line| line.in_use) {
            line.ask(reason);
        }
    }

    /// Asks those that a backend serves to end in order, and those that try to reach it to try
    /// another one.
    pub(super) fn close_lost(&self, pool: &str, backend: &str) {
        for line in &mut self.0.borrow_mut().lines {
            let account = match &line.bond {
                Bond::Reaching(account) | Bond::Served(account) => account,
                Bond::None => continue,
            };
            if account.is_of(pool, backend) && line.asked.is_none() {
                line.ask(CloseReason::BackendLost);
            }
        }
    }

    /// Asks up to `count` sessions to end in order, so that they come to other backends: those in
    /// which no byte has moved for the longest time. `moves` is asked by the account and the key of
    /// each whether it is one of them.
    pub(super) fn move_idlest(&self, count: usize, moves: impl Fn(&Account, u64) -> bool) {
        let lines = &mut self.0.borrow_mut().lines;
        let is_one = |line: &Line| match &line.bond {
            Bond::Served(account) => line.asked.is_none() && moves(account, line.key),
            Bond::Reaching(_) | Bond::None => false,
        };
        let served = lines.iter().enumerate().filter(|(_, line)| is_one(line));
        let mut candidates: Vec<_> =
            served.map(|(index, line)| (line.last_activity, index)).collect();
        if count < candidates.len() {
            candidates.select_nth_unstable(count);
            candidates.truncate(count);
        }
        for (_, index) in candidates {
            lines[index].ask(CloseReason::Rebalanced);
        }
    }

    /// Completes when the session is asked to end.
    pub(super) fn asked(&self, number: LineNumber) -> Asked<'_> {
        Asked { controls: self, number }
    }
}

impl Line {
    fn ask(&mut self, reason: CloseReason) {
        self.asked = Some(reason);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// See [`Controls::asked`].
pub(super) struct Asked<'c> {
    controls: &'c Controls,
    number: LineNumber,
}

impl Future for Asked<'_> {
    type Output = CloseReason;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<CloseReason> {
        let line = &mut self.controls.0.borrow_mut().lines[self.number.0 as usize];
        if let Some(reason) = line.asked {
            return Poll::Ready(reason);
        }
        match &mut line.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::super::accounts::tests::account;
    use super::*;

    fn asked(controls: &Controls, line: LineNumber) -> Option<CloseReason> {
        let context = &mut Context::from_waker(Waker::noop());
        match pin!(controls.asked(line)).poll(context) {
            Poll::Ready(reason) => Some(reason),
            Poll::Pending => None,
        }
    }

    #[test]
    fn everyone_is_told_and_a_newcomer_is_not() {
        let controls = Controls::default();
        let (first, second) = (controls.enlist(), controls.enlist());
        assert_eq!(asked(&controls, first), None);
        controls.close_all(CloseReason::Drained);
        for line in [first, second] {
            assert_eq!(asked(&controls, line), Some(CloseReason::Drained));
        }
        controls.leave(first);
        let newcomer = controls.enlist();
        assert_eq!(asked(&controls, newcomer), None);
        assert_eq!(controls.open(), 2);
    }

    #[test]
    fn a_lost_backends_sessions_are_told_and_those_of_another_are_not() {
        let controls = Controls::default();
        let accounts = [("p", "a"), ("p", "b"), ("q", "a")].map(|(pool, name)| account(pool, name));
        let lines = [(); 3].map(|()| controls.enlist());
        for (line, account) in lines.iter().zip(&accounts) {
            controls.is_served(*line, account, Time::default());
        }
        controls.close_lost("p", "a");
        let told = lines.map(|line| asked(&controls, line));
        assert_eq!(told, [Some(CloseReason::BackendLost), None, None]);
    }

    #[test]
    fn who_tries_to_reach_a_lost_backend_may_go_on_to_the_next() {
        let controls = Controls::default();
        let line = controls.enlist();
        controls.reaches(line, &account("p", "a"));
        controls.close_lost("p", "a");
        assert_eq!(asked(&controls, line), Some(CloseReason::BackendLost));
        controls.gives_up(line);
        assert_eq!(asked(&controls, line), None);
        controls.close_lost("p", "a");
        assert_eq!(asked(&controls, line), None, "it is nothing to it now");
        controls.close_all(CloseReason::Drained);
        controls.gives_up(line);
        assert_eq!(asked(&controls, line), Some(CloseReason::Drained));
    }

    #[test]
    fn the_longest_idle_go_first_and_nobody_is_chosen_twice() {
        let controls = Controls::default();
        let account = account("p", "a");
        let lines = [30, 10, 50, 20, 40].map(|activity| {
            let line = controls.enlist();
            controls.is_served(line, &account, Time::from_nanos(activity));
            line
        });
        controls.is_active(lines[1], Time::from_nanos(60));
        let told = || {
            lines.map(|line| asked(&controls, line)).map(|reason| {
                assert!(reason.is_none_or(|reason| reason == CloseReason::Rebalanced));
                reason.is_some()
            })
        };
        let of = |backend| move |account: &Account, _| account.is_of("p", backend);
        controls.move_idlest(9, of("b"));
        assert_eq!(told(), [false; 5]);
        controls.move_idlest(2, of("a"));
        assert_eq!(told(), [true, false, false, true, false]);
        controls.move_idlest(2, of("a"));
        assert_eq!(told(), [true, false, true, true, true]);
        controls.move_idlest(9, of("a"));
        assert_eq!(told(), [true; 5]);
    }

    #[test]
    fn a_session_is_known_by_the_key_that_it_was_given_last() {
        let controls = Controls::default();
        let lines = [7, 8, 9].map(|key| {
            let line = controls.enlist();
            controls.has_key(line, key);
            line
        });
        controls.has_key(lines[2], 8);
        for line in &lines[1..] {
            controls.is_served(*line, &account("p", "a"), Time::default());
        }
        controls.move_idlest(9, |_, key| key == 8);
        let told = lines.map(|line| asked(&controls, line).is_some());
        assert_eq!(told, [false, true, true]);
        controls.leave(lines[1]);
        let newcomer = controls.enlist();
        controls.is_served(newcomer, &account("p", "a"), Time::default());
        controls.move_idlest(9, |_, key| key == 8);
        assert_eq!(asked(&controls, newcomer), None, "that key was another's");
    }
}
