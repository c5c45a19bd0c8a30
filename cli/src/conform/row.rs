//! A behaviour, and what a target's answer means for it.

use rustix::io::Errno;

use super::differs;
use super::names;
use super::target::{Family, Target};

/// What a check saw, in a word: `ok`, an errno's name, a value.
pub type Seen = Result<String, Stop>;

/// Why a check saw nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The behaviour is not one that this target can have here.
    NotHere(String),
    /// What has to work before it did not.
    Failed(String),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Stop {
        Stop::Failed(names::errno(errno))
    }
}

impl Stop {
    /// See [`Stop::NotHere`].
    pub fn not_here(why: impl Into<String>) -> Stop {
        Stop::NotHere(why.into())
    }
}

/// `ok`, or the errno's name.
pub fn saw<T>(result: Result<T, Errno>) -> Seen {
    Ok(match result {
        Ok(_) => "ok".to_owned(),
        Err(errno) => names::errno(errno),
    })
}

/// The first word if it is so, the second if not.
pub fn whether(so: bool, yes: &str, no: &str) -> Seen {
    Ok(if so { yes } else { no }.to_owned())
}

/// Whether a dma-buf has to behave so.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// It has to.
    Required(&'static str),
    /// Exporters differ: what the known ones do, by label or family; several answers of one, where
    /// they depend on the machine.
    MayDiffer(&'static [(&'static str, &'static str)]),
}

/// One behaviour.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it is called, for good: `group.what`.
    pub id: &'static str,
    /// The behaviour.
    pub says: &'static str,
    /// Where it is written, or which function of the kernel does so.
    pub from: &'static str,
    /// Whether it has to be so.
    pub level: Level,
    /// Looks.
    pub check: fn(&Target) -> Seen,
}

/// A behaviour that is required to be seen as `expected`.
pub const fn required(
    id: &'static str,
    says: &'static str,
    from: &'static str,
    expected: &'static str,
    check: fn(&Target) -> Seen,
) -> Row {
    let level = Level::Required(expected);
    Row { id, says, from, level, check }
}

/// A behaviour in which exporters differ.
pub const fn may_differ(
    id: &'static str,
    says: &'static str,
    from: &'static str,
    known: &'static [(&'static str, &'static str)],
    check: fn(&Target) -> Seen,
) -> Row {
    let level = Level::MayDiffer(known);
    Row { id, says, from, level, check }
}

/// What an exporter is known to do, by its label or its family. The kernel module's heaps have the
/// labels of served ones, and are heaps like mainline's.
pub fn known_answers<'a>(
    known: &'a [(&str, &'static str)],
    family: Family,
    label: &'a str,
) -> impl Iterator<Item = &'static str> + 'a {
    let has_own = family != Family::Heap && known.iter().any(|(who, _)| *who == label);
    let who = if has_own { label } else { family.name() };
    known.iter().filter(move |(known, _)| *known == who).map(|&(_, answer)| answer)
}

impl Row {
    /// The id's first part.
    pub fn group(&self) -> &'static str {
        self.id.split('.').next().unwrap_or(self.id)
    }

    /// What an answer of a target means.
    pub fn judge(&self, family: Family, label: &str, seen: &Seen) -> Verdict {
        let saw = match seen {
            Ok(saw) => saw.as_str(),
            Err(Stop::NotHere(_)) => return Verdict::NotHere,
            Err(Stop::Failed(_)) => return Verdict::Broken,
        };
        let known = match self.level {
            Level::Required(expected) if saw == expected => return Verdict::Holds,
            Level::Required(_) if family == Family::Served => {
                return differs::why(label, self.id, saw).map_or(Verdict::Broken, Verdict::Differs);
            }
            Level::Required(_) => return Verdict::Broken,
            Level::MayDiffer(known) => known,
        };
        let is_known = known_answers(known, family, label).any(|answer| answer == saw);
        if is_known { Verdict::Known } else { Verdict::New }
    }
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A required behaviour, kept.
    Holds,
    /// A required behaviour, not kept, or not to be seen for another failure.
    Broken,
    /// What a FUSE file cannot do, and why.
    Differs(&'static str),
    /// Exporters may differ here, and this one does what it is known to do.
    Known,
    /// Exporters may differ here, and of this one nothing is known, or something else.
    New,
    /// It cannot be asked of this target here.
    NotHere,
}

impl Verdict {
    /// In one word, for machines.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::Broken => "broken",
            Verdict::Differs(_) => "differs",
            Verdict::Known => "known",
            Verdict::New => "new",
            Verdict::NotHere => "not here",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRED: Row =
        required("file.statfs", "It is so.", "a document", "ok", |_| saw::<()>(Ok(())));
    const FREE: Row =
        may_differ("a.c", "It may be so.", "a function", &[("udmabuf", "EINVAL")], REQUIRED.check);

    fn seen(word: &str) -> Seen {
        Ok(word.to_owned())
    }

    #[test]
    fn a_required_behaviour_holds_or_is_broken() {
        let judge = |seen| REQUIRED.judge(Family::Heap, "system", &seen);
        assert_eq!(judge(seen("ok")), Verdict::Holds);
        assert_eq!(judge(seen("EIO")), Verdict::Broken);
        assert_eq!(judge(Err(Stop::Failed("EPERM".into()))), Verdict::Broken);
        assert_eq!(judge(Err(Stop::not_here("no fences"))), Verdict::NotHere);
    }

    #[test]
    fn only_served_heaps_may_be_files() {
        let judge = |family, word| REQUIRED.judge(family, "bounce", &seen(word));
        assert!(matches!(judge(Family::Served, "FUSE"), Verdict::Differs(_)));
        assert_eq!(judge(Family::Served, "EIO"), Verdict::Broken);
        assert_eq!(judge(Family::Heap, "FUSE"), Verdict::Broken);
    }

    #[test]
    fn what_may_differ_is_never_broken() {
        let judge = |family, label, word| FREE.judge(family, label, &seen(word));
        assert_eq!(judge(Family::Udmabuf, "udmabuf", "EINVAL"), Verdict::Known);
        assert_eq!(judge(Family::Udmabuf, "udmabuf", "ok"), Verdict::New);
        assert_eq!(judge(Family::Served, "other", "EINVAL"), Verdict::New);
    }

    #[test]
    fn a_kernel_heap_is_not_taken_for_the_served_one_of_its_name() {
        let known = &[("bounce", "stale"), ("heap", "seen"), ("heap", "hidden")];
        let answers = |family| known_answers(known, family, "bounce").collect::<Vec<_>>();
        assert_eq!(answers(Family::Served), ["stale"]);
        assert_eq!(answers(Family::Heap), ["seen", "hidden"]);
    }
}
