#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Makes what Debian's kernel headers lack for a module in Rust: the metadata of the kernel's own
# crates, which are compiled as the kernel's build does, by the same compiler, from the source of
# the same package revision. It goes beside the headers; README.md says what has to be installed.
#
#     rust-metadata.sh /lib/modules/$(uname -r)/build /usr/src/linux-source-7.3.tar.xz
#
# DESTDIR is put before every path that is written.
set -eu

if [ $# -ne 2 ]; then
	echo "usage: $0 BUILD_FOLDER SOURCE.tar.xz" >&2
	exit 2
fi
headers=$(realpath "$1")
source=$2
if [ ! -r "$source" ]; then
	echo "$source is missing; it is in Debian's package $(basename "$source" .tar.xz)" >&2
	exit 1
fi
if [ -z "${DESTDIR:-}" ] && [ ! -w "$headers" ]; then
	echo "the metadata goes into $headers, where only root may write: make it once as root" >&2
	exit 1
fi

# Only the compiler that the kernel was built by makes metadata of use.
expected=$(sed -n 's/^CONFIG_RUSTC_VERSION_TEXT="\(.*\)"$/\1/p' "$headers/.config")
if [ -z "$expected" ]; then
	echo "$headers: that kernel is built without Rust (CONFIG_RUST)" >&2
	exit 1
fi
if [ "$(rustc --version)" != "$expected" ]; then
	echo "that kernel is built by \"$expected\", and this is \"$(rustc --version)\"" >&2
	exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Of the kernel's 1.6 GB, what its Rust code is made of: every header that it may want (those of
# drivers/gpu alone are as many as all others), and the build's own files.
xz -T0 -dc "$source" | tar -x -C "$work" --strip-components=1 --exclude='*/drivers/gpu' --wildcards \
	'*/Makefile' '*/Kbuild' '*/.clippy.toml' '*/.rustfmt.toml' \
	'linux-source-*/arch/x86' 'linux-source-*/include' 'linux-source-*/rust' \
	'linux-source-*/scripts' 'linux-source-*/drivers/*.h'

common=$(sed -n 's/^include \(.*\)\/Makefile$/\1/p' "$headers/Makefile")
if ! cmp -s "$work/Makefile" "$common/Makefile"; then
	echo "$source is of another revision than $headers" >&2
	exit 1
fi

# The headers are already configured, and hold the programs that the build runs.
mkdir -p "$work/out/scripts"
cp -a "$headers/.config" "$headers/arch" "$headers/include" "$work/out/"
cp -aL "$headers/scripts/basic" "$headers/scripts/mod" "$work/out/scripts/"
touch "$work/out/include/config/auto.conf.cmd"
cd "$work/out"
rustc --edition=2021 -O -o scripts/generate_rust_target ../scripts/generate_rust_target.rs
scripts/generate_rust_target <include/config/auto.conf >scripts/target.json

# The kernel's Makefile has no goal for these crates alone.
cat >>../Makefile <<'EOF'
ifneq ($(need-sub-make),1)
crates:
	$(Q)$(MAKE) $(build)=rust
endif
EOF
compiler=$(sed -n 's/^CONFIG_CC_VERSION_TEXT="\([^ ]*\) .*/\1/p' .config)
unset MAKEFLAGS
make -f ../Makefile -j"$(nproc)" CC="$compiler" HOSTCC="$compiler" crates

install() {
	mkdir -p "${DESTDIR:-}$2"
	cp "$1" "${DESTDIR:-}$2/"
}
for crate in rust/*.rmeta rust/*.so; do
	install "$crate" "$headers/rust"
done
install scripts/target.json "$(realpath "$headers/scripts")"
# How the kernel's Rust code is formatted and linted.
install ../.rustfmt.toml "$headers/rust"
install ../.clippy.toml "$common"
