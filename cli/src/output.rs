//! Text to stdout: the one way there.

use std::io::{ErrorKind, Write};

use anyhow::{Context, Result};

/// Writes all of the text, coloured only where somebody sees the colours. A reader that has gone, as
/// `head` does, has read what it wants: no error.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}
