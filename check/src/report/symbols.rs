//! From registers and a copy of the stack to functions, files and lines.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use addr2line::Loader;
use framehop::x86_64::{CacheX86_64, Reg, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, FrameAddress, Module, Unwinder};
use object::elf::PF_X;
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol, SegmentFlags, SymbolKind};

use super::Frame;

/// As deep as anybody reads.
const FRAMES: usize = 64;

/// The files that code came from, and where each process had them.
#[derive(Default)]
pub struct Symbols {
    files: HashMap<String, Rc<File>>,
    processes: HashMap<u32, Process>,
}

/// Where one process had its code.
#[derive(Default)]
struct Process {
    code: Vec<Code>,
    /// Made when it is needed first.
    unwinder: OnceCell<UnwinderX86_64<Bytes>>,
}

/// A file's code in memory.
#[derive(Clone)]
struct Code {
    addresses: Range<u64>,
    /// What to subtract from an address to get one of the file's own.
    bias: u64,
    file: Rc<File>,
}

/// A program or library.
struct File {
    path: String,
    bytes: Vec<u8>,
    loader: OnceCell<Option<Loader>>,
    /// Functions, in the order of their addresses.
    functions: OnceCell<Vec<(Range<u64>, String)>>,
}

type Bytes = Vec<u8>;

impl File {
    fn open(path: &str) -> File {
        // One that is gone or unreadable has no symbols, and is told by its path alone.
        let bytes = std::fs::read(path).unwrap_or_default();
        File { path: path.to_owned(), bytes, loader: OnceCell::new(), functions: OnceCell::new() }
    }

    fn parse(&self) -> Option<object::File<'_>> {
        object::File::parse(&*self.bytes).ok()
    }

    fn loader(&self) -> Option<&Loader> {
        self.loader.get_or_init(|| Loader::new(Path::new(&self.path)).ok()).as_ref()
    }

    /// The name of the function that an address is in.
    fn function(&self, address: u64) -> Option<String> {
        let functions = self.functions.get_or_init(|| {
            let Some(parsed) = self.parse() else { return Vec::new() };
            let symbols = parsed.symbols().chain(parsed.dynamic_symbols());
            let functions = symbols.filter(|symbol| symbol.kind() == SymbolKind::Text);
            let mut functions: Vec<_> = functions
                .filter_map(|symbol| {
                    let range = symbol.address()..symbol.address() + symbol.size();
                    Some((range, symbol.name().ok()?.to_owned()))
                })
                .collect();
            functions.sort_by_key(|(range, _)| range.start);
            functions
        });
        let behind = functions.partition_point(|(range, _)| range.start <= address);
        // Of several names for one function the last will do.
        let (range, name) = functions[..behind].last()?;
        range.contains(&address).then(|| addr2line::demangle_auto(name.into(), None).into_owned())
    }

    /// The file's own address of what is at this offset in it.
    fn address_of(&self, offset: u64) -> Option<u64> {
        let parsed = self.parse()?;
        parsed.segments().find_map(|segment| {
            let SegmentFlags::Elf { p_flags } = segment.flags() else { return None };
            if p_flags & PF_X == 0 {
                return None;
            }
            let (start, len) = segment.file_range();
            // A mapping begins at a page, the segment somewhere in it.
            let first = start & !0xfff;
            (first <= offset && offset < start + len)
                .then(|| (segment.address() & !0xfff) + (offset - first))
        })
    }

    /// What the unwinder needs of it.
    fn sections(&self) -> ExplicitModuleSectionInfo<Bytes> {
        let Some(parsed) = self.parse() else { return ExplicitModuleSectionInfo::default() };
        let range = |name: &str| {
            let section = parsed.section_by_name(name)?;
            Some(section.address()..section.address() + section.size())
        };
        let data = |name: &str| {
            let section = parsed.section_by_name(name)?;
            section.uncompressed_data().ok().map(|data| data.into_owned())
        };
        ExplicitModuleSectionInfo {
            base_svma: 0,
            text_svma: range(".text"),
            text: data(".text"),
            got_svma: range(".got"),
            eh_frame_svma: range(".eh_frame"),
            eh_frame: data(".eh_frame"),
            eh_frame_hdr_svma: range(".eh_frame_hdr"),
            eh_frame_hdr: data(".eh_frame_hdr"),
            debug_frame: data(".debug_frame"),
            ..ExplicitModuleSectionInfo::default()
        }
    }
}

impl Symbols {
    /// Lines of `/proc/PID/maps` that are about code.
    pub fn note_maps(&mut self, process: u32, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let Some((addresses, offset, path)) = parse(&line) else { return };
        let process = self.processes.entry(process).or_default();
        if process.code.iter().any(|code| code.addresses == addresses && code.file.path == path) {
            return;
        }
        let file =
            self.files.entry(path.to_owned()).or_insert_with(|| Rc::new(File::open(path))).clone();
        let bias = addresses.start.wrapping_sub(file.address_of(offset).unwrap_or(offset));
        // What was mapped there before is gone.
        process.code.retain(|code| {
            code.addresses.end <= addresses.start || addresses.end <= code.addresses.start
        });
        process.code.push(Code { addresses, bias, file });
        process.unwinder.take();
    }

