//! Who has which bracket open on a buffer.

use core::fmt;
use core::num::NonZeroU32;
use core::ops::{Deref, DerefMut};

use super::{Access, Range};

/// Who opens brackets: a process, told by whatever number its home knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub u64);

/// An access that has begun and must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bracket {
    /// Who began it.
    pub owner: Owner,
    /// What it may do.
    pub access: Access,
    /// Where it may do it.
    pub range: Range,
}

impl Bracket {
    /// Whether this bracket lets `owner` do `access` somewhere in `range`.
    pub fn allows(&self, owner: Owner, access: Access, range: Range) -> bool {
        self.owner == owner && self.access.allows(access) && self.range.overlaps(range)
    }
}

/// A place for one bracket, or for several that are alike. Callers provide these, since this crate
/// does not allocate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slot(Option<(Bracket, NonZeroU32)>);

/// Whether mistakes are tolerated, as the mainline kernel does on most exporters, or told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// [`Ended::mistake`] is always `None`.
    Lenient,
    /// [`Ended::mistake`] says what was wrong.
    Strict,
}

/// What was wrong with an END.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Its owner has no bracket open.
    NotBegun,
    /// Its owner has only brackets of another direction open: `begun` is what it began.
    OtherDirection {
        /// The direction of the START.
        begun: Access,
    },
    /// Its range has no byte in common with any bracket that its owner has open.
    OtherRange {
        /// The range of the START.
        begun: Range,
    },
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mistake::NotBegun => f.write_str("END without a START"),
            Mistake::OtherDirection { begun } => {
                write!(f, "END in another direction than its START, which was {begun}")
            }
            Mistake::OtherRange { begun } => {
                write!(f, "END of another range than its START, which was {begun}")
            }
        }
    }
}

/// What an END amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The bracket that it closes, if there is one.
    pub begun: Option<Bracket>,
    /// The access and range to sync.
    ///
    /// A range smaller than the START's is a hint and taken as it is; a larger one is cut to what
    /// was begun. Where the directions differ the worst of both is assumed.
    pub sync: Bracket,
    /// What was wrong with it, if the rules are strict.
    pub mistake: Option<Mistake>,
}

/// There is no slot left: give the ledger more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The open brackets of one buffer.
///
/// Brackets of any number of owners may overlap and nest; beginning the same bracket twice takes
/// two ENDs.
#[derive(Clone, Debug)]
pub struct Ledger<S> {
    rules: Rules,
    slots: S,
}

impl<S: Deref<Target = [Slot]>> Ledger<S> {
    /// The ledger over `slots`.
    pub const fn new(rules: Rules, slots: S) -> Self {
        Ledger { rules, slots }
    }

    /// The open brackets, each once however often it was begun.
    pub fn open(&self) -> impl Iterator<Item = &Bracket> + Clone {
        open(&self.slots)
    }

    /// What [`Ledger::end`] would answer now, for those who have to prepare for it while the bracket
    /// is still open.
    pub fn ending(&self, bracket: Bracket) -> Ended {
        self.ended(bracket, self.closed_by(bracket))
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// What it amounts to that `bracket` ends the one in slot `closed`.
    fn ended(&self, bracket: Bracket, closed: Option<usize>) -> Ended {
        let told = |mistake| (self.rules == Rules::Strict).then_some(mistake);
        let begun = closed.and_then(|index| self.slots[index].0).map(|(begun, _)| begun);
        let Some(begun) = begun else {
            return Ended { begun: None, sync: bracket, mistake: told(Mistake::NotBegun) };
        };
        let mistake = if begun.access != bracket.access {
            told(Mistake::OtherDirection { begun: begun.access })
        } else if !begun.range.overlaps(bracket.range) {
            told(Mistake::OtherRange { begun: begun.range })
        } else {
            None
        };
        let sync = Bracket {
            owner: bracket.owner,
            access: begun.access.union(bracket.access),
            range: begun.range.intersect(bracket.range).unwrap_or(begun.range),
        };
        Ended { begun: Some(begun), sync, mistake }
    }

    /// The slot of the bracket that `bracket` ends.
    fn closed_by(&self, bracket: Bracket) -> Option<usize> {
        let likeness = |open: &Bracket| {
            if open.owner != bracket.owner {
                return 0;
            }
            let direction = if open.access == bracket.access { 4 } else { 0 };
            let range = if open.range == bracket.range {
                3
            } else if open.range.contains(bracket.range) {
                2
            } else if open.range.overlaps(bracket.range) {
                1
            } else {
                0
            };
            1 + direction + range
        };
        let candidates = self.slots.iter().enumerate();
        candidates
            .map(|(index, slot)| (index, slot.0.as_ref().map_or(0, |(open, _)| likeness(open))))
            .max_by_key(|&(_, likeness)| likeness)
            .filter(|&(_, likeness)| likeness > 0)
            .map(|(index, _)| index)
    }
}

/// The brackets in `slots`.
pub(super) fn open(slots: &[Slot]) -> impl Iterator<Item = &Bracket> + Clone {
    slots.iter().filter_map(|slot| slot.0.as_ref().map(|(bracket, _)| bracket))
}

impl<S: DerefMut<Target = [Slot]>> Ledger<S> {
    /// Writes down that `bracket` has begun.
    pub fn begin(&mut self, bracket: Bracket) -> Result<(), Full> {
        let mut free = None;
        for slot in self.slots.iter_mut() {
            match &mut slot.0 {
                Some((open, count)) if *open == bracket && *count < NonZeroU32::MAX => {
                    *count = count.saturating_add(1);
                    return Ok(());
                }
                None => free = free.or(Some(slot)),
                Some(_) => {}
            }
        }
        free.ok_or(Full)?.0 = Some((bracket, NonZeroU32::MIN));
        Ok(())
    }

