//! With `dma_heap.mem_accounting=1` on the kernel's command line a buffer's memory is charged to the
//! cgroup of who allocates it, as that of mainline's system heap is, and the cgroup's limit holds.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use dmabuf_kernel_tests::{Buffer, Ended, HEAPS, in_a_fork, machine, module};
use rustix::process::Signal;

const SIZE: usize = 16 << 20;

/// A cgroup, removed when it is dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new() -> Cgroup {
        let root = PathBuf::from("/run/cgroup");
        if !root.exists() {
            fs::create_dir(&root).expect("/run can be written");
            let mounted = Command::new("mount").args(["-t", "cgroup2", "none"]).arg(&root).status();
            assert!(mounted.expect("mount starts").success());
        }
        fs::write(root.join("cgroup.subtree_control"), "+memory").expect("memory is controlled");
        let group = root.join("buffers");
        fs::create_dir(&group).expect("a cgroup");
        Cgroup(group)
    }

    /// This process's from now on.
    fn join(&self) {
        fs::write(self.0.join("cgroup.procs"), "0").expect("root may");
    }

    fn limit(&self, bytes: usize) {
        fs::write(self.0.join("memory.max"), bytes.to_string()).expect("root may");
    }

    /// Bytes that are charged.
    fn charged(&self) -> usize {
        let current = fs::read_to_string(self.0.join("memory.current")).expect("it tells");
        current.trim().parse().expect("a number")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        fs::remove_dir(&self.0).expect("nobody is in it");
    }
}

#[test]
fn a_buffers_memory_is_charged_to_who_allocates_it() {
    if !machine::accounts() {
        println!("skipped: the machine does not account the memory of heaps");
        return;
    }
    module::ensure();
    for heap in ["system"].iter().chain(&HEAPS) {
        let cgroup = Cgroup::new();
        // Two memories are charged twice.
        let memory = if *heap == "bounce" { 2 * SIZE } else { SIZE };
        let allocates = || {
            cgroup.join();
            let before = cgroup.charged();
            let buffer = Buffer::of(heap, SIZE);
            assert!(cgroup.charged() >= before + memory, "{heap}");
            drop(buffer);
        };
        assert_eq!(in_a_fork(allocates), Ended::Exited(0), "{heap}");

        cgroup.limit(SIZE / 2);
        let too_much = || {
            cgroup.join();
            assert!(Buffer::allocate(heap, SIZE).is_err(), "{heap}");
        };
        // It is refused, or the kernel ends the program, as for memory of any other kind.
        let ended = in_a_fork(too_much);
        assert!([Ended::Exited(0), Ended::Killed(Signal::KILL)].contains(&ended), "{heap}");
    }
}
