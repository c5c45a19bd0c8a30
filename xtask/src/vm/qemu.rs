//! A virtual machine under QEMU: started, listened to, and ended.
//!
//! KVM is not needed: everything is emulated.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use rustix::{
    fs::{MemfdFlags, memfd_create},
    io::{FdFlags, fcntl_setfd},
};

use crate::{apt, process::wait_for};

/// Beside what the caller adds. Warnings are printed; a panic, an oops or a task that hangs ends the
/// machine at once. The watchdogs get more time, and the timer is not tested, which would be a panic: an
/// emulated machine on a busy host is slow, not stuck.
const COMMAND_LINE: &str = "console=ttyS0 loglevel=5 panic=-1 oops=panic hung_task_panic=1 nokaslr \
                            mitigations=off no_timer_check watchdog_thresh=60 \
                            rcupdate.rcu_cpu_stall_timeout=120";

/// What on the console means that the kernel is not well.
const ALARMS: &[&str] = &[
    "WARNING:",
    "BUG:",
    "Oops",
    "Kernel panic",
    "general protection fault",
    "blocked for more than",
    "detected stalls",
];

/// How many lines of the console a report shows.
const REPORTED_LINES: usize = 50;

/// How many of them come before the first alarm: a panic's reason is there.
const LINES_BEFORE: usize = 5;

/// What to boot.
pub struct Machine<'a> {
    /// The emulator, from [`find`].
    pub qemu: &'a Path,
    /// The kernel.
    pub image: &'a Path,
    /// Its first file system.
    pub initramfs: &'a [u8],
    /// More of the kernel's command line.
    pub cmdline: &'a str,
    /// Memory, in MiB.
    pub memory: u32,
    /// Whether its time passes with its instructions instead of the host's time.
    pub icount: bool,
    /// How long it may run.
    pub limit: Duration,
}

impl Machine<'_> {
    /// Boots the machine and copies its output until it ends. Returns the line that it reported
    /// on its status port.
    ///
    /// It is an error that shows the console when the kernel complained, or time ran out.
    pub fn run(
        &self,
        stdout: &mut (dyn Write + Send),
        stderr: &mut (dyn Write + Send),
    ) -> Result<String> {
        // The parent-death signal ends QEMU however this process ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(self.qemu);
        self.describe(&mut command);

        let initramfs = File::from(memfd_create("initramfs", MemfdFlags::empty())?);
        (&initramfs).write_all(self.initramfs)?;
        let initramfs_path = format!("/proc/self/fd/{}", initramfs.as_raw_fd());
        command.args(["-initrd", &initramfs_path]);

        let (console, console_end) = channel()?;
        let (out, out_end) = channel()?;
        let (err, err_end) = channel()?;
        let (status, status_end) = channel()?;
        attach(&mut command, 0, &console_end, &["-serial", "chardev:c0"]);
        command.args(["-device", "virtio-serial-pci"]);
        for (number, end) in [(1, &out_end), (2, &err_end), (3, &status_end)] {
            let port = format!("virtserialport,chardev=c{number},nr={number}");
            attach(&mut command, number, end, &["-device", &port]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(console_end.try_clone()?)
            .stderr(console_end.try_clone()?)
            .spawn()
            .context("starting setpriv, of util-linux")?;
        // The readers see an end only when QEMU's are the last ends open.
        drop((command, console_end, out_end, err_end, status_end));

        thread::scope(|scope| {
            let console = scope.spawn(|| lines(console));
            let out = scope.spawn(|| copy(out, stdout));
            let err = scope.spawn(|| copy(err, stderr));
            let status = scope.spawn(|| io::read_to_string(status));

            let ended = wait_for(&mut child, self.limit)?;
            if ended.is_none() {
                child.kill()?;
                child.wait()?;
            }
            let console = join(console)?;
            join(out)?;
            join(err)?;
            let status = join(status)?;

            if ended.is_none() {
                let what = format!("it has not ended in {} s", self.limit.as_secs());
                return Err(report(&what, &console));
            }
            if console.iter().any(|line| alarms(line)) {
                return Err(report("its kernel complained", &console));
            }
            if status.is_empty() {
                return Err(report("it ended without a status", &console));
            }
            Ok(status)
        })
    }

    /// The hardware. With more than one emulating thread some boots crash, when the kernel
    /// patches its own text; with five levels of page tables emulation is slower.
    fn describe(&self, command: &mut Command) {
        command.args(["-accel", "tcg,thread=single", "-cpu", "max,la57=off"]);
        command.args(["-smp", "2", "-m", &self.memory.to_string()]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        if self.icount {
            // 2^1 ns each; where the machine would sleep, its time jumps.
            command.args(["-icount", "shift=1,sleep=off"]);
        }
        command.args(["-device", "virtio-gpu-pci"]);
        // Memory that is slow to load from: its registers.
        command.args(["-device", "edu"]);
        command.args([
            "-fsdev",
            "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
        ]);
        command.args(["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]);
        command.arg("-kernel").arg(self.image);
        command.args(["-append", &format!("{COMMAND_LINE} {}", self.cmdline)]);
    }
}

/// QEMU's place, installed when it is not there and may be.
pub fn find() -> Result<PathBuf> {
    apt::ensure("qemu-system-x86_64", &["qemu-system-x86"])
}

/// A pipe whose writing end outlives the start of a program.
fn channel() -> Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    fcntl_setfd(&writer, FdFlags::empty())?;
    Ok((reader, writer))
}

/// Gives QEMU the writing end of a pipe as its character device `c<number>`, and the device
/// that uses it.
fn attach(command: &mut Command, number: u32, end: &PipeWriter, device: &[&str]) {
    command.args(["-add-fd", &format!("fd={},set={number}", end.as_raw_fd())]);
    // Without append, QEMU would truncate it, which a pipe refuses.
    let chardev = format!("file,id=c{number},path=/dev/fdset/{number},append=on");
    command.args(["-chardev", &chardev]).args(device);
}

/// Copies as it comes, without waiting for whole lines.
fn copy(mut from: PipeReader, to: &mut (dyn Write + Send)) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count])?;
        to.flush()?;
    }
}

fn lines(console: PipeReader) -> io::Result<Vec<String>> {
    let mut console = BufReader::new(console);
    let mut lines = Vec::new();
    let mut line = Vec::new();
    while console.read_until(b'\n', &mut line)? > 0 {
        lines.push(String::from_utf8_lossy(&line).trim_end().to_string());
        line.clear();
    }
    Ok(lines)
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, io::Result<T>>) -> Result<T> {
    Ok(thread.join().map_err(|_| anyhow!("a reader panicked"))??)
}

fn alarms(line: &str) -> bool {
    ALARMS.iter().any(|alarm| line.contains(alarm))
}

/// Says what went wrong, and shows the console around its first alarm, or else its end.
fn report(what: &str, console: &[String]) -> anyhow::Error {
    let first = console.iter().position(|line| alarms(line));
    let start = match first {
        Some(first) => first.saturating_sub(LINES_BEFORE),
        None => console.len().saturating_sub(REPORTED_LINES),
    };
    let shown = console.iter().skip(start).take(REPORTED_LINES);
    let mut text = format!("the machine failed: {what}; its console:");
    for line in shown {
        text += "\n    | ";
        text += line;
    }
    anyhow!(text)
}
