//! Every number, size and offset of this crate is the one in the system's C headers, or in our own
//! header where the system has none; and no two ioctls share a number.

use std::collections::BTreeMap;
use std::mem::{offset_of, size_of};
use std::path::Path;
use std::process::Command;

use dmabuf_uapi::*;

/// A field's name in C, where that is another one.
macro_rules! c_name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $c:literal) => {
        $c
    };
}

/// `name => value` for constants and `sizeof` and offsets of structs, under the names that
/// `headers.c` prints.
macro_rules! values {
    (
        numbers { $($number:ident)* }
        structs { $($c:ident = $rust:ident { $($field:ident $($c_field:literal)?)* })* }
    ) => {
        BTreeMap::from([
            $((stringify!($number).to_owned(), $number as u64),)*
            $(
                (concat!("sizeof ", stringify!($c)).to_owned(), size_of::<$rust>() as u64),
                $((
                    concat!(stringify!($c), ".", c_name!($field $($c_field)?)).to_owned(),
                    offset_of!($rust, $field) as u64,
                ),)*
            )*
        ])
    };
}

fn rust_values() -> BTreeMap<String, u64> {
    values! {
        numbers {
            DMA_BUF_MAGIC FUSE_SUPER_MAGIC
            DMA_BUF_BASE DMA_BUF_SYNC_READ DMA_BUF_SYNC_WRITE DMA_BUF_SYNC_RW DMA_BUF_SYNC_START
            DMA_BUF_SYNC_END DMA_BUF_SYNC_VALID_FLAGS_MASK DMA_BUF_NAME_LEN
            DMA_BUF_IOCTL_SYNC DMA_BUF_SET_NAME_A DMA_BUF_SET_NAME_B
            DMA_BUF_IOCTL_EXPORT_SYNC_FILE DMA_BUF_IOCTL_IMPORT_SYNC_FILE
            DMA_BUF_ACCESS_BASE DMA_BUF_IOCTL_PREPARE_ACCESS DMA_BUF_IOCTL_FINISH_ACCESS
            DMA_BUF_IOCTL_QUERY DMA_BUF_IOCTL_SYNC_RANGE DMA_BUF_IOCTL_SYNC_PARTIAL
            DMA_BUF_QUERY_NAME_LEN DMA_BUF_QUERY_MMAP_READ DMA_BUF_QUERY_MMAP_WRITE
            DMA_BUF_QUERY_COHERENT DMA_BUF_QUERY_BRACKET DMA_BUF_QUERY_RANGE
            DMA_BUF_QUERY_TRACKED DMA_BUF_QUERY_CHECKED
            DMABUF_DEVICE_QUERY DMABUF_DEVICE_SYNC_RANGE DMABUF_DEVICE_SYNC_PARTIAL
            DMABUF_DEVICE_STATS DMABUF_DEVICE_ALLOC
            DMABUF_IMPORTER_ATTACH DMABUF_IMPORTER_MAP DMABUF_IMPORTER_UNMAP
            DMA_HEAP_IOC_MAGIC DMA_HEAP_IOCTL_ALLOC
            UDMABUF_FLAGS_CLOEXEC UDMABUF_CREATE UDMABUF_CREATE_LIST
            SYNC_IOC_MAGIC SYNC_IOC_MERGE SYNC_IOC_FILE_INFO SYNC_IOC_SET_DEADLINE
            DRM_IOCTL_BASE DRM_COMMAND_BASE DRM_IOCTL_GEM_CLOSE DRM_IOCTL_PRIME_HANDLE_TO_FD
            DRM_IOCTL_PRIME_FD_TO_HANDLE DRM_IOCTL_MODE_CREATE_DUMB DRM_IOCTL_MODE_MAP_DUMB
            VGEM_FENCE_WRITE DRM_IOCTL_VGEM_FENCE_ATTACH DRM_IOCTL_VGEM_FENCE_SIGNAL
            V4L2_CAP_VIDEO_CAPTURE V4L2_CAP_VIDEO_OUTPUT V4L2_CAP_VIDEO_CAPTURE_MPLANE
            V4L2_CAP_STREAMING V4L2_CAP_DEVICE_CAPS V4L2_BUF_TYPE_VIDEO_CAPTURE
            V4L2_BUF_TYPE_VIDEO_OUTPUT V4L2_MEMORY_MMAP V4L2_MEMORY_DMABUF V4L2_FIELD_NONE
            V4L2_BUF_FLAG_ERROR V4L2_CTRL_TYPE_MENU V4L2_CTRL_FLAG_NEXT_CTRL V4L2_PIX_FMT_XBGR32
            V4L2_PIX_FMT_YUYV VIDIOC_QUERYCAP VIDIOC_ENUM_FMT VIDIOC_G_FMT VIDIOC_S_FMT
            VIDIOC_REQBUFS VIDIOC_QUERYBUF VIDIOC_QBUF VIDIOC_EXPBUF VIDIOC_DQBUF VIDIOC_STREAMON
            VIDIOC_STREAMOFF VIDIOC_ENUMINPUT VIDIOC_G_CTRL VIDIOC_S_CTRL VIDIOC_QUERYCTRL
            VIDIOC_QUERYMENU VIDIOC_G_INPUT VIDIOC_S_INPUT VIDIOC_G_OUTPUT VIDIOC_S_OUTPUT
            VIDIOC_ENUMOUTPUT
        }
        structs {
            dma_buf_sync = DmaBufSync { flags }
            dma_buf_export_sync_file = DmaBufExportSyncFile { flags fd }
            dma_buf_import_sync_file = DmaBufImportSyncFile { flags fd }
            dma_buf_sync_partial = DmaBufSyncPartial { flags offset len }
            dma_buf_query = DmaBufQuery { size flags granule exporter name reserved }
            dma_buf_sync_range = DmaBufSyncRange { flags offset len }
            dmabuf_device_query = DmabufDeviceQuery { fd pad query }
            dmabuf_device_sync_range = DmabufDeviceSyncRange { fd pad sync }
            dmabuf_device_sync_partial = DmabufDeviceSyncPartial { fd pad sync }
            dmabuf_device_stats = DmabufDeviceStats {
                fd pad begins ends bytes_to_device bytes_from_device faults violations reserved
            }
            dmabuf_device_alloc = DmabufDeviceAlloc { fd fd_flags len heap }
            dma_heap_allocation_data = DmaHeapAllocationData { len fd fd_flags heap_flags }
            udmabuf_create = UdmabufCreate { memfd flags offset size }
            udmabuf_create_item = UdmabufCreateItem { memfd pad "__pad" offset size }
            udmabuf_create_list = UdmabufCreateList { flags count list }
            sync_merge_data = SyncMergeData { name fd2 fence flags pad }
            sync_fence_info = SyncFenceInfo { obj_name driver_name status flags timestamp_ns }
            sync_file_info = SyncFileInfo { name status flags num_fences pad sync_fence_info }
            sync_set_deadline = SyncSetDeadline { deadline_ns pad }
            drm_gem_close = DrmGemClose { handle pad }
            drm_prime_handle = DrmPrimeHandle { handle flags fd }
            drm_mode_create_dumb = DrmModeCreateDumb { height width bpp flags handle pitch size }
            drm_mode_map_dumb = DrmModeMapDumb { handle pad offset }
            drm_vgem_fence_attach = DrmVgemFenceAttach { handle flags out_fence pad }
            drm_vgem_fence_signal = DrmVgemFenceSignal { fence flags }
            v4l2_capability = V4l2Capability {
                driver card bus_info version capabilities device_caps reserved
            }
            v4l2_fmtdesc = V4l2Fmtdesc {
                index kind "type" flags description pixelformat mbus_code reserved
            }
            v4l2_pix_format = V4l2PixFormat {
                width height pixelformat field bytesperline sizeimage colorspace r#priv "priv"
                flags ycbcr_enc quantization xfer_func
            }
            v4l2_format = V4l2Format { kind "type" pix "fmt.pix" }
            v4l2_requestbuffers = V4l2RequestBuffers {
                count kind "type" memory capabilities flags reserved
            }
            v4l2_buffer = V4l2Buffer {
                index kind "type" bytesused flags field timestamp timecode sequence memory m
                length reserved2 request_fd
            }
            v4l2_exportbuffer = V4l2ExportBuffer { kind "type" index plane flags fd reserved }
            v4l2_input = V4l2Input {
                index name kind "type" audioset tuner std status capabilities reserved
            }
            v4l2_output = V4l2Output {
                index name kind "type" audioset modulator std capabilities reserved
            }
            v4l2_control = V4l2Control { id value }
            v4l2_queryctrl = V4l2QueryCtrl {
                id kind "type" name minimum maximum step default_value flags reserved
            }
            v4l2_querymenu = V4l2QueryMenu { id index name reserved }
        }
    }
}

