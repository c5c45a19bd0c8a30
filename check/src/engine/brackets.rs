//! The brackets that are open on a buffer, and what they allow.

use super::sys::PAGE;

/// What a bracket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Loads.
    Read,
    /// Stores.
    Write,
    /// Both.
    Both,
}

impl Direction {
    /// That of an ioctl's flags, if they name one.
    pub fn of_flags(flags: u64) -> Option<Direction> {
        match flags & dmabuf_uapi::DMA_BUF_SYNC_RW {
            dmabuf_uapi::DMA_BUF_SYNC_READ => Some(Direction::Read),
            dmabuf_uapi::DMA_BUF_SYNC_WRITE => Some(Direction::Write),
            dmabuf_uapi::DMA_BUF_SYNC_RW => Some(Direction::Both),
            _ => None,
        }
    }

    fn allows(self) -> Allowed {
        match self {
            Direction::Read => Allowed::Read,
            // No processor has pages that can be written and not read.
            Direction::Write | Direction::Both => Allowed::Write,
        }
    }
}

/// What may be done with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Allowed {
    /// Nothing.
    Nothing,
    /// Loads.
    Read,
    /// Loads and stores.
    Write,
}

/// Bytes of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub start: u64,
    /// The one after the last.
    pub end: u64,
}

impl Range {
    /// All of a buffer.
    pub const WHOLE: Range = Range { start: 0, end: u64::MAX };

    /// Whether both have a byte.
    pub fn overlaps(self, other: Range) -> bool {
        self.start < other.end && other.start < self.end
    }

    fn holds(self, other: Range) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The pages that it is in.
    fn pages(self) -> Range {
        let mask = !(PAGE as u64 - 1);
        let end = self.end.checked_next_multiple_of(PAGE as u64).unwrap_or(u64::MAX);
        Range { start: self.start & mask, end }
    }
}

/// Where a bracket was begun: a number that the caller gives.
pub type Site = u16;

/// One that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bracket {
    /// What for.
    pub direction: Direction,
    /// Where.
    pub range: Range,
    /// Begun at.
    pub site: Site,
    /// Unmapped meanwhile, at.
    pub unmapped: Option<Site>,
    /// Begun by the process that this one was forked from, or only as if: its end is not missed.
    pub excused: bool,
}

/// What an END closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The last bracket of its direction and range.
    Its(Bracket),
    /// A bracket of another direction.
    OfAnotherDirection(Bracket),
    /// None: none was open.
    None,
}

/// How many may be open at a time.
const ROOM: usize = 64;

/// All that are open, the oldest first.
#[derive(Clone, Copy)]
pub struct Brackets {
    open: [Option<Bracket>; ROOM],
    len: usize,
}

impl Brackets {
    /// None.
    pub const fn new() -> Brackets {
        Brackets { open: [None; ROOM], len: 0 }
    }

