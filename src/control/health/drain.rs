//! Whether a member drains: what lists it and the operator may each say so. Knows nothing of what
//! follows.

/// The words on one member. Of the operator and the list, whoever spoke last counts; but the
/// operator's drain holds until the operator ends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Drain {
    /// The configuration or a file lists the member with `drain`.
    listed: bool,
    /// None: the operator has said nothing that still counts.
    order: Option<Order>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Drain,
    /// Given against the list, and until the list has another word.
    Ready,
}

impl Drain {
    pub(super) fn is_on(self) -> bool {
        match self.order {
            Some(Order::Drain) => true,
            Some(Order::Ready) => false,
            None => self.listed,
        }
    }

    /// It is to be remembered while the member is away.
    pub(super) fn is_ordered(self) -> bool {
        self.order.is_some()
    }

    /// What the list says now.
    pub(super) fn list(&mut self, listed: bool) {
        if listed != self.listed && self.order == Some(Order::Ready) {
            self.order = None;
        }
        self.listed = listed;
    }

    /// What the operator says.
    pub(super) fn order(&mut self, drain: bool) {
        self.order = match drain {
            true => Some(Order::Drain),
            false => self.listed.then_some(Order::Ready),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_alone_has_the_word_until_the_operator_speaks() {
        let mut drain = Drain::default();
        assert!(!drain.is_on() && !drain.is_ordered());
        drain.list(true);
        assert!(drain.is_on() && !drain.is_ordered());
        drain.list(false);
        assert!(!drain.is_on());
    }

    #[test]
    fn what_the_operator_drains_no_list_lets_in() {
        let mut drain = Drain::default();
        drain.order(true);
        for listed in [true, false, true] {
            drain.list(listed);
            assert!(drain.is_on());
        }
        drain.list(false);
        drain.order(false);
        assert!(!drain.is_on() && !drain.is_ordered());
    }

    #[test]
    fn what_the_operator_lets_in_stays_in_until_the_list_says_something_new() {
        let mut drain = Drain::default();
        drain.list(true);
        drain.order(false);
        drain.list(true);
        assert!(!drain.is_on(), "the same word, read again");
        drain.list(false);
        assert!(!drain.is_on());
        drain.list(true);
        assert!(drain.is_on(), "a new word");
    }
}
