//! What the heaps that check have seen of programs that no library can be preloaded into: they tell
//! process, buffer and offset, found by page faults, but no place in the code.
//!
//! The service tells in `stats.json` of its mounts, the kernel module by lines of its device
//! (`dmabuf_uapi::DMABUF_DEVICE`). Neither need be there. A service that does not answer keeps whoever
//! reads its files from ending, so another process reads them.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use dmabuf_uapi::{DmabufEvent, DmabufRecord};
use serde::Deserialize;

use super::{Buffer, Finding};
use crate::rules::{self, Rule};

/// How long a service may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Both, from the beginning of a run to its end.
pub struct Heaps {
    device: Option<File>,
    mounts: Vec<PathBuf>,
    /// Those that did not answer, or could not be asked, and why. They are not asked again.
    silent: Vec<(PathBuf, io::Error)>,
    /// How often something was told before.
    before: HashMap<Told, u64>,
}

/// One thing that a heap tells.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Told {
    engine: &'static str,
    id: &'static str,
    process: u32,
    inode: u64,
    offset: Option<u64>,
    exporter: String,
    name: String,
}

impl Heaps {
    /// What was told before the run is none of its findings.
    pub fn begin() -> Heaps {
        let device = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(dmabuf_uapi::DMABUF_DEVICE)
            .ok();
        let mounts = fs::read_to_string("/proc/self/mounts").map(|text| mounts(&text));
        let mounts = mounts.unwrap_or_default();
        let mut heaps = Heaps { device, mounts, silent: Vec::new(), before: HashMap::new() };
        heaps.before = heaps.all();
        heaps
    }

    /// What was told since of these processes. Without a place in the code, one mistake is what one
    /// process does to one buffer in one way: its first offset is told, and how often it was seen.
    pub fn end(&mut self, processes: &BTreeSet<u32>) -> Vec<Finding> {
        let mut findings: Vec<Finding> = Vec::new();
        for (told, count) in self.all() {
            // The device tells each thing once, the service all there was.
            let known = match told.engine {
                "serve" => self.before.get(&told).copied().unwrap_or(0),
                _ => 0,
            };
            let Some(rule) = rules::by_id(told.id).filter(|_| count > known) else { continue };
            if !processes.contains(&told.process) {
                continue;
            }
            let new = told.finding(rule, count - known);
            match findings.iter_mut().find(|finding| is_same(finding, &new)) {
                Some(finding) => {
                    finding.count += new.count;
                    finding.offset = finding.offset.min(new.offset);
                }
                None => findings.push(new),
            }
        }
        findings.sort_by_key(|finding| (finding.process, finding.buffer.inode, finding.offset));
        findings
    }

    /// What could not be looked into, in sentences.
    pub fn limits(&self) -> Vec<String> {
        let sentence = |(mount, error): &(PathBuf, io::Error)| match error.kind() {
            ErrorKind::TimedOut => format!(
                "the service at {} does not answer: what it sees is not told",
                mount.display()
            ),
            _ => format!(
                "the service at {} could not be asked: what it sees is not told: {error}",
                mount.display()
            ),
        };
        self.silent.iter().map(sentence).collect()
    }

    /// All that is told, and how often.
    fn all(&mut self) -> HashMap<Told, u64> {
        let mut all = HashMap::new();
        for mount in std::mem::take(&mut self.mounts) {
            match read_in_time(&mount.join("stats.json"), PATIENCE) {
                Ok(stats) => {
                    for (told, count) in of_service(&stats) {
                        *all.entry(told).or_default() += count;
                    }
                    self.mounts.push(mount);
                }
                Err(error) => self.silent.push((mount, error)),
            }
        }
        if let Some(device) = &mut self.device {
            for line in lines(device).lines() {
                if let Some(told) = of_line(line) {
                    *all.entry(told).or_default() += 1;
                }
            }
        }
        all
    }
}

impl Told {
    fn finding(self, rule: &'static Rule, count: u64) -> Finding {
        Finding {
            id: rule.id,
            severity: rule.severity,
            count,
            buffer: Buffer { name: self.name, exporter: self.exporter, inode: self.inode },
            offset: self.offset,
            process: self.process,
            thread: self.process,
            since_end_ns: None,
            engine: self.engine,
            place: None,
            backtrace: Vec::new(),
            explanation: rule.explanation.to_owned(),
            fix: rule.fix,
        }
    }
}

/// Whether it is the same mistake, at whatever offset.
fn is_same(a: &Finding, b: &Finding) -> bool {
    (a.id, a.engine, a.process, &a.buffer) == (b.id, b.engine, b.process, &b.buffer)
}

/// The rule of an access, by what it was and what was allowed.
fn access(access: &str, allowed: Option<&str>) -> &'static str {
    match (access, allowed) {
        ("read", _) => "outside-read",
        (_, Some("read")) => "write-in-read-bracket",
        _ => "outside-write",
    }
}

