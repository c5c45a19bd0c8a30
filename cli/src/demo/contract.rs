//! What the contract says of each row of the demo, and whether the row came out so.

use dmabuf_serve::export::HeapKind;
use serde::Serialize;

use super::stage::{Edit, Stats, Violation};

/// How a client brackets its access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Read and write, the whole buffer.
    Whole,
    /// Read and write, the rectangle's rows.
    Ranged,
    /// Not at all.
    None,
    /// Read, though it writes.
    WrongDirection,
    /// Read and write, the upper half of the rectangle's rows.
    TooSmall,
}

impl Way {
    /// All of them: the two that are right first.
    pub const ALL: [Way; 5] =
        [Way::Whole, Way::Ranged, Way::None, Way::WrongDirection, Way::TooSmall];

    /// Its name in tables and on pictures.
    pub fn title(self) -> &'static str {
        match self {
            Way::Whole => "whole",
            Way::Ranged => "ranged",
            Way::None => "none",
            Way::WrongDirection => "wrong direction",
            Way::TooSmall => "too small",
        }
    }

    /// Its name as an argument of the clients, and in file names.
    pub fn argument(self) -> &'static str {
        match self {
            Way::WrongDirection => "wrong-direction",
            Way::TooSmall => "too-small",
            other => other.title(),
        }
    }

    /// Whether the bracket covers what the client does.
    pub fn is_right(self) -> bool {
        matches!(self, Way::Whole | Way::Ranged)
    }
}

/// What the contract says of the picture that a display shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Promise {
    /// It is the edited one.
    Right,
    /// It is visibly not: that is what the heap is for.
    Stale,
    /// Nothing.
    Nothing,
}

/// The picture that came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every pixel is as the edit should have left it.
    Right,
    /// At least one is not.
    Stale,
    /// Right for some frames and clients, stale for others.
    Mixed,
}

/// One line of the table: every frame, edited by every client, on one heap in one way.
pub struct Row {
    pub heap: HeapKind,
    /// How the access was bracketed; `None` where mmap is refused, so that nothing can be.
    pub way: Option<Way>,
    pub runs: Vec<Run>,
    /// Each client's words where the exporter refused mmap.
    pub refusals: Vec<String>,
    /// What kept the row from being played to its end.
    pub failure: Option<String>,
}

/// One frame, edited by one client.
pub struct Run {
    pub frame: usize,
    pub client: String,
    pub edit: Edit,
    /// Pixels that are not as they should be.
    pub stale_pixels: u64,
    /// Whether the edit, bracketed in a wrong way, can be told from one bracketed rightly by who
    /// watches pages.
    pub stray: bool,
    pub stats: Stats,
    pub violations: Vec<Violation>,
}

impl Row {
    /// The rows of the demo: all ways on all heaps. Where mmap is refused, they are all one.
    pub fn all() -> impl Iterator<Item = (HeapKind, Option<Way>)> {
        HeapKind::ALL.into_iter().flat_map(|heap| {
            let ways = match heap {
                HeapKind::Unmappable => vec![None],
                _ => Way::ALL.map(Some).to_vec(),
            };
            ways.into_iter().map(move |way| (heap, way))
        })
    }

    /// A row that has not been played.
    pub fn new(heap: HeapKind, way: Option<Way>) -> Row {
        Row { heap, way, runs: Vec::new(), refusals: Vec::new(), failure: None }
    }

    /// The row's name: for messages, and as a file's name.
    pub fn name(&self) -> String {
        format!("{}-{}", self.heap, self.way.map_or("other-route", Way::argument))
    }

    /// What the contract says of the picture.
    pub fn promise(&self) -> Promise {
        match (self.heap, self.way) {
            (HeapKind::Coherent, _) | (_, None) => Promise::Right,
            (_, Some(way)) if way.is_right() => Promise::Right,
            (HeapKind::Bounce, _) => Promise::Stale,
            _ => Promise::Nothing,
        }
    }

    /// The picture that came out; `None` if none did.
    pub fn outcome(&self) -> Option<Outcome> {
        let stale = self.runs.iter().filter(|run| run.stale_pixels > 0).count();
        match (stale, self.runs.len()) {
            (_, 0) => None,
            (0, _) => Some(Outcome::Right),
            (stale, all) if stale == all => Some(Outcome::Stale),
            _ => Some(Outcome::Mixed),
        }
    }