/// What `headers.c` prints; `None`, and a line that says why, where there is no C compiler.
fn c_output() -> Option<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("headers");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let compiled = Command::new(&compiler)
        .args(["-Wall", "-Wextra", "-Werror", "-I"])
        .arg(here.join("include"))
        .arg(here.join("tests/headers.c"))
        .arg("-o")
        .arg(&program)
        .output();
    let compiled = match compiled {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: nothing is compared with the C headers, {compiler}: {error}");
            return None;
        }
    };
    let messages = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "headers.c does not compile:\n{messages}");
    let run = Command::new(&program).output().expect("the compiled program runs");
    assert!(run.status.success(), "{run:?}");
    Some(String::from_utf8(run.stdout).expect("plain text"))
}

#[test]
fn numbers_sizes_and_offsets_are_those_of_the_c_headers() {
    let Some(output) = c_output() else { return };
    let mut ours = rust_values();
    for line in output.lines() {
        let (name, value) = line.split_once('\t').expect("name, tab, value");
        if name == "missing" {
            println!("skipped: the system's headers do not have {value}");
            continue;
        }
        let ours = ours.remove(name).unwrap_or_else(|| panic!("{name} is not in this crate"));
        assert_eq!(ours, value.parse::<u64>().expect("a number"), "{name}");
    }
    // Left over is what headers.c did not print: only what it said to be missing may be.
    if !output.contains("missing\t") {
        assert!(ours.is_empty(), "headers.c does not print {ours:?}");
    }
    for name in ours.keys() {
        println!("skipped: {name} was not compared");
    }
}