    /// Ends one bracket: the one that was begun alike; else one of the same direction, that holds
    /// the range if there is one; else, tolerantly, one of another direction.
    ///
    /// Where the range is smaller than that of several brackets it could mean, what stays open
    /// covers all of them: whichever was meant, the stores in the others are not forgotten.
    #[inline]
    pub fn end(&mut self, bracket: Bracket) -> Ended {
        let alike = |slot: &Slot| matches!(slot.0, Some((open, _)) if open == bracket);
        match self.slots.iter().position(alike) {
            Some(index) => {
                self.close(index);
                Ended { begun: Some(bracket), sync: bracket, mistake: None }
            }
            None => self.end_another(bracket),
        }
    }

    /// Ends one that was begun otherwise.
    #[cold]
    fn end_another(&mut self, bracket: Bracket) -> Ended {
        let closed = self.closed_by(bracket);
        let ended = self.ended(bracket, closed);
        if let Some(index) = closed {
            let begun = self.close(index);
            if begun.range != bracket.range && begun.range.contains(bracket.range) {
                self.widen(begun, bracket.range);
            }
        }
        ended
    }

    /// Ends one bracket of an owner who is gone; call it until there is none.
    pub fn abandon(&mut self, owner: Owner) -> Option<Bracket> {
        let index = self
            .slots
            .iter()
            .position(|slot| matches!(slot.0, Some((open, _)) if open.owner == owner))?;
        Some(self.close(index))
    }

    /// The caller's slots, to add more after [`Full`].
    pub fn slots_mut(&mut self) -> &mut S {
        &mut self.slots
    }

    /// Takes one START out of slot `index`, which is in use.
    fn close(&mut self, index: usize) -> Bracket {
        let slot = &mut self.slots[index].0;
        let (bracket, count) = slot.as_mut().expect("the slot holds a bracket");
        let bracket = *bracket;
        match NonZeroU32::new(count.get() - 1) {
            Some(left) => *count = left,
            None => *slot = None,
        }
        bracket
    }

