//! The first file system of the machine: a cpio archive in the kernel's `newc` form
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::{fs, path::Path};

use anyhow::Result;

use super::modules::Module;

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// The programs of busybox that init.sh uses.
const APPLETS: &[&str] =
    &["cat", "chroot", "cp", "insmod", "ln", "mkdir", "mount", "reboot", "sh", "sleep"];

/// An archive with everything that the machine needs to load `modules` and run `command`, a
/// shell script; `nonce` marks the line by which it reports the script's status.
pub fn build(busybox: &Path, modules: &[Module], command: &[u8], nonce: &str) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "host", "job", "modules", "proc", "root", "sys", "writes"] {
        archive.add(folder, FOLDER, b"");
    }
    archive.add("bin/busybox", FILE, &fs::read(busybox)?);
    for applet in APPLETS {
        archive.add(&format!("bin/{applet}"), LINK, b"busybox");
    }
    archive.add("init", FILE, include_bytes!("init.sh"));
    let mut order = String::new();
    for Module { name, arguments, file } in modules {
        archive.add(&format!("modules/{name}.ko"), FILE, &fs::read(file)?);
        order += &format!("{name}.ko {arguments}\n");
    }
    archive.add("modules/order", FILE, order.as_bytes());
    archive.add("job/command", FILE, command);
    archive.add("job/nonce", FILE, nonce.as_bytes());
    Ok(archive.finish())
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: usize,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, data: &[u8]) {
        self.entries += 1;
        let links = 1;
        let (user, group, time, device, check) = (0, 0, 0, 0, 0);
        let fields = [
            self.entries,
            mode as usize,
            user,
            group,
            links,
            time,
            data.len(),
            device,
            device,
            device,
            device,
            name.len() + 1,
            check,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, b"");
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_header_a_name_and_the_data_each_padded() {
        let mut archive = Archive::default();
        archive.add("a", FILE, b"hello");
        let expected = concat!(
            "070701", "00000001", "000081ed", "00000000", "00000000", "00000001", "00000000",
            "00000005", "00000000", "00000000", "00000000", "00000000", "00000002", "00000000",
        );
        let (header, rest) = archive.bytes.split_at(110);
        assert_eq!(header, expected.as_bytes());
        assert_eq!(rest, b"a\0hello\0\0\0");
    }
}