#[test]
fn no_two_ioctls_share_a_number() {
    let names: Vec<_> = rust_values()
        .into_iter()
        .filter(|(name, _)| {
            let ioctl = [
                "_IOCTL_",
                "SET_NAME_",
                "DMABUF_DEVICE_",
                "DMABUF_IMPORTER_",
                "UDMABUF_CREATE",
                "SYNC_IOC_",
                "VIDIOC_",
            ];
            ioctl.iter().any(|part| name.contains(part))
                && !name.ends_with("_MAGIC")
                && name != "DRM_IOCTL_BASE"
        })
        .collect();
    assert_eq!(names.len(), 52, "{names:?}");
    let distinct: BTreeMap<_, _> = names.iter().map(|(name, number)| (number, name)).collect();
    assert_eq!(distinct.len(), names.len(), "{names:?}");
}

#[test]
fn sync_flags_are_the_six_that_the_kernel_takes() {
    for flags in 0..64 {
        assert_eq!(sync_flags_valid(flags), [1, 2, 3, 5, 6, 7].contains(&flags), "{flags}");
    }
    assert!(!sync_flags_valid(1 << 32 | DMA_BUF_SYNC_READ));
    assert!(!sync_flags_valid(u64::MAX));
}

/// The bytes of a struct of `u64`s and `u32`s, put together from its fields in their order.
fn bytes<const N: usize>(words: &[u64], halves: &[u32]) -> [u8; N] {
    let words = words.iter().flat_map(|word| word.to_ne_bytes());
    let halves = halves.iter().flat_map(|half| half.to_ne_bytes());
    let bytes: Vec<u8> = words.chain(halves).collect();
    bytes.try_into().expect("as many bytes as the struct has")
}

#[test]
fn arguments_are_read_from_the_bytes_of_the_struct() {
    assert_eq!(DmaBufSync::from_bytes(bytes(&[5], &[])), DmaBufSync { flags: 5 });
    assert_eq!(
        DmaBufSyncPartial::from_bytes(bytes(&[6], &[4096, 64])),
        DmaBufSyncPartial { flags: 6, offset: 4096, len: 64 }
    );
    assert_eq!(
        DmaBufSyncRange::from_bytes(bytes(&[7, 1 << 40, 9], &[])),
        DmaBufSyncRange { flags: 7, offset: 1 << 40, len: 9 }
    );
}

#[test]
fn a_query_is_written_to_the_bytes_of_the_struct() {
    let query = DmaBufQuery {
        size: 1 << 33,
        flags: 0x11,
        granule: 64,
        exporter: *b"bounce\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        name: [b'n'; DMA_BUF_QUERY_NAME_LEN],
        reserved: [0, 0, 0, 3],
    };
    let bytes = query.to_bytes();
    let at = |offset, len| &bytes[offset..offset + len];
    assert_eq!(at(offset_of!(DmaBufQuery, size), 8), (1u64 << 33).to_ne_bytes());
    assert_eq!(at(offset_of!(DmaBufQuery, flags), 4), 0x11u32.to_ne_bytes());
    assert_eq!(at(offset_of!(DmaBufQuery, granule), 4), 64u32.to_ne_bytes());
    assert_eq!(at(offset_of!(DmaBufQuery, exporter), 32), query.exporter);
    assert_eq!(at(offset_of!(DmaBufQuery, name), 32), query.name);
    assert_eq!(at(offset_of!(DmaBufQuery, reserved) + 24, 8), 3u64.to_ne_bytes());
}
