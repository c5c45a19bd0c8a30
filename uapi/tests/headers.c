/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Prints every number, size and offset of the headers that dmabuf-uapi mirrors, one on a line:
 * what it is, a tab, its value. "missing", a tab and a name is what these headers do not have.
 */
#include <stddef.h>
#include <stdio.h>

#include <linux/types.h>

#define NUMBER(name) printf(#name "\t%llu\n", (unsigned long long)(name))
#define SIZE(type) printf("sizeof " #type "\t%zu\n", sizeof(struct type))
#define FIELD(type, field) printf(#type "." #field "\t%zu\n", offsetof(struct type, field))
#define MISSING(name) printf("missing\t" name "\n")

#if __has_include(<linux/magic.h>)
#include <linux/magic.h>
#endif
#if __has_include(<linux/dma-buf.h>)
#include <linux/dma-buf.h>
#define HAVE_DMA_BUF
#endif
#if __has_include(<linux/dma-heap.h>)
#include <linux/dma-heap.h>
#define HAVE_DMA_HEAP
#endif
#if __has_include(<linux/udmabuf.h>)
#include <linux/udmabuf.h>
#define HAVE_UDMABUF
#endif
#if __has_include(<linux/sync_file.h>)
#include <linux/sync_file.h>
#define HAVE_SYNC_FILE
#endif
#if __has_include(<drm/drm.h>)
#include <drm/drm.h>
#define HAVE_DRM
#endif
#if __has_include(<drm/vgem_drm.h>)
#include <drm/vgem_drm.h>
#define HAVE_VGEM
#endif
#if __has_include(<linux/videodev2.h>)
#include <linux/videodev2.h>
#define HAVE_VIDEODEV2
#endif
/* After the system's, as a program would include it. */
#include "dmabuf.h"

