//! Sends whose success the kernel does not announce: which of them have succeeded.
//!
//! A send is done, or refused, while it is submitted, and only a refusal posts a completion. So of
//! the entries that the kernel has consumed, every send without a completion has succeeded.

use std::collections::VecDeque;

use super::{Completion, Kind, Token};

/// The sends of one ring that were queued and not yet concluded, in the order of submission.
#[derive(Debug, Default)]
pub(super) struct SilentSends {
    queued: VecDeque<Queued>,
    /// Entries queued on the ring so far, sends and others.
    entries: u64,
}

#[derive(Debug)]
struct Queued {
    token: Token,
    length: u32,
    /// How many entries were queued before it.
    place: u64,
}

impl SilentSends {
    /// A send that is queued next.
    pub(super) fn push(&mut self, token: Token, length: u32) {
        self.queued.push_back(Queued { token, length, place: self.entries });
    }

    /// An entry of any kind was queued.
    pub(super) fn pushed(&mut self) {
        self.entries += 1;
    }

    /// Appends the completions of the sends that have succeeded. `unsubmitted` entries were not
    /// consumed by the kernel; `completions[from..]` are all that it has posted since the last
    /// time.
    pub(super) fn conclude(
        &mut self,
        unsubmitted: usize,
        from: usize,
        completions: &mut Vec<Completion>,
    ) {
        let consumed = self.entries - unsubmitted as u64;
        let due = self.queued.iter().take_while(|send| send.place < consumed).count();
        if due == 0 {
            return;
        }
        let is_send = |completion: &&Completion| completion.token.kind() == Kind::Send;
        let mut refused: Vec<Token> =
            completions[from..].iter().filter(is_send).map(|refused| refused.token).collect();
        for send in self.queued.drain(..due) {
            if let Some(index) = refused.iter().position(|token| *token == send.token) {
                refused.swap_remove(index);
                continue;
            }
            completions.push(Completion {
                token: send.token,
                result: send.length as i32,
                buffer: None,
                more: false,
                nonempty: false,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(slot: u32) -> Token {
        Token::new(slot, 0, Kind::Send)
    }

    fn refusal(slot: u32, result: i32) -> Completion {
        Completion { token: token(slot), result, buffer: None, more: false, nonempty: false }
    }

    #[test]
    fn what_was_consumed_and_not_refused_has_succeeded() {
        let mut sends = SilentSends::default();
        for slot in 0..4 {
            sends.push(token(slot), 100 + slot);
            sends.pushed();
            // Something else in between.
            sends.pushed();
        }
        let mut completions = vec![refusal(9, -1), refusal(1, -11)];
        sends.conclude(2, 1, &mut completions);
        let said: Vec<_> = completions[2..].iter().map(|c| (c.token, c.result)).collect();
        assert_eq!(said, [(token(0), 100), (token(2), 102)]);
        let mut rest = Vec::new();
        sends.conclude(0, 0, &mut rest);
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].token, token(3));
    }
}