    /// Lets a bracket like `closed` that holds `range` too cover what `closed` did.
    fn widen(&mut self, closed: Bracket, range: Range) {
        let open = self.slots.iter_mut().filter_map(|slot| slot.0.as_mut()).map(|(open, _)| open);
        let mut alike =
            open.filter(|open| (open.owner, open.access) == (closed.owner, closed.access));
        if let Some(open) = alike.find(|open| open.range.contains(range)) {
            open.range = open.range.hull(closed.range);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use Access::{Read, ReadWrite, Write};

    const A: Owner = Owner(1);
    const B: Owner = Owner(2);

    fn bracket(owner: Owner, access: Access, start: u64, end: u64) -> Bracket {
        Bracket { owner, access, range: Range::between(start, end).unwrap() }
    }

    fn strict() -> Ledger<Vec<Slot>> {
        Ledger::new(Rules::Strict, vec![Slot::default(); 4])
    }

    #[test]
    fn a_bracket_begun_twice_ends_twice() {
        let mut ledger = strict();
        let whole = bracket(A, ReadWrite, 0, 100);
        ledger.begin(whole).unwrap();
        ledger.begin(whole).unwrap();
        assert_eq!(ledger.end(whole), Ended { begun: Some(whole), sync: whole, mistake: None });
        assert_eq!(ledger.open().count(), 1);
        assert_eq!(ledger.end(whole), Ended { begun: Some(whole), sync: whole, mistake: None });
        assert_eq!(ledger.open().count(), 0);
        assert_eq!(ledger.end(whole).mistake, Some(Mistake::NotBegun));
    }

    #[test]
    fn an_end_closes_a_start_of_its_own_direction_and_owner() {
        let mut ledger = strict();
        for begun in [bracket(A, Read, 0, 10), bracket(A, Write, 0, 10), bracket(B, Write, 0, 10)] {
            ledger.begin(begun).unwrap();
        }
        assert_eq!(ledger.end(bracket(A, Write, 0, 10)).mistake, None);
        let left: Vec<_> = ledger.open().copied().collect();
        assert_eq!(left, [bracket(A, Read, 0, 10), bracket(B, Write, 0, 10)]);
    }

    #[test]
    fn a_mismatched_direction_syncs_the_worst_and_is_told_only_by_strict_rules() {
        for rules in [Rules::Strict, Rules::Lenient] {
            let mut ledger = Ledger::new(rules, vec![Slot::default(); 1]);
            ledger.begin(bracket(A, Read, 0, 10)).unwrap();
            let ended = ledger.end(bracket(A, Write, 0, 10));
            assert_eq!(ended.sync.access, ReadWrite);
            let told = (rules == Rules::Strict).then_some(Mistake::OtherDirection { begun: Read });
            assert_eq!(ended.mistake, told);
            assert_eq!(ledger.open().count(), 0);
        }
    }

    #[test]
    fn the_range_of_an_end_can_only_save_work() {
        let mut ledger = strict();
        ledger.begin(bracket(A, Write, 10, 20)).unwrap();
        assert_eq!(ledger.end(bracket(A, Write, 0, 100)).sync, bracket(A, Write, 10, 20));
        ledger.begin(bracket(A, Write, 0, 100)).unwrap();
        assert_eq!(ledger.end(bracket(A, Write, 10, 20)).sync, bracket(A, Write, 10, 20));
        ledger.begin(bracket(A, Write, 0, 10)).unwrap();
        let ended = ledger.end(bracket(A, Write, 50, 60));
        assert_eq!(ended.sync, bracket(A, Write, 0, 10));
        assert!(matches!(ended.mistake, Some(Mistake::OtherRange { .. })));
    }

    #[test]
    fn an_end_that_could_mean_either_of_two_forgets_neither() {
        for last in [bracket(A, Write, 0, 64), bracket(A, Write, 32, 96)] {
            let mut ledger = strict();
            ledger.begin(bracket(A, Write, 0, 64)).unwrap();
            ledger.begin(bracket(A, Write, 32, 96)).unwrap();
            let hint = bracket(A, Write, 32, 40);
            assert_eq!(ledger.ending(hint), ledger.end(hint));
            let ended = ledger.end(last);
            assert_eq!((ended.sync, ended.mistake), (last, None));
            assert_eq!(ledger.open().count(), 0);
        }
    }

    /// An END as begun does not rank what is open: it ends what ranking would have ended.
    #[test]
    fn the_short_way_to_an_end_leads_where_the_long_one_does() {
        let mut all = Vec::new();
        for owner in [A, B] {
            for access in [Read, Write, ReadWrite] {
                for (start, end) in [(0, 10), (0, 5), (5, 10)] {
                    all.push(bracket(owner, access, start, end));
                }
            }
        }
        let slots = |ledger: &Ledger<Vec<Slot>>| Vec::from_iter(ledger.slots.iter().map(|s| s.0));
        for begun in (0..all.len().pow(3)).map(|n| [n, n / 18, n / 18 / 18].map(|n| all[n % 18])) {
            let mut ledger = strict();
            begun.iter().for_each(|&begun| ledger.begin(begun).unwrap());
            for &end in &all {
                let (mut short, mut long) = (ledger.clone(), ledger.clone());
                assert_eq!(short.end(end), long.end_another(end), "{begun:?}");
                assert_eq!(slots(&short), slots(&long), "{begun:?} and {end:?}");
            }
        }
    }

    #[test]
    fn more_alike_than_can_be_counted_take_another_slot() {
        let whole = bracket(A, Read, 0, 1);
        let slots = vec![Slot(Some((whole, NonZeroU32::MAX))), Slot::default()];
        let mut ledger = Ledger::new(Rules::Strict, slots);
        ledger.begin(whole).unwrap();
        assert_eq!(ledger.open().count(), 2);
    }

    #[test]
    fn the_dead_leave_nothing_open() {
        let mut ledger = strict();
        ledger.begin(bracket(A, Read, 0, 10)).unwrap();
        ledger.begin(bracket(A, Write, 5, 10)).unwrap();
        ledger.begin(bracket(A, Write, 5, 10)).unwrap();
        ledger.begin(bracket(B, Write, 5, 10)).unwrap();
        let mut abandoned = 0;
        while ledger.abandon(A).is_some() {
            abandoned += 1;
        }
        assert_eq!(abandoned, 3);
        assert!(ledger.open().all(|open| open.owner == B));
    }

    #[test]
    fn a_full_ledger_says_so_and_takes_more_slots() {
        let mut ledger = Ledger::new(Rules::Lenient, vec![Slot::default(); 1]);
        ledger.begin(bracket(A, Read, 0, 1)).unwrap();
        assert_eq!(ledger.begin(bracket(A, Read, 1, 2)), Err(Full));
        ledger.slots_mut().push(Slot::default());
        ledger.begin(bracket(A, Read, 1, 2)).unwrap();
        assert_eq!(ledger.open().count(), 2);
    }
}