    /// How the program came to where it is, the innermost first; functions that were inlined are
    /// frames like others.
    pub fn backtrace(
        &self,
        process: u32,
        registers: &[u64; 17],
        after: bool,
        stack: &[u8],
    ) -> Vec<Frame> {
        let nothing = Process::default();
        let process = self.processes.get(&process).unwrap_or(&nothing);
        let unwinder = process.unwinder.get_or_init(|| process.unwinder());
        let [.., ip] = *registers;
        let (sp, bp) = (registers[7], registers[6]);
        let mut read_stack = |address: u64| {
            let at = usize::try_from(address.wrapping_sub(sp)).map_err(|_| ())?;
            let word = stack.get(at..at.saturating_add(8)).ok_or(())?;
            word.try_into().map(u64::from_ne_bytes).map_err(|_| ())
        };
        let mut cache = CacheX86_64::<_>::new();
        let mut state = UnwindRegsX86_64::new(ip, sp, bp);
        for (register, index) in [
            (Reg::RAX, 0),
            (Reg::RDX, 1),
            (Reg::RCX, 2),
            (Reg::RBX, 3),
            (Reg::RSI, 4),
            (Reg::RDI, 5),
            (Reg::R8, 8),
            (Reg::R9, 9),
            (Reg::R10, 10),
            (Reg::R11, 11),
            (Reg::R12, 12),
            (Reg::R13, 13),
            (Reg::R14, 14),
            (Reg::R15, 15),
        ] {
            state.set(register, registers[index]);
        }
        let mut frames = Vec::new();
        let mut unwound = unwinder.iter_frames(ip, state, &mut cache, &mut read_stack);
        while let Ok(Some(address)) = unwound.next()
            && frames.len() < FRAMES
        {
            let address = match address {
                FrameAddress::InstructionPointer(address) if after => address - 1,
                FrameAddress::InstructionPointer(address) => address,
                // A call returns behind itself.
                FrameAddress::ReturnAddress(address) => address.get() - 1,
            };
            process.frames(address, &mut frames);
        }
        frames
    }
}

impl Process {
    fn unwinder(&self) -> UnwinderX86_64<Bytes> {
        let mut unwinder = UnwinderX86_64::new();
        for Code { addresses, bias, file } in &self.code {
            let module = Module::new(file.path.clone(), addresses.clone(), *bias, file.sections());
            unwinder.add_module(module);
        }
        unwinder
    }

    /// The frames that an instruction is in.
    fn frames(&self, address: u64, frames: &mut Vec<Frame>) {
        let Some(code) = self.code.iter().find(|code| code.addresses.contains(&address)) else {
            return frames.push(Frame { address, ..Frame::default() });
        };
        let address = address.wrapping_sub(code.bias);
        let object = Some(code.file.path.clone());
        let before = frames.len();
        let loader = code.file.loader();
        if let Some(mut inlined) = loader.and_then(|loader| loader.find_frames(address).ok()) {
            while let Ok(Some(frame)) = inlined.next() {
                let function = frame
                    .function
                    .and_then(|name| name.demangle().ok().map(|name| name.into_owned()));
                let location = frame.location;
                frames.push(Frame {
                    file: location.as_ref().and_then(|at| at.file).map(str::to_owned),
                    line: location.as_ref().and_then(|at| at.line).filter(|&line| line > 0),
                    function,
                    object: object.clone(),
                    address,
                });
            }
        }
        if frames.len() == before {
            let function = code.file.function(address);
            frames.push(Frame { function, object, address, ..Frame::default() });
        }
    }
}

/// The innermost frame that is the program's own: with a line, and neither in the C library nor the
/// code of a standard library or a crate. Where no frame has a line, the innermost that is not in
/// the C library.
pub fn own(backtrace: &[Frame]) -> Option<&Frame> {
    let program = || backtrace.iter().filter(|frame| !is_of_libc(frame));
    program()
        .find(|frame| frame.line.is_some() && !is_of_others(frame))
        .or_else(|| program().find(|frame| frame.line.is_some()))
        .or_else(|| program().next())
        .or(backtrace.first())
}

/// The C library, and those that stand before it with the same functions.
const LIBRARIES: [&str; 8] =
    ["libc.so", "libc-", "libpthread", "ld-linux", "libasan.", "libtsan.", "liblsan.", "libubsan."];

fn is_of_libc(frame: &Frame) -> bool {
    let object = frame.object.as_deref().unwrap_or_default();
    let name = object.rsplit('/').next().unwrap_or_default();
    LIBRARIES.iter().any(|of| name.starts_with(of))
}

fn is_of_others(frame: &Frame) -> bool {
    let file = frame.file.as_deref().unwrap_or_default();
    file.starts_with("/rustc/")
        || file.starts_with("/usr/include/")
        || file.contains("/.cargo/registry/")
        || file.contains("/lib/rustlib/")
}

/// Addresses, offset in the file, and path.
fn parse(line: &str) -> Option<(Range<u64>, u64, &str)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let addresses = number(start)?..number(end)?;
    let offset = number(words.nth(1)?)?;
    let path = line.get(line.find('/')?..)?;
    Some((addresses, offset, path.strip_suffix(" (deleted)").unwrap_or(path)))
}
