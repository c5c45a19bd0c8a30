//! Running cargo.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

/// The folder of the workspace.
pub fn root() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?)
}

/// Builds, and tells the programs that came of it.
pub fn executables(command: &mut Command) -> Result<Vec<PathBuf>> {
    let programs = built(command)?.into_iter();
    Ok(programs.map(|(program, _)| program).collect())
}

/// Builds the tests and examples that these arguments are about, and tells them: cargo names the
/// commands too that tests run.
pub fn tests(arguments: &[&str]) -> Result<Vec<PathBuf>> {
    let mut command = cargo("test");
    let programs = built(announce(command.arg("--no-run").args(arguments)))?.into_iter();
    Ok(programs.filter_map(|(program, is_command)| (!is_command).then_some(program)).collect())
}

/// The programs that came of it, and whether each is a command.
fn built(command: &mut Command) -> Result<Vec<(PathBuf, bool)>> {
    let output = command
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("{}", output.status);
    }
    let mut programs = Vec::new();
    for line in output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let message: serde_json::Value = serde_json::from_slice(line)?;
        let is_command =
            message["target"]["kind"][0] == "bin" && message["profile"]["test"] != true;
        programs.extend(message["executable"].as_str().map(|path| (path.into(), is_command)));
    }
    Ok(programs)
}

/// A command of cargo.
pub fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command.arg(subcommand);
    command
}

/// Says what is about to run, as a line that can be copied into a shell.
pub fn announce(command: &mut Command) -> &mut Command {
    let program = Path::new(command.get_program());
    let mut line = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line += " ";
        line += &argument.to_string_lossy();
    }
    println!("    {line}");
    command
}