    /// The sum of what the exporter counted.
    pub fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        self.runs.iter().for_each(|run| sum += run.stats);
        sum
    }

    /// The brackets of the clients.
    pub fn brackets(&self) -> u64 {
        self.runs.iter().map(|run| run.edit.brackets).sum()
    }

    /// Microseconds of a bracket: the median, if there was any.
    pub fn microseconds(&self) -> Option<f64> {
        let bracketed = self.runs.iter().filter(|run| run.edit.brackets > 0);
        let mut times: Vec<f64> = bracketed
            .map(|run| run.edit.time.as_secs_f64() * 1e6 / run.edit.brackets as f64)
            .collect();
        times.sort_by(f64::total_cmp);
        let (low, high) =
            (times.get(times.len().wrapping_sub(1) / 2)?, times.get(times.len() / 2)?);
        Some((low + high) / 2.0)
    }

    /// What the exporter found, in the order of the runs.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.runs.iter().flat_map(|run| &run.violations)
    }

    /// Whether some of the edits were bracketed wrongly, and pages do not show it.
    pub fn hides_strays(&self) -> bool {
        self.heap == HeapKind::Checked && self.runs.iter().any(|run| !run.stray)
    }

    /// In what the row differs from the contract: sentences, none if it does not.
    pub fn objections(&self) -> Vec<String> {
        let mut objections: Vec<String> = self.failure.iter().cloned().collect();
        if self.failure.is_some() {
            return objections;
        }
        match (self.promise(), self.outcome()) {
            (_, None) => objections.push("no picture came out".into()),
            (Promise::Right, Some(Outcome::Right)) | (Promise::Stale, Some(Outcome::Stale)) => {}
            (Promise::Nothing, Some(_)) => {}
            (Promise::Right, Some(_)) => objections.push(self.stale_pictures()),
            (Promise::Stale, Some(_)) => {
                objections.push("a picture is right, where it should visibly be stale".into());
            }
        }
        for run in &self.runs {
            let expected = u64::from(self.way.is_some_and(|way| way != Way::None));
            if run.edit.brackets != expected {
                objections.push(format!(
                    "{} brackets by {} instead of {expected}",
                    run.edit.brackets, run.client
                ));
            }
            objections.extend(self.objection_to_reports(run));
        }
        if self.way.is_none() && self.refusals.is_empty() {
            objections.push("mmap was not refused".into());
        }
        objections
    }

    fn stale_pictures(&self) -> String {
        let stale = self.runs.iter().filter(|run| run.stale_pixels > 0);
        let pictures: Vec<String> = stale
            .map(|run| {
                format!("frame {} by {} ({} pixels)", run.frame + 1, run.client, run.stale_pixels)
            })
            .collect();
        format!("stale, where it should be right: {}", pictures.join(", "))
    }

    /// `checked` reports each process that brackets wrongly, with an offset, if it strays to a page of
    /// its own; nobody reports one that brackets rightly.
    fn objection_to_reports(&self, run: &Run) -> Option<String> {
        let wrong = self.way.is_some_and(|way| !way.is_right());
        if self.heap == HeapKind::Checked && wrong {
            let named = |violation: &Violation| {
                violation.pid == Some(run.edit.pid) && violation.offset.is_some()
            };
            let found = run.stats.violations > 0 && run.violations.iter().any(named);
            return (run.stray && !found).then(|| {
                format!(
                    "no violation of process {} ({}) was reported with its offset",
                    run.edit.pid, run.client
                )
            });
        }
        (run.stats.violations > 0)
            .then(|| format!("{} violations were reported of {}", run.stats.violations, run.client))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn run(way: Option<Way>, stale_pixels: u64) -> Run {
        let brackets = u64::from(way.is_some_and(|way| way != Way::None));
        Run {
            frame: 0,
            client: "C".into(),
            edit: Edit { pid: 7, brackets, time: Duration::from_micros(10) },
            stale_pixels,
            stray: true,
            stats: Stats::default(),
            violations: Vec::new(),
        }
    }

    fn row(heap: HeapKind, way: Option<Way>, stale_pixels: &[u64]) -> Row {
        let runs = stale_pixels.iter().map(|&stale| run(way, stale)).collect();
        let refusals = if way.is_none() { vec!["ENODEV".into()] } else { Vec::new() };
        Row { runs, refusals, ..Row::new(heap, way) }
    }

    #[test]
    fn there_are_all_ways_on_all_heaps() {
        assert_eq!(Row::all().count(), 4 * 5 + 1);
        assert_eq!(Row::all().filter(|(_, way)| way.is_none()).count(), 1);
    }

    #[test]
    fn bracketed_must_be_right_everywhere() {
        for (heap, way) in Row::all().filter(|(_, way)| way.is_none_or(Way::is_right)) {
            assert!(row(heap, way, &[0, 0]).objections().is_empty(), "{heap} {way:?}");
            let objections = row(heap, way, &[0, 5]).objections();
            assert!(objections[0].contains("5 pixels"), "{heap} {way:?}: {objections:?}");
        }
    }

    #[test]
    fn bounce_must_be_stale_for_every_client_without_a_right_bracket() {
        for way in [Way::None, Way::WrongDirection, Way::TooSmall] {
            assert!(row(HeapKind::Bounce, Some(way), &[3, 3]).objections().is_empty());
            assert_eq!(row(HeapKind::Bounce, Some(way), &[3, 0]).objections().len(), 1);
            assert_eq!(row(HeapKind::Bounce, Some(way), &[0, 0]).objections().len(), 1);
        }
    }

    #[test]
    fn coherent_must_be_right_and_tracked_may_be_either() {
        assert_eq!(row(HeapKind::Coherent, Some(Way::None), &[1]).objections().len(), 1);
        for stale in [0, 1] {
            let row = row(HeapKind::Tracked, Some(Way::TooSmall), &[0, stale]);
            assert_eq!(row.promise(), Promise::Nothing);
            assert!(row.objections().is_empty());
        }
    }

    #[test]
    fn checked_must_name_the_process_and_an_offset() {
        let mut row = row(HeapKind::Checked, Some(Way::None), &[0]);
        assert!(row.objections()[0].contains("process 7"));
        let mut found = Violation { pid: Some(8), offset: Some(4096), ..Violation::default() };
        row.runs[0].stats.violations = 1;
        row.runs[0].violations = vec![found.clone()];
        assert_eq!(row.objections().len(), 1, "another process was named");
        found.pid = Some(7);
        row.runs[0].violations = vec![Violation { offset: None, ..found.clone() }];
        assert_eq!(row.objections().len(), 1, "no offset was named");
        row.runs[0].violations = vec![found];
        assert!(row.objections().is_empty());
        row.runs[0].violations.clear();
        row.runs[0].stray = false;
        assert!(row.objections().is_empty(), "pages cannot tell");
    }

    #[test]
    fn a_right_bracket_must_not_be_reported() {
        let mut row = row(HeapKind::Checked, Some(Way::Ranged), &[0]);
        row.runs[0].stats.violations = 2;
        assert!(row.objections()[0].starts_with("2 violations"));
    }

    #[test]
    fn unmappable_must_refuse_mmap() {
        let mut row = row(HeapKind::Unmappable, None, &[0]);
        assert!(row.objections().is_empty());
        row.refusals.clear();
        assert_eq!(row.objections(), ["mmap was not refused"]);
    }

    #[test]
    fn a_row_that_was_not_played_to_its_end_is_not_as_promised() {
        let mut row = row(HeapKind::Tracked, Some(Way::None), &[]);
        assert_eq!(row.objections(), ["no picture came out"]);
        row.failure = Some("the camera is broken".into());
        assert_eq!(row.objections(), ["the camera is broken"]);
    }

    #[test]
    fn the_median_is_of_the_runs_that_bracketed() {
        let mut row = row(HeapKind::Bounce, Some(Way::Whole), &[0, 0, 0]);
        row.runs[0].edit.time = Duration::from_micros(1);
        row.runs[1].edit.time = Duration::from_micros(500);
        assert_eq!(row.microseconds(), Some(10.0));
        row.runs[1].edit.brackets = 0;
        assert_eq!(row.microseconds(), Some(5.5));
        row.runs.clear();
        assert_eq!(row.microseconds(), None);
    }
}