/// The rule of a mistake with a bracket.
fn mistake(name: &str) -> Option<&'static str> {
    match name {
        // An END of bytes that no bracket has.
        "end-without-start" | "end-other-range" => Some("end-without-start"),
        "end-other-direction" => Some("end-other-direction"),
        "start-without-end" => Some("start-without-end"),
        _ => None,
    }
}

// --- the service -----------------------------------------------------------------------------------

/// Where services of this project are mounted.
fn mounts(text: &str) -> Vec<PathBuf> {
    let mounts = text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (source, place, kind) = (words.next()?, words.next()?, words.next()?);
        (source == "dmabuf" && kind.starts_with("fuse")).then(|| PathBuf::from(unescape(place)))
    });
    mounts.collect()
}

/// Blanks and the like are in octal there.
fn unescape(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (code, character)| text.replace(code, character))
}

#[derive(Deserialize)]
struct Stats {
    buffers: Vec<OfBuffer>,
}

#[derive(Deserialize)]
struct OfBuffer {
    heap: String,
    name: String,
    inode: u64,
    violations: Vec<Violation>,
}

#[derive(Deserialize)]
struct Violation {
    pid: Option<u32>,
    access: Option<String>,
    mistake: Option<String>,
    offset: Option<u64>,
    count: u64,
}

/// Has another process read a file: nothing, if the service has gone or is another user's. One that
/// waits for a service cannot even be killed, and is left behind until the service is gone.
fn read_in_time(file: &Path, patience: Duration) -> io::Result<Vec<u8>> {
    let mut cat = Command::new("cat");
    cat.arg(file).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let reader = cat.spawn();
    let mut reader =
        reader.map_err(|error| io::Error::new(error.kind(), format!("cat: {error}")))?;
    let output = reader.stdout.take();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.map_or(Ok(0), |mut output| output.read_to_end(&mut bytes));
        // Nobody may wait any more.
        let _ = sender.send(read.map(|_| bytes));
    });
    match receiver.recv_timeout(patience) {
        Ok(read) => {
            reader.wait()?;
            read
        }
        Err(_) => {
            reader.kill()?;
            Err(ErrorKind::TimedOut.into())
        }
    }
}

/// A service that is of another version tells nothing.
fn of_service(stats: &[u8]) -> Vec<(Told, u64)> {
    let stats = serde_json::from_slice::<Stats>(stats).ok();
    let mut all = Vec::new();
    for buffer in stats.into_iter().flat_map(|stats| stats.buffers) {
        for violation in buffer.violations {
            let id = match (&violation.mistake, &violation.access) {
                (Some(name), _) => mistake(name),
                (None, Some(what)) => Some(access(what, None)),
                (None, None) => None,
            };
            let (Some(id), Some(process)) = (id, violation.pid) else { continue };
            let told = Told {
                engine: "serve",
                id,
                process,
                inode: buffer.inode,
                offset: violation.offset.filter(|_| violation.mistake.is_none()),
                exporter: buffer.heap.clone(),
                name: buffer.name.clone(),
            };
            all.push((told, violation.count));
        }
    }
    all
}

// --- the kernel module -----------------------------------------------------------------------------

/// What the device has to tell and has not told before.
fn lines(device: &mut File) -> String {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match device.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => text.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // EAGAIN: nothing more. Another error tells nothing either.
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn of_line(line: &str) -> Option<Told> {
    let record = DmabufRecord::parse(line)?;
    let (id, offset) = match record.event {
        DmabufEvent::Mistake(name) => (mistake(name)?, None),
        DmabufEvent::Access(what, allowed) => (access(what, allowed), Some(record.offset)),
    };
    Some(Told {
        engine: "module",
        id,
        process: record.pid,
        inode: record.inode,
        offset,
        exporter: record.heap.to_owned(),
        name: record.name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_device_is_understood() {
        let line = "pid=123 comm=edit heap=checked inode=17 name=frame offset=0x38000 access=write \
                    allowed=read";
        let told = of_line(line).unwrap();
        assert_eq!((told.process, told.inode, told.offset), (123, 17, Some(0x38000)));
        assert_eq!((told.id, told.name.as_str()), ("write-in-read-bracket", "frame"));
        let line = "pid=9 comm=a heap=checked inode=1 name= offset=0x0 mistake=end-other-range";
        assert_eq!(of_line(line).unwrap().id, "end-without-start");
        assert_eq!(of_line("something else"), None);
    }

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        let folder = std::env::temp_dir().join(format!("dmabuf-silent-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let [file, silent] = ["file", "silent"].map(|name| folder.join(name));
        fs::write(&file, "words").unwrap();
        assert!(Command::new("mkfifo").arg(&silent).status().unwrap().success());
        assert_eq!(read_in_time(&file, PATIENCE).unwrap(), b"words");
        let error = read_in_time(&silent, Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn services_are_found_among_mounts() {
        let text = "proc /proc proc rw 0 0\ndmabuf /run/a\\040b fuse rw 0 0\n\
                    dmabuf /tmp/x fuse.dmabuf rw 0 0\nsshfs /y fuse.sshfs rw 0 0\n";
        assert_eq!(mounts(text), [Path::new("/run/a b"), Path::new("/tmp/x")]);
    }
}
