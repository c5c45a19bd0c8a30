//! Which packages belong to one another.
//!
//! A module in Rust loads only into the kernel whose crates it was compiled against, and those
//! crates can be read only by the compiler that made them. So headers and source have the revision
//! of the image that boots, and the compiler is the one that this image was built by.

use anyhow::{Context, Result, bail};

use crate::{apt::Index, vm::Kernel};

/// What a module is built with, by version.
pub struct Pins {
    /// What `uname -r` says.
    pub release: String,
    /// The revision of the kernel's packages.
    pub revision: String,
    /// What `rustc --version` says.
    pub compiler: String,
}

impl Pins {
    /// Those of a kernel.
    pub fn of(kernel: &Kernel) -> Result<Self> {
        let release = kernel.release().to_string();
        if kernel.option("CONFIG_RUST")?.is_none() {
            bail!("{release} is built without Rust, so the module cannot be built for it");
        }
        let compiler = kernel.option("CONFIG_RUSTC_VERSION_TEXT")?;
        let compiler = compiler.context("its configuration does not tell the Rust compiler")?;
        Ok(Pins { release, revision: kernel.revision()?, compiler })
    }

    /// The compiler's number: `1.85.1` of `rustc 1.85.1 (4eb161250 2025-03-15) (…)`.
    pub fn compiler_number(&self) -> &str {
        self.compiler.split(' ').nth(1).unwrap_or_default()
    }

    /// The packages that building the module takes.
    pub fn build_packages(&self, index: &Index) -> Result<Vec<String>> {
        let headers = format!("linux-headers-{}", self.release);
        let compiler = self.compiler_package(index)?;
        let mut packages = vec![
            self.kernel_package(index, &headers)?,
            format!("rustc={compiler}"),
            format!("rust-clippy={compiler}"),
            format!("rustfmt={compiler}"),
        ];
        // The first line is what every Debian has, and nothing depends on.
        packages.extend(
            ["base-files", "bash", "coreutils", "dash", "diffutils", "findutils", "grep", "sed"]
                .iter()
                .chain(&["dpkg", "make", "mawk", "pahole", "xz-utils"])
                .map(ToString::to_string),
        );
        Ok(packages)
    }

    /// The packages that making the metadata of the kernel's crates takes beside those.
    pub fn metadata_packages(&self, index: &Index) -> Result<Vec<String>> {
        let compiler = self.compiler_package(index)?;
        Ok(vec![
            self.kernel_package(index, &format!("linux-source-{}", self.series()))?,
            format!("rust-src={compiler}"),
            "bindgen".to_string(),
            "libc6-dev".to_string(),
            "tar".to_string(),
        ])
    }

    /// `7.3` of `7.3.4+deb13-amd64`.
    pub fn series(&self) -> &str {
        let end = self.release.match_indices('.').nth(1);
        end.map_or(&self.release, |(end, _)| &self.release[..end])
    }

    fn kernel_package(&self, index: &Index, package: &str) -> Result<String> {
        let offered = index.versions(package)?;
        if !offered.contains(&self.revision) {
            bail!(
                "the kernel that boots is {}, and Debian offers {package} only in: {}. A newer \
                 kernel is fetched when the old one is removed from the cache folder",
                self.revision,
                list(&offered)
            );
        }
        Ok(format!("{package}={}", self.revision))
    }

    fn compiler_package(&self, index: &Index) -> Result<String> {
        let offered = index.versions("rustc")?;
        let number = self.compiler_number();
        let found = offered.iter().find(|version| {
            version.strip_prefix(number).is_some_and(|rest| rest.starts_with(['+', '-']))
        });
        let found = found.with_context(|| {
            format!(
                "{} was built by rustc {number}; Debian offers {}",
                self.release,
                list(&offered)
            )
        })?;
        Ok(found.clone())
    }
}

fn list(versions: &[String]) -> String {
    if versions.is_empty() { "none".to_string() } else { versions.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_and_compiler_are_read_from_what_the_kernel_tells() {
        let pins = Pins {
            release: "7.3.4+deb13-amd64".to_string(),
            revision: "7.3.4-1~bpo13+1".to_string(),
            compiler: "rustc 1.85.1 (4eb161250 2025-03-15) (built from a tarball)".to_string(),
        };
        assert_eq!(pins.series(), "7.3");
        assert_eq!(pins.compiler_number(), "1.85.1");
    }
}
