//! Whether the machine keeps its promises: tested by booting it.

use anyhow::{Result, bail, ensure};

use super::{Options, boot};

/// The exporters that tests count on, and FUSE.
const NODES: &[&str] = &[
    "/dev/udmabuf",
    "/dev/dma_heap/system",
    "/dev/dri/card0",
    "/dev/dri/card1",
    "/dev/video0",
    "/dev/video1",
    "/dev/fuse",
    "/sys/kernel/debug/dma_buf/bufinfo",
];

/// Boots the newest kernel three times: for a command that ends by itself, for one during which
/// the kernel warns, and for one that takes the kernel down.
pub fn self_test() -> Result<()> {
    println!("    a command's output and status come back, and the exporters are there");
    command_ends()?;
    println!("    a warning is the machine's failure, and shows its console");
    machine_fails("echo '<4>WARNING: made up' >/dev/kmsg", "WARNING: made up")?;
    println!("    so is a panic");
    machine_fails("echo c >/proc/sysrq-trigger", "Kernel panic")
}

fn command_ends() -> Result<()> {
    let nodes = NODES.join(" ");
    let script = format!("ls {nodes} >/dev/null || exit; echo out; echo err >&2; exit 217");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = boot(&shell(&script), &mut out, &mut err)?;
    let err = String::from_utf8_lossy(&err);
    ensure!(status == 217, "status {status}, and: {err}");
    ensure!(out == b"out\n" && err == "err\n", "{out:?} and {err:?}");
    Ok(())
}

fn machine_fails(script: &str, shown: &str) -> Result<()> {
    match boot(&shell(script), &mut Vec::new(), &mut Vec::new()) {
        Ok(status) => bail!("it was taken for the status {status}"),
        Err(error) => {
            let report = error.to_string();
            ensure!(report.contains(shown), "{report}");
            Ok(())
        }
    }
}

fn shell(script: &str) -> Options {
    Options {
        kernel: None,
        modules: Vec::new(),
        cmdline: String::new(),
        memory: 1024,
        icount: false,
        timeout: 120,
        command: ["sh", "-c", script].map(Into::into).to_vec(),
    }
}
