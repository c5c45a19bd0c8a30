//! Stock Debian kernels: which there are, and their files in the cache.

use std::{
    cmp::Reverse,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::apt::Index;

/// The kernels that this project is tested with, newest first.
pub const TESTED: &[&str] = &["7.3.4", "6.12.107"];

/// The packages of Debian's stock kernels. A newer kernel is spread over several of them.
const PACKAGES: &str = "^linux-(image|binary|modules|base)-[0-9.]+[+]deb[0-9]+-amd64$";

/// A kernel whose packages have been unpacked.
pub struct Kernel {
    release: String,
    folder: PathBuf,
}

impl Kernel {
    /// The kernel of that version, or else the newest that Debian offers; fetched once into the
    /// folder `cache`.
    pub fn find(version: Option<&str>, cache: &Path) -> Result<Self> {
        let kernels = cache.join("kernels");
        if let Some(version) = version
            && let Some(kernel) = Self::cached(version, &kernels)?
        {
            return Ok(kernel);
        }
        let index = Index::open(cache)?;
        let packages = index.names(PACKAGES)?;
        let releases = releases(&packages);
        let release = match version {
            None => releases.first(),
            Some(version) => releases.iter().find(|release| number(release) == version),
        };
        let Some(&release) = release else {
            let offered: Vec<_> = releases.iter().map(|release| number(release)).collect();
            bail!(
                "Debian does not offer that kernel; it offers {}; tested are {}",
                offered.join(", "),
                TESTED.join(", ")
            );
        };
        let folder = kernels.join(release);
        if !folder.is_dir() {
            let end = format!("-{release}");
            let packages: Vec<_> = packages.iter().filter(|name| name.ends_with(&end)).collect();
            eprintln!("fetching the kernel {release}");
            index.unpack(&packages, &folder)?;
        }
        Ok(Kernel { release: release.to_string(), folder })
    }

    fn cached(version: &str, kernels: &Path) -> Result<Option<Self>> {
        if !kernels.is_dir() {
            return Ok(None);
        }
        for entry in fs::read_dir(kernels)? {
            let entry = entry?;
            let release = entry.file_name().to_string_lossy().into_owned();
            if number(&release) == version {
                return Ok(Some(Kernel { release, folder: entry.path() }));
            }
        }
        Ok(None)
    }

    /// What `uname -r` says in it.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Whether the project is tested with this kernel.
    pub fn is_tested(&self) -> bool {
        TESTED.contains(&number(&self.release))
    }

    /// The revision of its packages, such as `7.3.4-1~bpo13+1`: the image names it.
    pub fn revision(&self) -> Result<String> {
        let image = self.image()?;
        let bytes = fs::read(&image)?;
        revision(&bytes).with_context(|| format!("{} names no revision", image.display()))
    }

    /// What one of the options is set to that it was built with; `None` if it is not set.
    pub fn option(&self, name: &str) -> Result<Option<String>> {
        let places = [
            self.modules().join("config"),
            self.folder.join(format!("boot/config-{}", self.release)),
        ];
        let place = places.iter().find(|place| place.is_file());
        let place = place.with_context(|| format!("no configuration of {}", self.release))?;
        Ok(option(&fs::read_to_string(place)?, name))
    }

    /// The file that boots.
    pub fn image(&self) -> Result<PathBuf> {
        let places = [
            self.modules().join("vmlinuz"),
            self.folder.join(format!("boot/vmlinuz-{}", self.release)),
        ];
        places
            .into_iter()
            .find(|place| place.is_file())
            .with_context(|| format!("the packages of {} hold no kernel", self.release))
    }

    /// The folder of its modules.
    pub fn modules(&self) -> PathBuf {
        self.folder.join("usr/lib/modules").join(&self.release)
    }
}

/// The revision in the text by which a bzImage describes itself: `… Debian REVISION (DATE)`. Where
/// that text is, Documentation/arch/x86/boot.rst says (`kernel_version`).
fn revision(image: &[u8]) -> Option<String> {
    let pointer = image.get(0x20e..0x210)?;
    let start = usize::from(u16::from_le_bytes(pointer.try_into().ok()?)) + 0x200;
    let text = image.get(start..)?.split(|&byte| byte == 0).next()?;
    let (_, rest) = str::from_utf8(text).ok()?.rsplit_once(" Debian ")?;
    rest.split(' ').next().map(str::to_string)
}

/// The value of an option in a kernel's configuration, without quotes.
fn option(config: &str, name: &str) -> Option<String> {
    let values = config.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    values.map(|value| value.trim_matches('"').to_string()).next()
}

/// The releases of all kernels among `packages`, newest first.
fn releases(packages: &[String]) -> Vec<&str> {
    let mut releases: Vec<_> =
        packages.iter().filter_map(|name| name.strip_prefix("linux-image-")).collect();
    releases.sort_by_key(|release| Reverse(order(release)));
    releases
}

/// The version in a release: `7.3.4` of `7.3.4+deb13-amd64`.
fn number(release: &str) -> &str {
    release.split('+').next().unwrap_or(release)
}

fn order(release: &str) -> Vec<u32> {
    number(release).split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(order("6.12.107+deb13-amd64") > order("6.12.94+deb13-amd64"));
        assert!(order("7.3.4+deb13-amd64") > order("6.19.14+deb13-amd64"));
    }

    #[test]
    fn an_image_names_its_revision() {
        let mut image = vec![0; 0x20e];
        image.extend(0x20_u16.to_le_bytes());
        image.resize(0x220, 0);
        image.extend(b"7.3.4+deb13-amd64 (x) #1 SMP Debian 7.3.4-1~bpo13+1 (2026-11-15)\0rest");
        assert_eq!(revision(&image).as_deref(), Some("7.3.4-1~bpo13+1"));
        assert_eq!(revision(b"MZ"), None);
    }

    #[test]
    fn an_option_is_set_or_not() {
        let config = "CONFIG_RUST_X=n\nCONFIG_RUST=y\nCONFIG_TEXT=\"a b\"\n# CONFIG_C is not set\n";
        assert_eq!(option(config, "CONFIG_RUST").as_deref(), Some("y"));
        assert_eq!(option(config, "CONFIG_TEXT").as_deref(), Some("a b"));
        assert_eq!(option(config, "CONFIG_C"), None);
    }

    #[test]
    fn a_release_begins_with_its_version() {
        assert_eq!(number("7.3.4+deb13-amd64"), "7.3.4");
    }
}
