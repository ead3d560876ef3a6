//! Files that came and went between two listings: the directory's watch told of more than were found.
//!
//! Each log file is made once, under its restart's live name, and found once. What the watch told when a listing began
//! was made before it, so it is among the files that were found, or it is gone. Found files run ahead of what was told,
//! and are told later; when nothing was made since the listing before, none of them is.

/// How many log files were made, as the directory's watch tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Made {
    /// That many since it told last.
    Files(u64),
    /// There is no watch, or it has missed something.
    Unknown,
}

impl Made {
    /// What both tell.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Files(a), Self::Files(b)) => Self::Files(a.saturating_add(b)),
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
        }
    }
}

/// The account of one container's files.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    /// Told since the last listing.
    told: Option<Made>,
    /// At most so many found files are still to be told.
    ahead: u64,
}

impl Unseen {
    /// The watch told.
    pub(super) fn told(&mut self, made: Made) {
        self.told = Some(self.told.map_or(made, |told| told.and(made)));
    }

    /// Whether the watch cannot tell.
    pub(super) fn is_blind(&self) -> bool {
        self.told == Some(Made::Unknown)
    }

    /// Files were found in a listing that does not settle the account.
    pub(super) const fn found(&mut self, files: u64) {
        self.ahead = self.ahead.saturating_add(files);
    }

    /// A listing is over, and no file waits outside of it. `replaced`: the last file that was known before it had been
    /// removed. Says whether one was never seen; where the watch cannot tell, whether one may have been.
    pub(super) fn settle(&mut self, found: u64, replaced: bool) -> bool {
        match self.told.take() {
            None => {
                self.found(found);
                false
            }
            Some(Made::Unknown) => {
                self.found(found);
                replaced && found > 0
            }
            Some(Made::Files(made)) => {
                if made == 0 {
                    self.ahead = 0;
                }
                let known = self.ahead.saturating_add(found);
                self.ahead = known.saturating_sub(made);
                made > known
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account(told: &[Made]) -> Unseen {
        let mut unseen = Unseen::default();
        for made in told {
            unseen.told(*made);
        }
        unseen
    }

    #[test]
    fn a_file_that_is_made_and_not_found_was_never_seen() {
        assert!(!account(&[Made::Files(2)]).settle(2, false));
        assert!(account(&[Made::Files(2)]).settle(1, false));
        assert!(account(&[Made::Files(1), Made::Files(1)]).settle(1, false));
        assert!(!account(&[]).settle(1, true));
    }

    #[test]
    fn where_the_watch_cannot_tell_one_may_have_been_missed_behind_a_file_that_is_gone() {
        assert!(account(&[Made::Files(1), Made::Unknown]).settle(1, true));
        assert!(!account(&[Made::Unknown]).settle(1, false));
        assert!(!account(&[Made::Unknown]).settle(0, true));
    }

    /// What happens in a directory and to who looks at it.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Make,
        Remove,
        Tell,
        List,
    }

    proptest! {
        /// Looks begin at any time; what is told lags behind, and listings come with and without it.
        #[test]
        fn no_file_that_was_seen_is_missed_and_after_a_quiet_moment_none_that_was_not(
            events in prop::collection::vec(
                prop_oneof![Just(Event::Make), Just(Event::Remove), Just(Event::Tell), Just(Event::List)], 1..200),
        ) {
            let mut unseen = Unseen::default();
            let (mut there, mut untold, mut made, mut found) = (Vec::<u32>::new(), 0, 0, std::collections::BTreeSet::new());
            let (mut missed, mut removed_unseen) = (0_u64, 0_u64);
            let mut list = |unseen: &mut Unseen, there: &Vec<u32>, found: &mut std::collections::BTreeSet<u32>| {
                let new = there.iter().filter(|file| found.insert(**file)).count() as u64;
                missed += u64::from(unseen.settle(new, false));
                missed
            };
            for event in events {
                match event {
                    Event::Make => {
                        there.push(made);
                        (made, untold) = (made + 1, untold + 1);
                    }
                    Event::Remove => {
                        if !there.is_empty() {
                            removed_unseen += u64::from(!found.contains(&there.remove(0)));
                        }
                    }
                    Event::Tell => unseen.told(Made::Files(std::mem::take(&mut untold))),
                    Event::List => prop_assert!(list(&mut unseen, &there, &mut found) <= removed_unseen),
                }
            }
            // Once all is told, whatever was never seen was said at least once.
            unseen.told(Made::Files(untold));
            let missed = list(&mut unseen, &there, &mut found);
            prop_assert_eq!(missed > 0, removed_unseen > 0);
        }
    }
}
