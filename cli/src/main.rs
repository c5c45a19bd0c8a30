//! The command `dmabuf`.

mod bench;
mod check;
mod conform;
mod demo;
mod generate;
mod importer;
mod info;
mod output;
mod serve;
mod service;
mod v4l2;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Share dma-bufs between devices and programs, and see what brackets are for.
#[derive(Parser)]
#[command(name = "dmabuf", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the same edit on five heaps, bracketed rightly and wrongly
    Demo(demo::Options),
    /// Serve the heaps as a file system, until SIGTERM or SIGINT
    Serve(serve::Options),
    /// Tell what a buffer is and what can be done with it
    Info(info::Options),
    /// Put exporters through what a dma-buf promises
    Conform(conform::Options),
    /// Run a program, and find what it does to buffers outside of brackets
    Check(check::Options),
    /// Measure, always two things side by side
    #[command(subcommand)]
    Bench(bench::Member),
    /// Print completions for a shell
    Completions(generate::Completions),
    /// Write the manual pages
    Man(generate::Man),
    /// Play a part in the demo
    #[command(subcommand, hide = true)]
    Role(demo::Role),
    /// Be a program that is measured
    #[command(hide = true)]
    Measured(bench::Measured),
}

fn main() -> ExitCode {
    log_to_stderr();
    run(Cli::parse().command).unwrap_or_else(|error| {
        eprintln!("dmabuf: {}", explain(&error));
        error.downcast_ref().map_or(ExitCode::FAILURE, demo::Interrupted::exit_code)
    })
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Demo(options) => return demo::run(&options),
        Command::Serve(options) => serve::run(options)?,
        Command::Conform(options) => return conform::run(&options),
        Command::Check(options) => return check::run(&options),
        Command::Bench(member) => bench::run(&member)?,
        Command::Info(options) => info::run(&options)?,
        Command::Completions(options) => generate::completions(&options)?,
        Command::Man(options) => generate::man(&options)?,
        Command::Role(role) => return demo::play(role),
        Command::Measured(measured) => bench::be(&measured)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The error and its causes in one sentence; many an error names its cause itself.
fn explain(error: &anyhow::Error) -> String {
    let mut sentence = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if sentence.is_empty() {
            sentence = cause;
        } else if !sentence.contains(&cause) {
            sentence = format!("{sentence}: {cause}");
        }
    }
    sentence
}

/// What is logged is said by RUST_LOG; if it is not set, warnings and errors are. Not the FUSE
/// library's: it warns of every call that a file system may well leave out, and its errors are told
/// by ours.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or(EnvFilter::new("warn,fuser=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cause_is_told_twice() {
        let cause = anyhow::anyhow!("no such file");
        let open = cause.context("cannot open x: no such file").context("cannot begin");
        assert_eq!(explain(&open), "cannot begin: cannot open x: no such file");
        assert_eq!(explain(&anyhow::anyhow!("a").context("b")), "b: a");
    }
}
