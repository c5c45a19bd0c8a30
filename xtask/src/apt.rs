//! Debian's package manager, as far as it is there and allowed.
//!
//! Two things are asked of it: to install a missing program on this machine ([`ensure`]), and to
//! fetch packages of a newer Debian into a folder, with nothing installed ([`Index`]).

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::process::run;

/// The suites that packages are fetched from.
const SUITES: &str = "trixie trixie-backports";

/// Debian's signing keys, from its package debian-archive-keyring.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// After this time the lists of packages are fetched again.
const LISTS_LAST: Duration = Duration::from_secs(24 * 60 * 60);

/// The place of `program` on the search path.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Sees to it that `program` is there: as root, `packages` are installed when it is not.
///
/// The error is one sentence that says what is missing and what would help.
pub fn ensure(program: &str, packages: &[&str]) -> Result<PathBuf> {
    if let Some(file) = find(program) {
        return Ok(file);
    }
    let names = packages.join(" ");
    if find("apt-get").is_none() {
        bail!("{program} is not installed, and without apt-get it has to be installed by hand");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("{program} is not installed, and only root may do so: apt-get install {names}");
    }
    eprintln!("    {program} is not installed; as root, installing: {names}");
    update()?;
    run(Command::new("apt-get")
        .args(["-qq", "-oDpkg::Use-Pty=0", "install", "--yes", "--no-install-recommends"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive"))?;
    find(program).with_context(|| format!("{names} installed, and still no {program}"))
}

/// Packages of a newer Debian, from the mirror that this machine already uses.
///
/// Lists, caches and packages stay in one folder, apart from the machine's own.
pub struct Index {
    folder: PathBuf,
}

impl Index {
    /// Whether packages can be fetched here; the error says what is missing.
    pub fn is_possible() -> Result<()> {
        if !Path::new(KEYRING).is_file() {
            bail!("{KEYRING} is missing; the package debian-archive-keyring has it");
        }
        mirror().map(drop)
    }

    /// The index in the folder `cache`, fetched when it is not there or old.
    pub fn open(cache: &Path) -> Result<Self> {
        let index = Index { folder: cache.join("apt") };
        let stamp = index.folder.join("updated");
        let age = fs::metadata(&stamp).and_then(|stamp| stamp.modified());
        let age = age.ok().map(|time| time.elapsed().unwrap_or_default());
        if age.is_none_or(|age| age > LISTS_LAST) {
            match index.update() {
                Ok(()) => fs::write(&stamp, "")?,
                Err(error) if age.is_some() => {
                    eprintln!(
                        "using old lists of packages, since new ones could not be had: {error:#}"
                    );
                }
                Err(error) => return Err(error.context("fetching Debian's lists of packages")),
            }
        }
        Ok(index)
    }

    /// The names of the packages that match a regular expression.
    pub fn names(&self, pattern: &str) -> Result<Vec<String>> {
        let lines = output(self.apt("apt-cache").args(["search", "--names-only", pattern]))?;
        let name = |line: &str| line.split(' ').next().unwrap_or_default().to_string();
        Ok(lines.lines().map(name).collect())
    }

    /// The versions of a package that are offered, newest first.
    pub fn versions(&self, package: &str) -> Result<Vec<String>> {
        let lines = output(self.apt("apt-cache").args(["madison", package]))?;
        // package | version | where
        let version = |line: &str| Some(line.split('|').nth(1)?.trim().to_string());
        Ok(lines.lines().filter_map(version).collect())
    }

    /// Fetches `packages` and unpacks their files into `folder`, which appears only when it is
    /// complete.
    pub fn unpack<S: AsRef<str>>(&self, packages: &[S], folder: &Path) -> Result<()> {
        let parent = folder.parent().context("no folder to unpack into")?;
        fs::create_dir_all(parent)?;
        let fetched = tempfile::tempdir_in(parent)?;
        run(self
            .apt("apt-get")
            .args(["-qq", "download"])
            .args(packages.iter().map(AsRef::as_ref))
            .current_dir(&fetched))?;
        let unpacked = tempfile::tempdir_in(parent)?;
        extract(fetched.path(), unpacked.path())?;
        fs::rename(unpacked.keep(), folder)?;
        Ok(())
    }

    /// Fetches `packages` and all that they depend on, and unpacks their files into `root`. None of
    /// their scripts is run.
    ///
    /// A package may be asked for by `NAME=VERSION`, or from a suite by `NAME/SUITE`.
    pub fn unpack_with_dependencies(&self, packages: &[String], root: &Path) -> Result<()> {
        let fetched = tempfile::tempdir_in(&self.folder)?;
        fs::create_dir(fetched.path().join("partial"))?;
        run(self
            .apt("apt-get")
            .arg(format!("-oDir::Cache::Archives={}", fetched.path().display()))
            .args(["-qq", "install", "--download-only", "--yes", "--no-install-recommends"])
            .args(packages))?;
        extract(fetched.path(), root)
    }

    fn update(&self) -> Result<()> {
        Self::is_possible()?;
        fs::create_dir_all(self.folder.join("lists/partial"))?;
        fs::create_dir_all(self.folder.join("archives/partial"))?;
        let mirror = mirror()?;
        fs::write(
            self.folder.join("debian.sources"),
            format!(
                "Types: deb\nURIs: {mirror}\nSuites: {SUITES}\nComponents: main\nSigned-By: {KEYRING}\n"
            ),
        )?;
        run(self.apt("apt-get").args(["-qq", "update"]))
    }

    /// A command of apt that sees this index and nothing of the machine's own.
    fn apt(&self, program: &str) -> Command {
        let folder = self.folder.display();
        let mut command = Command::new(program);
        command.args([
            format!("-oDir::Cache={folder}"),
            format!("-oDir::State::Lists={folder}/lists"),
            "-oDir::State::Status=/dev/null".to_string(),
            format!("-oDir::Etc::SourceList={folder}/debian.sources"),
            "-oDir::Etc::SourceParts=/dev/null".to_string(),
            // As root, apt fetches as a user who may not write into a user's cache folder.
            "-oAPT::Sandbox::User=root".to_string(),
            // Its locks are beside the status file, and that is none. The cache has a lock of ours.
            "-oDebug::NoLocking=true".to_string(),
            "-oAPT::Update::Error-Mode=any".to_string(),
            "-oAcquire::Languages=none".to_string(),
        ]);
        command
    }
}

/// The address of the Debian mirror that this machine's apt uses.
fn mirror() -> Result<String> {
    if let Some(mirror) = configured_mirror()? {
        return Ok(mirror);
    }
    // Without lists, as in a fresh container, apt cannot tell whose its sources are.
    if rustix::process::geteuid().is_root() {
        update()?;
    }
    configured_mirror()?.context("apt-get on this machine knows no Debian mirror: apt-get update?")
}

fn configured_mirror() -> Result<Option<String>> {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(ORIGIN) $(LABEL) $(SITE)"])
        .arg("Created-By: Packages")
        .output()
        .context("starting apt-get: kernels come from a Debian mirror")?;
    let lines = String::from_utf8(output.stdout)?;
    let site = lines.lines().find_map(|line| line.strip_prefix("Debian Debian "));
    Ok(site.map(str::to_string))
}

/// Unpacks the files of all packages in the folder `fetched` into `root`, as many at a time as there
/// are processors.
fn extract(fetched: &Path, root: &Path) -> Result<()> {
    let mut packages = Vec::new();
    for entry in fs::read_dir(fetched)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "deb") {
            packages.push((entry.metadata()?.len(), entry.path()));
        }
    }
    // The largest is taken first.
    packages.sort();
    let packages = Mutex::new(packages);
    let next = || packages.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || {
        while let Some((_, package)) = next() {
            run(Command::new("dpkg").arg("--extract").arg(package).arg(root))?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers = thread::available_parallelism()?.get();
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })
}

fn update() -> Result<()> {
    run(Command::new("apt-get").args(["-qq", "update"]))
}

/// Runs a command for what it says.
fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("starting {name}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}
