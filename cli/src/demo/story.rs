//! The story, row by row: a camera writes, a client edits, a display shows.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::explain;

use super::child::{Interrupted, check_interrupt};
use super::contract::{Row, Run, Way};
use super::picture::Picture;
use super::progress::Progress;
use super::stage::{Edited, Stage};

/// Plays all rows on a stage. Each row's picture goes into `out`.
pub fn play(stage: &dyn Stage, frames: &[Picture], out: &Path) -> Result<Vec<Row>> {
    let scratch = tempfile::tempdir()?;
    let rows: Vec<_> = Row::all().collect();
    let folders = Folders { scratch: scratch.path(), out };
    let progress = Progress::new(rows.len());
    let play = |(heap, way)| {
        let mut row = Row::new(heap, way);
        progress.step(&row.name());
        match play_row(stage, frames, &folders, &mut row) {
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => row.failure = Some(explain(&error)),
            Ok(()) => {}
        }
        Ok(row)
    };
    rows.into_iter().map(play).collect()
}

/// Where pictures go.
struct Folders<'a> {
    /// What the display writes.
    scratch: &'a Path,
    /// What is kept.
    out: &'a Path,
}

/// Where a row's picture is.
pub fn png(out: &Path, row: &Row) -> PathBuf {
    out.join(row.name()).with_extension("png")
}

fn play_row(
    stage: &dyn Stage,
    frames: &[Picture],
    folders: &Folders<'_>,
    row: &mut Row,
) -> Result<()> {
    for (frame, picture) in frames.iter().enumerate() {
        for client in stage.clients() {
            check_interrupt()?;
            play_run(stage, frame, picture, client, folders, row)
                .with_context(|| format!("frame {}, client in {client}", frame + 1))?;
        }
    }
    Ok(())
}

/// One frame, edited by one client, in a buffer of its own: the exporter's report is about it alone.
fn play_run(
    stage: &dyn Stage,
    frame: usize,
    picture: &Picture,
    client: &str,
    folders: &Folders<'_>,
    row: &mut Row,
) -> Result<()> {
    let name = format!("{}-{}-{client}", row.name(), frame + 1);
    let buffer = stage.allocate(row.heap, &name, picture)?;
    buffer.camera()?;
    let (client, edit) = match row.way {
        Some(way) => match buffer.edit(client, way)? {
            Edited::Done(edit) => (client, edit),
            Edited::Refused(reason) => bail!("mmap was refused: {reason}"),
        },
        None => {
            for way in Way::ALL {
                match buffer.edit(client, way)? {
                    Edited::Refused(reason) => row.refusals.push(reason),
                    Edited::Done(_) => bail!("mmap was not refused"),
                }
            }
            ("dmabuf", buffer.edit_by_route()?)
        }
    };
    let report = buffer.report()?;
    let shown = folders.scratch.join("shown.png");
    buffer.display(&shown)?;
    let stale_pixels =
        Picture::open(&shown)?.differing_pixels(&picture.inverted(picture.rectangle()));
    // The row's picture is the first stale one, or else the first.
    let first_stale = stale_pixels > 0 && row.runs.iter().all(|run| run.stale_pixels == 0);
    if row.runs.is_empty() || first_stale {
        let png = png(folders.out, row);
        std::fs::copy(&shown, &png).with_context(|| format!("cannot write {}", png.display()))?;
    }
    row.runs.push(Run {
        frame,
        client: client.to_owned(),
        edit,
        stale_pixels,
        stray: row.way != Some(Way::TooSmall) || picture.leaves_pages_of_upper_half(),
        stats: report.stats,
        violations: report.violations,
    });
    Ok(())
}
