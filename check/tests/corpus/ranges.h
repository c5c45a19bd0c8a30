/* Brackets about a range, and a file to read from. */
#ifndef RANGES_H
#define RANGES_H

#include "calls.h"

struct range {
	unsigned long flags, offset, len;
};

/* DMA_BUF_IOCTL_SYNC_RANGE; one page. */
#define SYNC_PAGE(fd, what, page) do {                                                   \
	struct range range_ = { .flags = (what), .offset = (page) * PAGE, .len = PAGE }; \
	int result_;                                                                     \
	do                                                                               \
		result_ = ioctl(fd, _IOW('Z', 3, struct range), &range_);                \
	while (result_ == -1 && (errno == EINTR || errno == EAGAIN));                    \
	need(result_ == 0, "DMA_BUF_IOCTL_SYNC_RANGE");                                  \
} while (0)

#endif
