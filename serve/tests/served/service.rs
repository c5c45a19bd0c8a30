//! A service to test: a process of its own, mounted in a folder of its own, of which nothing is left
//! when the test ends, however it ends.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dmabuf_export::{HeapKind, Quota};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::program::Program;
use crate::sys;

/// How long a test may use its service: then the service is killed and the test fails, rather than
/// hang.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a service may take to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(10);

/// The heaps that can be mapped.
pub const MAPPABLE: [HeapKind; 4] =
    [HeapKind::Coherent, HeapKind::Bounce, HeapKind::Tracked, HeapKind::Checked];

const PLACE: &str = "DMABUF_TEST_SERVICE";
const OPTIONS: &str = "DMABUF_TEST_OPTIONS";

/// How the service is started.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub passthrough: bool,
    pub threads: usize,
    pub quota: Quota,
}

impl Default for Setup {
    fn default() -> Setup {
        let dmabuf_serve::Options { quota, threads, passthrough, .. } = Default::default();
        Setup { passthrough, threads, quota }
    }
}

/// The service itself; run by [`Service::start`], and by nobody else.
#[test]
#[ignore = "it is the service that the other tests use"]
fn process() {
    let Some(mountpoint) = std::env::var_os(PLACE) else { return };
    let numbers: Vec<u64> = std::env::var(OPTIONS)
        .unwrap_or_default()
        .split(' ')
        .filter_map(|number| number.parse().ok())
        .collect();
    let [passthrough, threads, bytes, buffers] = numbers[..] else { panic!("bad options") };
    let options = dmabuf_serve::Options {
        mountpoint: Some(mountpoint.into()),
        quota: Quota { bytes, buffers },
        threads: threads as usize,
        passthrough: passthrough != 0,
    };
    let served = dmabuf_serve::run(options, |path| println!("\nready {}", path.display()));
    if let Err(error) = served {
        println!("\nfailed: {error}");
        std::process::exit(1);
    }
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    child: Child,
    path: PathBuf,
    /// The minor number of its device, by which the kernel knows the connection.
    device: String,
    watchdog: Option<(Sender<()>, JoinHandle<bool>)>,
    /// Removed last.
    folder: Option<tempfile::TempDir>,
}

impl Service {
    /// A service as a user would start it; `None`, and why, where FUSE cannot be used.
    pub fn start() -> Option<Service> {
        Service::with(Setup::default())
    }

    pub fn with(setup: Setup) -> Option<Service> {
        let folder = tempfile::tempdir().expect("a folder to mount in");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let path = folder.path().join("mnt");
        match Service::at(&path, setup) {
            Ok(mut service) => {
                service.folder = Some(folder);
                Some(service)
            }
            Err(why) if why.contains("cannot use FUSE") => {
                println!("skipped: {why}");
                None
            }
            Err(why) => panic!("the service does not start: {why}"),
        }
    }

    /// Starts a service on `path`, or tells why it did not start.
    pub fn at(path: &Path, setup: Setup) -> Result<Service, String> {
        Service::spawn(service_command(path), path, setup)
    }

    /// Starts a [`service_command`].
    pub fn spawn(mut command: Command, path: &Path, setup: Setup) -> Result<Service, String> {
        let Setup { passthrough, threads, quota } = setup;
        let options =
            format!("{} {threads} {} {}", u8::from(passthrough), quota.bytes, quota.buffers);
        command.env(OPTIONS, options).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let said = loop {
            match lines.next() {
                Some(Ok(line)) if line.starts_with("ready ") => break None,
                Some(Ok(line)) => {
                    if let Some(why) = line.strip_prefix("failed: ") {
                        break Some(why.to_owned());
                    }
                }
                Some(Err(error)) => break Some(error.to_string()),
                None => break Some("it says nothing".into()),
            }
        };
        if let Some(why) = said {
            let _ = child.kill();
            let _ = child.wait();
            return Err(why);
        }
        // Nothing more is said on it, but writing to it must not fail.
        std::thread::spawn(move || lines.count());
        let pid = child.id();
        let device = mounted_device(pid, path).ok_or("it is not mounted")?;
        let (alive, watched) = channel::<()>();
        let its = device.clone();
        let watchdog = std::thread::spawn(move || {
            let late = watched.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
            if late {
                eprintln!("the service is killed: the test took too long");
                abort(&its);
                signal(pid, Signal::KILL);
            }
            late
        });
        let watchdog = Some((alive, watchdog));
        Ok(Service { child, path: path.to_owned(), device, watchdog, folder: None })
    }

    /// Both ways of mapping, one service after the other.
    pub fn each(test: impl Fn(&Service)) {
        Service::each_with(Setup::default(), test);
    }

    pub fn each_with(setup: Setup, test: impl Fn(&Service)) {
        for passthrough in [true, false] {
            let Some(service) = Service::with(Setup { passthrough, ..setup }) else { return };
            println!("passthrough: {passthrough}");
            test(&service);
        }
    }

