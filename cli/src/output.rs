//! Text for people and programs: the one way to stdout, and to stderr where stdout is taken.

use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Result};

/// Writes all of the text to stdout, coloured only where somebody sees the colours.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
    unless_nobody_reads(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// The same, to stderr.
pub fn print_aside(text: &str) -> Result<()> {
    anstream::stderr().lock().write_all(text.as_bytes()).context("cannot write to stderr")
}

/// A reader that has gone, as `head` does, has read what it wants: no error.
pub fn unless_nobody_reads(written: io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}
