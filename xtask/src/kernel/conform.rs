//! `cargo xtask kernel conform`: what all exporters answer, as docs/conformance.md.

use anyhow::{Result, ensure};

use super::{build, toolchain::Toolchain};
use crate::{
    cargo::{cargo, executables},
    vm,
};

/// Serves the same heaps as the module has beside it, and asks them all.
const SCRIPT: &str = r#"
dmabuf=$1
mkdir /run/dmabuf && : >/run/ready || exit
"$dmabuf" serve >/run/ready &
until grep -q '^ready' /run/ready; do kill -0 $! || exit; sleep 0.1; done

cat <<END
# What exporters answer

Made by \`cargo xtask kernel conform >docs/conformance.md\`, on Linux $(uname -r): its own exporters, the
heaps of the kernel module, and (\`:served\`) those of \`dmabuf serve\`. What the marks mean is at the end.
END
heaps="coherent bounce tracked checked unmappable"
cd /dev && "$dmabuf" conform --markdown udmabuf dma_heap/system dri/card* video0 video1 \
    $(printf 'dma_heap/%s ' $heaps) $(printf '/run/dmabuf/%s ' $heaps)
"#;

/// Prints the document.
pub fn conform(kernel: Option<&str>, toolchain: &Toolchain) -> Result<()> {
    let heaps = build(toolchain)?;
    let importer = heaps.with_file_name("dmabuf_importer.ko");
    let modules = [
        format!("{} heaps=coherent,bounce,tracked,checked,unmappable", heaps.display()),
        importer.display().to_string(),
    ];
    let dmabuf = executables(cargo("build").args(["--package", "dmabuf-cli"]))?;
    let shape = vm::Shape { kernel, modules: &modules, ..Default::default() };
    let status = vm::sh(&shape, SCRIPT, &dmabuf)?;
    ensure!(
        status == 0,
        "`dmabuf conform` or `dmabuf serve` ended with status {status} in the machine; a behaviour \
         that is required and does not hold is marked with ✗ in what was printed"
    );
    Ok(())
}