int main(void)
{
#ifdef DMA_BUF_MAGIC
	NUMBER(DMA_BUF_MAGIC);
#else
	MISSING("DMA_BUF_MAGIC");
#endif
#ifdef FUSE_SUPER_MAGIC
	NUMBER(FUSE_SUPER_MAGIC);
#else
	MISSING("FUSE_SUPER_MAGIC");
#endif

#ifdef HAVE_DMA_BUF
	NUMBER(DMA_BUF_BASE);
	NUMBER(DMA_BUF_SYNC_READ);
	NUMBER(DMA_BUF_SYNC_WRITE);
	NUMBER(DMA_BUF_SYNC_RW);
	NUMBER(DMA_BUF_SYNC_START);
	NUMBER(DMA_BUF_SYNC_END);
	NUMBER(DMA_BUF_SYNC_VALID_FLAGS_MASK);
	NUMBER(DMA_BUF_NAME_LEN);
	SIZE(dma_buf_sync);
	FIELD(dma_buf_sync, flags);
	NUMBER(DMA_BUF_IOCTL_SYNC);
	NUMBER(DMA_BUF_SET_NAME_A);
	NUMBER(DMA_BUF_SET_NAME_B);
#else
	MISSING("linux/dma-buf.h");
#endif
#ifdef DMA_BUF_IOCTL_EXPORT_SYNC_FILE
	SIZE(dma_buf_export_sync_file);
	FIELD(dma_buf_export_sync_file, flags);
	FIELD(dma_buf_export_sync_file, fd);
	NUMBER(DMA_BUF_IOCTL_EXPORT_SYNC_FILE);
#else
	MISSING("DMA_BUF_IOCTL_EXPORT_SYNC_FILE");
#endif
#ifdef DMA_BUF_IOCTL_IMPORT_SYNC_FILE
	SIZE(dma_buf_import_sync_file);
	FIELD(dma_buf_import_sync_file, flags);
	FIELD(dma_buf_import_sync_file, fd);
	NUMBER(DMA_BUF_IOCTL_IMPORT_SYNC_FILE);
#else
	MISSING("DMA_BUF_IOCTL_IMPORT_SYNC_FILE");
#endif

	NUMBER(DMA_BUF_ACCESS_BASE);
	NUMBER(DMA_BUF_IOCTL_PREPARE_ACCESS);
	NUMBER(DMA_BUF_IOCTL_FINISH_ACCESS);
	NUMBER(DMA_BUF_IOCTL_QUERY);
	NUMBER(DMA_BUF_IOCTL_SYNC_RANGE);
	NUMBER(DMA_BUF_IOCTL_SYNC_PARTIAL);
	NUMBER(DMA_BUF_QUERY_NAME_LEN);
	NUMBER(DMA_BUF_QUERY_MMAP_READ);
	NUMBER(DMA_BUF_QUERY_MMAP_WRITE);
	NUMBER(DMA_BUF_QUERY_COHERENT);
	NUMBER(DMA_BUF_QUERY_BRACKET);
	NUMBER(DMA_BUF_QUERY_RANGE);
	NUMBER(DMA_BUF_QUERY_TRACKED);
	NUMBER(DMA_BUF_QUERY_CHECKED);
	SIZE(dma_buf_query);
	FIELD(dma_buf_query, size);
	FIELD(dma_buf_query, flags);
	FIELD(dma_buf_query, granule);
	FIELD(dma_buf_query, exporter);
	FIELD(dma_buf_query, name);
	FIELD(dma_buf_query, reserved);
	SIZE(dma_buf_sync_range);
	FIELD(dma_buf_sync_range, flags);
	FIELD(dma_buf_sync_range, offset);
	FIELD(dma_buf_sync_range, len);
	SIZE(dma_buf_sync_partial);
	FIELD(dma_buf_sync_partial, flags);
	FIELD(dma_buf_sync_partial, offset);
	FIELD(dma_buf_sync_partial, len);

	NUMBER(DMABUF_DEVICE_QUERY);
	NUMBER(DMABUF_DEVICE_SYNC_RANGE);
	NUMBER(DMABUF_DEVICE_SYNC_PARTIAL);
	NUMBER(DMABUF_DEVICE_STATS);
	NUMBER(DMABUF_DEVICE_ALLOC);
	NUMBER(DMABUF_IMPORTER_ATTACH);
	NUMBER(DMABUF_IMPORTER_MAP);
	NUMBER(DMABUF_IMPORTER_UNMAP);
	SIZE(dmabuf_device_query);
	FIELD(dmabuf_device_query, fd);
	FIELD(dmabuf_device_query, pad);
	FIELD(dmabuf_device_query, query);
	SIZE(dmabuf_device_sync_range);
	FIELD(dmabuf_device_sync_range, fd);
	FIELD(dmabuf_device_sync_range, pad);
	FIELD(dmabuf_device_sync_range, sync);
	SIZE(dmabuf_device_sync_partial);
	FIELD(dmabuf_device_sync_partial, fd);
	FIELD(dmabuf_device_sync_partial, pad);
	FIELD(dmabuf_device_sync_partial, sync);
	SIZE(dmabuf_device_stats);
	FIELD(dmabuf_device_stats, fd);
	FIELD(dmabuf_device_stats, pad);
	FIELD(dmabuf_device_stats, begins);
	FIELD(dmabuf_device_stats, ends);
	FIELD(dmabuf_device_stats, bytes_to_device);
	FIELD(dmabuf_device_stats, bytes_from_device);
	FIELD(dmabuf_device_stats, faults);
	FIELD(dmabuf_device_stats, violations);
	FIELD(dmabuf_device_stats, reserved);
	SIZE(dmabuf_device_alloc);
	FIELD(dmabuf_device_alloc, fd);
	FIELD(dmabuf_device_alloc, fd_flags);
	FIELD(dmabuf_device_alloc, len);
	FIELD(dmabuf_device_alloc, heap);

#ifdef HAVE_DMA_HEAP
	NUMBER(DMA_HEAP_IOC_MAGIC);
	NUMBER(DMA_HEAP_IOCTL_ALLOC);
	SIZE(dma_heap_allocation_data);
	FIELD(dma_heap_allocation_data, len);
	FIELD(dma_heap_allocation_data, fd);
	FIELD(dma_heap_allocation_data, fd_flags);
	FIELD(dma_heap_allocation_data, heap_flags);
#else
	MISSING("linux/dma-heap.h");
#endif

#ifdef HAVE_UDMABUF
	NUMBER(UDMABUF_FLAGS_CLOEXEC);
	NUMBER(UDMABUF_CREATE);
	NUMBER(UDMABUF_CREATE_LIST);
	SIZE(udmabuf_create);
	FIELD(udmabuf_create, memfd);
	FIELD(udmabuf_create, flags);
	FIELD(udmabuf_create, offset);
	FIELD(udmabuf_create, size);
	SIZE(udmabuf_create_item);
	FIELD(udmabuf_create_item, memfd);
	FIELD(udmabuf_create_item, __pad);
	FIELD(udmabuf_create_item, offset);
	FIELD(udmabuf_create_item, size);
	SIZE(udmabuf_create_list);
	FIELD(udmabuf_create_list, flags);
	FIELD(udmabuf_create_list, count);
	FIELD(udmabuf_create_list, list);
#else
	MISSING("linux/udmabuf.h");
#endif

#ifdef HAVE_SYNC_FILE
	NUMBER(SYNC_IOC_MAGIC);
	NUMBER(SYNC_IOC_MERGE);
	NUMBER(SYNC_IOC_FILE_INFO);
	SIZE(sync_merge_data);
	FIELD(sync_merge_data, name);
	FIELD(sync_merge_data, fd2);
	FIELD(sync_merge_data, fence);
	FIELD(sync_merge_data, flags);
	FIELD(sync_merge_data, pad);
	SIZE(sync_fence_info);
	FIELD(sync_fence_info, obj_name);
	FIELD(sync_fence_info, driver_name);
	FIELD(sync_fence_info, status);
	FIELD(sync_fence_info, flags);
	FIELD(sync_fence_info, timestamp_ns);
	SIZE(sync_file_info);
	FIELD(sync_file_info, name);
	FIELD(sync_file_info, status);
	FIELD(sync_file_info, flags);
	FIELD(sync_file_info, num_fences);
	FIELD(sync_file_info, pad);
	FIELD(sync_file_info, sync_fence_info);
#else
	MISSING("linux/sync_file.h");
#endif
#ifdef SYNC_IOC_SET_DEADLINE
	SIZE(sync_set_deadline);
	FIELD(sync_set_deadline, deadline_ns);
	FIELD(sync_set_deadline, pad);
	NUMBER(SYNC_IOC_SET_DEADLINE);
#else
	MISSING("SYNC_IOC_SET_DEADLINE");
#endif
#ifdef HAVE_DRM
	NUMBER(DRM_IOCTL_BASE);
	NUMBER(DRM_COMMAND_BASE);
	NUMBER(DRM_IOCTL_GEM_CLOSE);
	NUMBER(DRM_IOCTL_PRIME_HANDLE_TO_FD);
	NUMBER(DRM_IOCTL_PRIME_FD_TO_HANDLE);
	NUMBER(DRM_IOCTL_MODE_CREATE_DUMB);
	NUMBER(DRM_IOCTL_MODE_MAP_DUMB);
	SIZE(drm_gem_close);
	FIELD(drm_gem_close, handle);
	FIELD(drm_gem_close, pad);
	SIZE(drm_prime_handle);
	FIELD(drm_prime_handle, handle);
	FIELD(drm_prime_handle, flags);
	FIELD(drm_prime_handle, fd);
	SIZE(drm_mode_create_dumb);
	FIELD(drm_mode_create_dumb, height);
	FIELD(drm_mode_create_dumb, width);
	FIELD(drm_mode_create_dumb, bpp);
	FIELD(drm_mode_create_dumb, flags);
	FIELD(drm_mode_create_dumb, handle);
	FIELD(drm_mode_create_dumb, pitch);
	FIELD(drm_mode_create_dumb, size);
	SIZE(drm_mode_map_dumb);
	FIELD(drm_mode_map_dumb, handle);
	FIELD(drm_mode_map_dumb, pad);
	FIELD(drm_mode_map_dumb, offset);
#else
	MISSING("drm/drm.h");
#endif
#ifdef HAVE_VGEM
	NUMBER(VGEM_FENCE_WRITE);
	NUMBER(DRM_IOCTL_VGEM_FENCE_ATTACH);
	NUMBER(DRM_IOCTL_VGEM_FENCE_SIGNAL);
	SIZE(drm_vgem_fence_attach);
	FIELD(drm_vgem_fence_attach, handle);
	FIELD(drm_vgem_fence_attach, flags);
	FIELD(drm_vgem_fence_attach, out_fence);
	FIELD(drm_vgem_fence_attach, pad);
	SIZE(drm_vgem_fence_signal);
	FIELD(drm_vgem_fence_signal, fence);
	FIELD(drm_vgem_fence_signal, flags);
#else
	MISSING("drm/vgem_drm.h");
#endif
#ifdef HAVE_VIDEODEV2
	NUMBER(V4L2_CAP_VIDEO_CAPTURE);
	NUMBER(V4L2_CAP_VIDEO_OUTPUT);
	NUMBER(V4L2_CAP_VIDEO_CAPTURE_MPLANE);
	NUMBER(V4L2_CAP_STREAMING);
	NUMBER(V4L2_CAP_DEVICE_CAPS);
	NUMBER(V4L2_BUF_TYPE_VIDEO_CAPTURE);
	NUMBER(V4L2_BUF_TYPE_VIDEO_OUTPUT);
	NUMBER(V4L2_MEMORY_MMAP);
	NUMBER(V4L2_MEMORY_DMABUF);
	NUMBER(V4L2_FIELD_NONE);
	NUMBER(V4L2_BUF_FLAG_ERROR);
	NUMBER(V4L2_CTRL_TYPE_MENU);
	NUMBER(V4L2_CTRL_FLAG_NEXT_CTRL);
	NUMBER(V4L2_PIX_FMT_XBGR32);
	NUMBER(V4L2_PIX_FMT_YUYV);
	NUMBER(VIDIOC_QUERYCAP);
	NUMBER(VIDIOC_ENUM_FMT);
	NUMBER(VIDIOC_G_FMT);
	NUMBER(VIDIOC_S_FMT);
	NUMBER(VIDIOC_REQBUFS);
	NUMBER(VIDIOC_QUERYBUF);
	NUMBER(VIDIOC_QBUF);
	NUMBER(VIDIOC_EXPBUF);
	NUMBER(VIDIOC_DQBUF);
	NUMBER(VIDIOC_STREAMON);
	NUMBER(VIDIOC_STREAMOFF);
	NUMBER(VIDIOC_ENUMINPUT);
	NUMBER(VIDIOC_G_CTRL);
	NUMBER(VIDIOC_S_CTRL);
	NUMBER(VIDIOC_QUERYCTRL);
	NUMBER(VIDIOC_QUERYMENU);
	NUMBER(VIDIOC_G_INPUT);
	NUMBER(VIDIOC_S_INPUT);
	NUMBER(VIDIOC_G_OUTPUT);
	NUMBER(VIDIOC_S_OUTPUT);
	NUMBER(VIDIOC_ENUMOUTPUT);
	SIZE(v4l2_capability);
	FIELD(v4l2_capability, driver);
	FIELD(v4l2_capability, card);
	FIELD(v4l2_capability, bus_info);
	FIELD(v4l2_capability, version);
	FIELD(v4l2_capability, capabilities);
	FIELD(v4l2_capability, device_caps);
	FIELD(v4l2_capability, reserved);
	SIZE(v4l2_fmtdesc);
	FIELD(v4l2_fmtdesc, index);
	FIELD(v4l2_fmtdesc, type);
	FIELD(v4l2_fmtdesc, flags);
	FIELD(v4l2_fmtdesc, description);
	FIELD(v4l2_fmtdesc, pixelformat);
	FIELD(v4l2_fmtdesc, mbus_code);
	FIELD(v4l2_fmtdesc, reserved);
	SIZE(v4l2_pix_format);
	FIELD(v4l2_pix_format, width);
	FIELD(v4l2_pix_format, height);
	FIELD(v4l2_pix_format, pixelformat);
	FIELD(v4l2_pix_format, field);
	FIELD(v4l2_pix_format, bytesperline);
	FIELD(v4l2_pix_format, sizeimage);
	FIELD(v4l2_pix_format, colorspace);
	FIELD(v4l2_pix_format, priv);
	FIELD(v4l2_pix_format, flags);
	FIELD(v4l2_pix_format, ycbcr_enc);
	FIELD(v4l2_pix_format, quantization);
	FIELD(v4l2_pix_format, xfer_func);
	SIZE(v4l2_format);
	FIELD(v4l2_format, type);
	FIELD(v4l2_format, fmt.pix);
	SIZE(v4l2_requestbuffers);
	FIELD(v4l2_requestbuffers, count);
	FIELD(v4l2_requestbuffers, type);
	FIELD(v4l2_requestbuffers, memory);
	FIELD(v4l2_requestbuffers, capabilities);
	FIELD(v4l2_requestbuffers, flags);
	FIELD(v4l2_requestbuffers, reserved);
	SIZE(v4l2_buffer);
	FIELD(v4l2_buffer, index);
	FIELD(v4l2_buffer, type);
	FIELD(v4l2_buffer, bytesused);
	FIELD(v4l2_buffer, flags);
	FIELD(v4l2_buffer, field);
	FIELD(v4l2_buffer, timestamp);
	FIELD(v4l2_buffer, timecode);
	FIELD(v4l2_buffer, sequence);
	FIELD(v4l2_buffer, memory);
	FIELD(v4l2_buffer, m);
	FIELD(v4l2_buffer, length);
	FIELD(v4l2_buffer, reserved2);
	FIELD(v4l2_buffer, request_fd);
	SIZE(v4l2_exportbuffer);
	FIELD(v4l2_exportbuffer, type);
	FIELD(v4l2_exportbuffer, index);
	FIELD(v4l2_exportbuffer, plane);
	FIELD(v4l2_exportbuffer, flags);
	FIELD(v4l2_exportbuffer, fd);
	FIELD(v4l2_exportbuffer, reserved);
	SIZE(v4l2_input);
	FIELD(v4l2_input, index);
	FIELD(v4l2_input, name);
	FIELD(v4l2_input, type);
	FIELD(v4l2_input, audioset);
	FIELD(v4l2_input, tuner);
	FIELD(v4l2_input, std);
	FIELD(v4l2_input, status);
	FIELD(v4l2_input, capabilities);
	FIELD(v4l2_input, reserved);
	SIZE(v4l2_output);
	FIELD(v4l2_output, index);
	FIELD(v4l2_output, name);
	FIELD(v4l2_output, type);
	FIELD(v4l2_output, audioset);
	FIELD(v4l2_output, modulator);
	FIELD(v4l2_output, std);
	FIELD(v4l2_output, capabilities);
	FIELD(v4l2_output, reserved);
	SIZE(v4l2_control);
	FIELD(v4l2_control, id);
	FIELD(v4l2_control, value);
	SIZE(v4l2_queryctrl);
	FIELD(v4l2_queryctrl, id);
	FIELD(v4l2_queryctrl, type);
	FIELD(v4l2_queryctrl, name);
	FIELD(v4l2_queryctrl, minimum);
	FIELD(v4l2_queryctrl, maximum);
	FIELD(v4l2_queryctrl, step);
	FIELD(v4l2_queryctrl, default_value);
	FIELD(v4l2_queryctrl, flags);
	FIELD(v4l2_queryctrl, reserved);
	SIZE(v4l2_querymenu);
	FIELD(v4l2_querymenu, id);
	FIELD(v4l2_querymenu, index);
	FIELD(v4l2_querymenu, name);
	FIELD(v4l2_querymenu, reserved);
#else
	MISSING("linux/videodev2.h");
#endif
	return 0;
}
