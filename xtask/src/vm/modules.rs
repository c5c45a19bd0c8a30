//! Kernel modules: found by name, decompressed, in the order in which they have to be loaded.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// A module that is ready to be loaded.
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// The arguments to load it with.
    pub arguments: String,
    /// The ELF file.
    pub file: PathBuf,
}

/// The modules of one kernel.
pub struct Modules<'a> {
    /// Compressed files by name.
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
    unpacked: PathBuf,
    busybox: &'a Path,
}

impl<'a> Modules<'a> {
    /// The modules in a kernel's folder (usr/lib/modules/RELEASE), which `busybox` decompresses.
    pub fn of(folder: &Path, busybox: &'a Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        walk(&folder.join("kernel"), &mut files)?;
        let builtin = fs::read_to_string(folder.join("modules.builtin"))?;
        Ok(Modules {
            files,
            builtin: builtin.lines().filter_map(|line| name_of(Path::new(line))).collect(),
            unpacked: folder.join("unpacked"),
            busybox,
        })
    }

    /// The modules asked for and all that they need, each after what it needs.
    ///
    /// A request is the name of one of this kernel's modules, or the path of a file that ends in
    /// `.ko`; arguments may follow after blanks.
    pub fn load_order<S: AsRef<str>>(&self, requests: &[S]) -> Result<Vec<Module>> {
        let mut order = Vec::new();
        for request in requests {
            let (module, arguments) =
                request.as_ref().split_once(' ').unwrap_or((request.as_ref(), ""));
            if module.ends_with(".ko") {
                let file = PathBuf::from(module);
                let name = name_of(&file).context("a module without a name")?;
                self.push(name, arguments, file, &mut order)?;
            } else {
                self.push_named(module, arguments, &mut order)?;
            }
        }
        Ok(order)
    }

    fn push_named(&self, name: &str, arguments: &str, order: &mut Vec<Module>) -> Result<()> {
        let name = name.replace('-', "_");
        if self.builtin.contains(&name) || order.iter().any(|module| module.name == name) {
            return Ok(());
        }
        let file = self.unpack(&name)?;
        self.push(name, arguments, file, order)
    }

    fn push(
        &self,
        name: String,
        arguments: &str,
        file: PathBuf,
        order: &mut Vec<Module>,
    ) -> Result<()> {
        let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        for needed in needs(&bytes) {
            self.push_named(needed, "", order)?;
        }
        order.push(Module { name, arguments: arguments.to_string(), file });
        Ok(())
    }

    /// The decompressed file of a module, made at its first use.
    fn unpack(&self, name: &str) -> Result<PathBuf> {
        let Some(file) = self.files.get(name) else {
            bail!("this kernel has no module {name}");
        };
        let unpacked = self.unpacked.join(format!("{name}.ko"));
        if !unpacked.is_file() {
            fs::create_dir_all(&self.unpacked)?;
            let output = Command::new(self.busybox)
                .args(["unxz", "-c"])
                .arg(file)
                .stderr(Stdio::inherit())
                .output()?;
            if !output.status.success() {
                bail!("decompressing {}: {}", file.display(), output.status);
            }
            let mut new = tempfile::NamedTempFile::new_in(&self.unpacked)?;
            new.write_all(&output.stdout)?;
            new.persist(&unpacked)?;
        }
        Ok(unpacked)
    }
}

fn walk(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk(&path, files)?;
        } else if let Some(name) = name_of(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// The kernel's name for the module in a file: `virtio_gpu` for `…/virtio-gpu.ko.xz`.
fn name_of(file: &Path) -> Option<String> {
    let file = file.file_name().and_then(OsStr::to_str)?;
    let (stem, _) = file.split_once(".ko")?;
    Some(stem.replace('-', "_"))
}

/// The modules that a module's own `depends=` entry names (modinfo(8)).
fn needs(module: &[u8]) -> Vec<&str> {
    module
        .split(|&byte| byte == 0)
        .find_map(|entry| entry.strip_prefix(b"depends="))
        .and_then(|names| str::from_utf8(names).ok())
        .into_iter()
        .flat_map(|names| names.split(','))
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_gives_the_module_name() {
        assert_eq!(name_of(Path::new("kernel/virtio-gpu.ko.xz")).as_deref(), Some("virtio_gpu"));
        assert_eq!(name_of(Path::new("modules.order")), None);
    }

    #[test]
    fn needs_are_read_from_the_modinfo_section() {
        assert_eq!(needs(b"\x7fELF\0license=GPL\0depends=9pnet,netfs\0"), ["9pnet", "netfs"]);
        assert!(needs(b"\x7fELF\0depends=\0").is_empty());
    }
}
