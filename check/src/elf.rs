//! What an executable's first bytes tell of it: whether a library can be preloaded into it.

/// An executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// glibc's loader loads it, for x86-64.
    Dynamic,
    /// A script, or nobody could look: its interpreter will be looked at, or it will fail.
    Unknown,
    /// It is complete, and is where its addresses say.
    FixedStatic,
    /// It is complete, and is anywhere.
    Static,
    /// It is for another processor, or another loader loads it.
    Foreign,
}

impl Program {
    /// Whether it is not known that it cannot.
    pub fn can_be_preloaded(self) -> bool {
        matches!(self, Program::Dynamic | Program::Unknown)
    }
}

const ET_EXEC: u16 = 2;
const EM_X86_64: u16 = 62;
const PT_INTERP: u32 = 3;
const LOADER: &[u8] = b"ld-linux-x86-64.so.2\0";

/// What these bytes are the first of: the file's header, its program headers and, as linkers lay it
/// out, the name of the loader.
pub fn program(head: &[u8]) -> Program {
    let half = |at: usize| head.get(at..at + 2).map(|b| u16::from_ne_bytes([b[0], b[1]]));
    let word = |at: usize| {
        let bytes = head.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_ne_bytes(*bytes))
    };
    let long = |at: usize| {
        let bytes = head.get(at..)?.first_chunk::<8>()?;
        Some(u64::from_ne_bytes(*bytes) as usize)
    };
    if !head.starts_with(b"\x7fELF") {
        return Program::Unknown;
    }
    let (Some(kind), Some(machine)) = (half(16), half(18)) else { return Program::Unknown };
    if machine != EM_X86_64 || head.get(4) != Some(&2) {
        return Program::Foreign;
    }
    let (Some(headers), Some(size), Some(count)) = (long(32), half(54), half(56)) else {
        return Program::Unknown;
    };
    for index in 0..usize::from(count) {
        let at = headers.saturating_add(index * usize::from(size));
        let Some(segment) = word(at) else { return Program::Unknown };
        if segment != PT_INTERP {
            continue;
        }
        let (Some(start), Some(len)) = (long(at + 8), long(at + 32)) else {
            return Program::Unknown;
        };
        return match head.get(start..start.saturating_add(len)) {
            Some(loader) if loader.ends_with(LOADER) => Program::Dynamic,
            Some(_) => Program::Foreign,
            None => Program::Unknown,
        };
    }
    if kind == ET_EXEC { Program::FixedStatic } else { Program::Static }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_a_dynamic_program() {
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(program(&bytes[..4096]), Program::Dynamic);
    }

    #[test]
    fn scripts_and_ends_of_files_are_nothing_known() {
        for bytes in [&b"#!/bin/sh\n"[..], b"", b"\x7fELF", &[0x7f; 64]] {
            assert_eq!(program(bytes), Program::Unknown);
        }
    }

    #[test]
    fn a_program_without_a_loader_is_static() {
        let mut head = std::fs::read("/proc/self/exe").unwrap();
        head.truncate(4096);
        let [a, b] = 0_u16.to_ne_bytes();
        (head[56], head[57]) = (a, b);
        assert_eq!(program(&head), Program::Static);
        [head[16], head[17]] = ET_EXEC.to_ne_bytes();
        assert_eq!(program(&head), Program::FixedStatic);
        [head[18], head[19]] = 40_u16.to_ne_bytes();
        assert_eq!(program(&head), Program::Foreign);
    }
}
