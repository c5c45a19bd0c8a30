//! `dmabuf conform`: whether an exporter keeps what a dma-buf promises.
//!
//! | file | what lives there |
//! |---|---|
//! | `rows.rs`, `rows/` | the behaviours, group by group: an id, a sentence, a reference, a check |
//! | `row.rs` | what a behaviour is, and what an answer means |
//! | `differential.rs` | random calls on two targets, compared |
//! | `differs.rs` | where a served file cannot be as a dma-buf is, and why |
//! | `target.rs`, `target/` | how to get a buffer from each kind of node |
//! | `run.rs` | looking, in a process that may hang or be killed |
//! | `table.rs` | what is printed |
//! | `sys.rs` | the system calls, as they are, and all unsafe code |
//!
//! A behaviour is added as a row in `rows/`; nothing else has to know of it.

mod differential;
mod differs;
mod names;
mod row;
mod rows;
mod run;
pub mod sys;
mod table;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;

use self::row::Row;
use self::table::{Column, Report};
use self::target::Target;
use crate::demo::progress::Progress;

/// What `dmabuf conform` takes.
#[derive(Args)]
pub struct Options {
    /// /dev/udmabuf, a node of /dev/dma_heap, a DRM card, a V4L2 node, or a served heap's
    /// directory, MOUNT/HEAP; by default all that are there
    #[arg(value_name = "TARGET")]
    targets: Vec<PathBuf>,
    /// Look only at behaviours whose id begins so: a group, `mmap`, or one, `mmap.past-end`
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Instead of the table: make random calls, in so many sequences, on the first target and on
    /// each other one, and compare every answer and every byte
    #[arg(long, value_name = "SEQUENCES", conflicts_with_all = ["only", "json", "markdown"])]
    compare: Option<u32>,
    /// The number that the random calls come from, to have the same ones again
    #[arg(long, requires = "compare", default_value_t = 1, hide_default_value = true)]
    seed: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Print the table in Markdown, with each behaviour's sentence and reference
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Look at one target, from this row on, and print answers as they come
    #[arg(long, hide = true, value_name = "ROW")]
    look_from: Option<usize>,
}

/// Puts each target through all behaviours and prints what they did; success is that each required
/// one holds on each of them.
pub fn run(options: &Options) -> Result<ExitCode> {
    let rows: Vec<&Row> = rows::all().filter(|row| is_wanted(row, &options.only)).collect();
    ensure!(!rows.is_empty(), "no behaviour's id begins with {}", options.only.join(" or "));
    if let (Some(first), [path]) = (options.look_from, options.targets.as_slice()) {
        return run::look(path, rows.get(first..).unwrap_or_default());
    }

    if let Some(sequences) = options.compare {
        return differential::run(&options.targets, sequences, options.seed);
    }

    let targets = match options.targets.as_slice() {
        [] => target::candidates(),
        named => named.to_vec(),
    };
    let mut columns = Vec::new();
    for path in &targets {
        match Target::open(path) {
            Ok(target) => columns.push(Column::of(&target, &columns)),
            // Of what was found and not named, some may be no exporter at all.
            Err(error) if options.targets.is_empty() => eprintln!("skipped: {error:#}"),
            Err(error) => return Err(error),
        }
    }
    ensure!(
        !columns.is_empty(),
        "nothing to look at: there is no dma-buf exporter in /dev that could be opened, and no heap \
         is served; try as root, or `dmabuf serve`"
    );

    let progress = Progress::new(columns.len() * rows.len());
    for column in &mut columns {
        column.seen = run::watch(&column.path, &rows, &options.only, |row| {
            progress.step(&format!("{} {}", column.label, row.id));
        })?;
    }
    drop(progress);

    let report = Report { rows: &rows, columns: &columns };
    if options.json {
        report.print_json()?;
    } else if options.markdown {
        report.print_markdown();
    } else {
        report.print();
    }
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn is_wanted(row: &Row, only: &[String]) -> bool {
    only.is_empty() || only.iter().any(|start| row.id.starts_with(start))
}
