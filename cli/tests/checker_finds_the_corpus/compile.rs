//! Making programs of the sources, once: what is newer than all of the corpus is taken as it is.
//! On a machine without compilers, or a slow one, it can so be compiled elsewhere before.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use crate::program::{Program, folder};

/// Why there is no program.
pub enum Error {
    /// What compiles or runs it is not installed.
    Missing(&'static str),
    /// The compiler's words.
    Failed(String),
}

const C: &str = "-std=c11";
const WARNINGS: [&str; 3] = ["-Wall", "-Wextra", "-Werror"];

/// The command that runs a program, compiled where it has to be.
pub fn command(program: &Program) -> Result<Command, Error> {
    let source = folder().join(&program.file);
    match program.language() {
        "py" => {
            // The interpreter itself, and no script that looks for one.
            let interpreter = Path::new("/usr/bin/python3");
            if !interpreter.exists() {
                return Err(Error::Missing("/usr/bin/python3"));
            }
            let mut command = Command::new(interpreter);
            command.env("PYTHONDONTWRITEBYTECODE", "1").arg(source);
            Ok(command)
        }
        "rs" => example(program),
        "cpp" => compiled(program, "c++", &["-std=c++20"], &source),
        _ => compiled(program, "cc", &[C], &source),
    }
}

/// The same program, in C, with all that it needs in it: no library can be preloaded into it.
pub fn static_command(program: &Program) -> Result<Command, Error> {
    compiled(program, "cc", &[C, "-static"], &folder().join(&program.file))
}

fn compiled(
    program: &Program,
    compiler: &'static str,
    options: &[&str],
    source: &Path,
) -> Result<Command, Error> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("corpus");
    let output = folder.join(program.file.replace('.', "-") + &options[1..].concat());
    if !is_fresh(&output) {
        std::fs::create_dir_all(&folder).expect("a folder");
        // Other tests may make the same one: it appears when it is complete.
        let new = tempfile::Builder::new().tempdir_in(&folder).expect("a folder");
        let made = new.path().join("program");
        let mut command = Command::new(compiler);
        command.args(options).args(["-g", "-O0", "-pthread"]).args(WARNINGS);
        run(compiler, command.arg("-o").arg(&made).arg(source))?;
        std::fs::rename(made, &output).expect("the same file system");
    }
    Ok(Command::new(output))
}

/// Those in Rust are examples of this package.
fn example(program: &Program) -> Result<Command, Error> {
    let binary = Path::new(env!("CARGO_BIN_EXE_dmabuf"));
    let examples = binary.with_file_name("examples");
    let output = examples.join(program.name().replace('.', "-"));
    if !is_fresh(&output) {
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--quiet", "--package", env!("CARGO_PKG_NAME"), "--examples"]);
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        run("cargo", &mut command)?;
    }
    Ok(Command::new(output))
}

fn run(tool: &'static str, command: &mut Command) -> Result<(), Error> {
    match command.output() {
        Ok(Output { status, .. }) if status.success() => Ok(()),
        Ok(output) => Err(Error::Failed(String::from_utf8_lossy(&output.stderr).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Missing(tool)),
        Err(error) => Err(Error::Failed(error.to_string())),
    }
}

/// Whether it is there, and newer than every file of the corpus in a compiled language.
fn is_fresh(output: &Path) -> bool {
    let Some(made) = modified(output) else {
        return false;
    };
    sources().iter().filter_map(|source| modified(source)).all(|changed| changed <= made)
}

fn sources() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).expect("the corpus");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_compiled = |path: &PathBuf| {
        let language = path.extension().and_then(OsStr::to_str);
        matches!(language, Some("c" | "h" | "cpp" | "rs"))
    };
    paths.filter(is_compiled).collect()
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}