    /// The open ones, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Bracket> {
        self.open[..self.len].iter().flatten()
    }

    /// The open ones.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Bracket> {
        self.open[..self.len].iter_mut().flatten()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Begins one; false if there is no room.
    pub fn begin(&mut self, bracket: Bracket) -> bool {
        if self.len == ROOM {
            return false;
        }
        self.open[self.len] = Some(bracket);
        self.len += 1;
        true
    }

    /// Excuses the oldest that is not excused yet, and tells where it was begun.
    pub fn excuse_one(&mut self) -> Option<Site> {
        let bracket = self.iter_mut().find(|bracket| !bracket.excused)?;
        bracket.excused = true;
        Some(bracket.site)
    }

    /// Ends one: the latest of this direction and range; else the latest of this direction that
    /// holds the range, else that overlaps it; else of another direction, in the same order.
    pub fn end(&mut self, direction: Direction, range: Range) -> Ended {
        let same = |bracket: &Bracket| bracket.direction == direction;
        let found = self
            .latest(|bracket| same(bracket) && bracket.range == range)
            .or_else(|| self.latest(|bracket| same(bracket) && bracket.range.holds(range)))
            .or_else(|| self.latest(|bracket| same(bracket) && bracket.range.overlaps(range)));
        if let Some(index) = found {
            return self.remove(index).map_or(Ended::None, Ended::Its);
        }
        let other = self
            .latest(|bracket| bracket.range == range)
            .or_else(|| self.latest(|bracket| bracket.range.overlaps(range)));
        other.and_then(|index| self.remove(index)).map_or(Ended::None, Ended::OfAnotherDirection)
    }

    fn latest(&self, is: impl Fn(&Bracket) -> bool) -> Option<usize> {
        (0..self.len).rev().find(|&index| self.open[index].as_ref().is_some_and(&is))
    }

    fn remove(&mut self, index: usize) -> Option<Bracket> {
        let bracket = self.open[index];
        self.open.copy_within(index + 1..self.len, index);
        self.len -= 1;
        bracket
    }

    /// What may be done with the page that begins at this offset, and up to which offset the same
    /// holds.
    pub fn allowed(&self, page: u64) -> (Allowed, u64) {
        let here = Range { start: page, end: page + PAGE as u64 };
        let (mut allowed, mut until) = (Allowed::Nothing, u64::MAX);
        for bracket in self.iter() {
            let pages = bracket.range.pages();
            if pages.overlaps(here) {
                allowed = allowed.max(bracket.direction.allows());
                until = until.min(pages.end);
            } else if pages.start > page {
                until = until.min(pages.start);
            }
        }
        (allowed, until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bracket(direction: Direction, start: u64, end: u64, site: Site) -> Bracket {
        let range = Range { start, end };
        Bracket { direction, range, site, unmapped: None, excused: false }
    }

    fn site(ended: Ended) -> Option<Site> {
        match ended {
            Ended::Its(bracket) => Some(bracket.site),
            _ => None,
        }
    }

    #[test]
    fn an_end_closes_the_latest_of_its_direction() {
        let mut brackets = Brackets::new();
        for (number, direction) in
            [Direction::Write, Direction::Read, Direction::Write].iter().enumerate()
        {
            assert!(brackets.begin(bracket(*direction, 0, u64::MAX, number as Site)));
        }
        assert_eq!(site(brackets.end(Direction::Write, Range::WHOLE)), Some(2));
        assert_eq!(site(brackets.end(Direction::Write, Range::WHOLE)), Some(0));
        let other = brackets.end(Direction::Write, Range::WHOLE);
        assert!(matches!(other, Ended::OfAnotherDirection(bracket) if bracket.site == 1));
        assert_eq!(brackets.end(Direction::Write, Range::WHOLE), Ended::None);
    }

    #[test]
    fn an_end_closes_the_bracket_of_its_range() {
        let mut brackets = Brackets::new();
        brackets.begin(bracket(Direction::Read, 0, 100, 0));
        brackets.begin(bracket(Direction::Read, 100, 200, 1));
        assert_eq!(site(brackets.end(Direction::Read, Range { start: 0, end: 100 })), Some(0));
        assert_eq!(site(brackets.end(Direction::Read, Range { start: 120, end: 130 })), Some(1));
    }

    #[test]
    fn a_page_is_open_if_any_bracket_has_a_byte_of_it() {
        let page = PAGE as u64;
        let mut brackets = Brackets::new();
        brackets.begin(bracket(Direction::Read, page, 3 * page + 1, 0));
        brackets.begin(bracket(Direction::Write, 2 * page, 2 * page + 1, 0));
        let all: Vec<_> = (0..6).map(|number| brackets.allowed(number * page).0).collect();
        use Allowed::{Nothing, Read, Write};
        assert_eq!(all, [Nothing, Read, Write, Read, Nothing, Nothing]);
        assert_eq!(brackets.allowed(0), (Nothing, page));
        assert_eq!(brackets.allowed(page), (Read, 2 * page));
        assert_eq!(brackets.allowed(4 * page), (Nothing, u64::MAX));
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut brackets = Brackets::new();
        for number in 0..ROOM {
            assert!(brackets.begin(bracket(Direction::Read, 0, 1, number as Site)));
        }
        assert!(!brackets.begin(bracket(Direction::Read, 0, 1, 0)));
        assert_eq!(brackets.len(), ROOM);
    }
}