    /// Whether `coherent` and `bounce` are mapped by passthrough: asked for, and possible.
    pub fn passes_through(&self) -> bool {
        let file = self.allocate(HeapKind::Coherent, "probe", 4096);
        let mut query = [0; size_of::<dmabuf_uapi::DmaBufQuery>()];
        sys::ioctl(&file, dmabuf_uapi::DMA_BUF_IOCTL_QUERY, &mut query).expect("QUERY");
        fs::remove_file(self.cpu(HeapKind::Coherent, "probe")).expect("it has a name");
        // Its granule is a byte.
        query[12] == 1
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The path of a buffer's CPU side.
    pub fn cpu(&self, heap: HeapKind, name: &str) -> PathBuf {
        self.path.join(heap.name()).join(name)
    }

    /// The path of its device side.
    pub fn device(&self, heap: HeapKind, name: &str) -> PathBuf {
        self.path.join("device").join(heap.name()).join(name)
    }

    /// Allocates a buffer, as a program does.
    pub fn allocate(&self, heap: HeapKind, name: &str, size: u64) -> File {
        let file = self.create(heap, name).expect("a file can be created");
        file.set_len(size).expect("a buffer can be allocated");
        file
    }

    pub fn create(&self, heap: HeapKind, name: &str) -> io::Result<File> {
        File::options().read(true).write(true).create_new(true).open(self.cpu(heap, name))
    }

    /// Attaches a device to a buffer.
    pub fn attach(&self, heap: HeapKind, name: &str) -> File {
        let path = self.device(heap, name);
        File::options().read(true).write(true).open(path).expect("a device can attach")
    }

    pub fn program(&self) -> Program {
        Program::start()
    }

    /// What `stats.json` says.
    pub fn stats(&self) -> Value {
        let json = fs::read(self.path.join("stats.json")).expect("stats.json can be read");
        serde_json::from_slice(&json).expect("stats.json is JSON")
    }

    /// What it says of the buffer whose file has this name.
    pub fn stats_of(&self, name: &str) -> Value {
        let stats = self.stats();
        let buffers = stats["buffers"].as_array().expect("a list of buffers");
        buffers.iter().find(|buffer| buffer["file"] == name).cloned().unwrap_or_default()
    }

    /// How many buffers there are.
    pub fn buffers(&self) -> usize {
        self.stats()["buffers"].as_array().expect("a list of buffers").len()
    }

    /// Waits for what the kernel tells the service after the program's call has returned, such as
    /// the last close of a file. The watchdog ends the wait if it never comes.
    pub fn eventually(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < LIMIT, "never: {what}");
            std::thread::yield_now();
        }
    }

    pub fn signal(&self, signal_: Signal) {
        signal(self.pid(), signal_);
    }

    /// Waits until the service has ended; `None` if it does not.
    pub fn wait(&mut self) -> Option<ExitStatus> {
        wait(&mut self.child)
    }

    pub fn is_mounted(&self) -> bool {
        is_mounted(&self.path)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        signal(self.child.id(), Signal::TERM);
        let ended = wait(&mut self.child);
        let left = is_mounted(&self.path);
        if ended.is_none() || left {
            abort(&self.device);
            let _ = self.child.kill();
            let _ = rustix::mount::unmount(&self.path, rustix::mount::UnmountFlags::DETACH);
            let _ = self.child.wait();
        }
        let (alive, watchdog) = self.watchdog.take().expect("it is taken once");
        drop(alive);
        let late = watchdog.join().unwrap_or(true);
        if !std::thread::panicking() {
            assert!(!late, "the test took too long");
            assert!(ended.is_some(), "the service does not end when told to");
            assert!(!left, "the service left its mount behind");
        }
    }
}

/// This binary again, to run [`process`] on `path`.
pub fn service_command(path: &Path) -> Command {
    let mut command = process_command("service::process");
    command.env(PLACE, path);
    command
}

/// This binary again, to run one hidden test.
pub fn process_command(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary has a path"));
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    let parent = rustix::process::getpid();
    let follow = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
        // The parent may have gone before.
        match rustix::process::getppid() {
            Some(now) if now == parent => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    };
    sys::before_exec(&mut command, follow);
    command
}

fn signal(pid: u32, signal: Signal) {
    // One that has ended already needs none.
    let _ = kill_process(Pid::from_raw(pid as i32).expect("a process has a number"), signal);
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let begun = Instant::now();
    loop {
        match child.try_wait().expect("it is our child") {
            Some(status) => return Some(status),
            None if begun.elapsed() > PATIENCE => return None,
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

pub fn is_mounted(path: &Path) -> bool {
    mounted_device(std::process::id(), path).is_some()
}

/// The minor number of the device that a process sees mounted on `path`: proc_pid_mountinfo(5).
fn mounted_device(pid: u32, path: &Path) -> Option<String> {
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?;
    let path = path.to_str().expect("test paths are text");
    let path = path.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011");
    let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mount = fields.find(|fields| fields[4] == path)?;
    Some(mount[2].split_once(':')?.1.to_owned())
}

/// Makes the kernel give up on the connection of a mount: everybody who waits for it gets an error.
fn abort(device: &str) {
    let connections = Path::new("/sys/fs/fuse/connections");
    if fs::read_dir(connections).is_ok_and(|mut entries| entries.next().is_none()) {
        let flags = rustix::mount::MountFlags::empty();
        let _ = rustix::mount::mount("fusectl", connections, "fusectl", flags, None);
    }
    let _ = fs::write(connections.join(device).join("abort"), "1");
}

/// Reads all of a device's side.
pub fn device_read(device: &File, offset: u64, len: usize) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; len];
    device.read_exact_at(&mut bytes, offset).expect("a device can read");
    bytes
}

pub fn device_write(device: &File, offset: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    device.write_all_at(bytes, offset).expect("a device can write");
}

/// Reads to the end, as `cat` does.
pub fn contents(mut file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
