//! `dmabuf check`: runs a program as it is, and tells what it does to dma-bufs outside of brackets.

mod run;

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use dmabuf_check::report::{Finding, Report, Style, Text, sarif};
use dmabuf_check::rules;
use serde::Serialize;

use crate::output::print;

/// What `dmabuf check` takes.
#[derive(Args)]
pub struct Options {
    /// Print one JSON document to stdout; what the program writes to stdout goes to stderr
    #[arg(long)]
    json: bool,
    /// Write what was found as SARIF 2.1.0 as well, for code hosts
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Leave out what is known: an id, or ID@TEXT for those whose backtrace has TEXT in a function,
    /// a source file or a library
    #[arg(long, value_name = "ID[@TEXT]", value_parser = pattern)]
    suppress: Vec<String>,
    /// The exit status if an error was found; without one it is the program's
    #[arg(long, value_name = "STATUS", default_value_t = 66)]
    error_exit_code: u8,
    /// The program, and what it is given
    #[arg(last = true, required = true, value_names = ["PROGRAM", "ARG"])]
    program: Vec<OsString>,
}

/// The document.
#[derive(Serialize)]
struct Document<'a> {
    program: Vec<String>,
    status: u8,
    findings: &'a [Finding],
    limits: &'a [String],
}

/// Runs the program and tells what was found.
pub fn run(options: &Options) -> Result<ExitCode> {
    let (status, mut report) = run::run(&options.program, options.json)?;
    report.suppress(&options.suppress);
    // As a shell tells the death by a signal.
    let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)) as u8;
    // Who runs in a folder that is gone is told whole paths.
    let root = std::env::current_dir().unwrap_or_default();
    if options.json {
        let program =
            options.program.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let Report { findings, limits, .. } = &report;
        let document = Document { program, status, findings, limits };
        print(&(serde_json::to_string_pretty(&document)? + "\n"))?;
    } else {
        anstream::eprint!("{}", Text { report: &report, style: STYLE, root: &root });
    }
    if let Some(file) = &options.sarif {
        let program = Path::new(&options.program[0]);
        let document = sarif::document(&report, program, &root);
        std::fs::write(file, serde_json::to_string_pretty(&document)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let has_errors = report.has_errors();
    Ok(ExitCode::from(if has_errors { options.error_exit_code } else { status }))
}

/// What is left out has an id that there is.
fn pattern(text: &str) -> Result<String, String> {
    let id = text.split('@').next().unwrap_or_default();
    match rules::by_id(id) {
        Some(_) => Ok(text.to_owned()),
        None => {
            let ids: Vec<_> = rules::ALL.iter().map(|rule| rule.id).collect();
            Err(format!("there is no finding {id:?}; there are {}", ids.join(", ")))
        }
    }
}

const STYLE: Style =
    Style { error: "\x1b[1;31m", note: "\x1b[1;36m", strong: "\x1b[1m", end: "\x1b[0m" };
