// SPDX-License-Identifier: GPL-2.0

//! Heaps of dma-bufs, in `/dev/dma_heap`, for devices that do not see what the CPU stores, and for
//! those who want to see why brackets are needed.
//!
//! | folder or file | what lives there |
//! |---|---|
//! | `abstractions/` | safe interfaces that the `kernel` crate does not have: all of the `unsafe` |
//! | `../core` | the rules of bracketed access, the same files as in user space |
//! | `framework/` | what every buffer does: brackets, syncs, tracking, checking, `/dev/dmabuf` |
//! | `heaps.rs` | the heaps: rows of a table |

use kernel::prelude::*;
use kernel::sync::Arc;

mod abstractions;
#[forbid(unsafe_code)]
mod framework;
#[forbid(unsafe_code)]
mod heaps;

/// The rules of bracketed access.
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../core/src/lib.rs"]
mod rules;

/// What crosses the boundary to user space.
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::wrong_self_convention
)]
#[path = "../uapi/src/lib.rs"]
mod uapi;

use abstractions::dma_heap;
use abstractions::param::string_param;
use framework::log::Log;
use framework::node;

module! {
    type: DmabufHeaps,
    name: "dmabuf_heaps",
    authors: ["The dmabuf project"],
    description: "dma-buf heaps with bracketed, tracked and checked CPU access",
    license: "GPL",
    imports_ns: ["DMA_BUF", "DMA_BUF_HEAP"],
    params: {
        sigbus: bool {
            default: false,
            description: "Answer accesses outside of brackets to checked's buffers with SIGBUS",
        },
    },
}

string_param!(
    c"heaps",
    HEAPS,
    b"parm:heaps:Heaps to add to /dev/dma_heap, by name, with commas; none: only /dev/dmabuf (default: all that can be mapped) (charp)\0"
);

#[pin_data]
struct DmabufHeaps {
    #[pin]
    node: node::Registration,
}

impl kernel::InPlaceModule for DmabufHeaps {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(|| {
            let log = Arc::pin_init(Log::new()?, GFP_KERNEL)?;
            let chosen = heaps::chosen(HEAPS.value(), &log)?;
            let module = try_pin_init!(Self {
                node <- node::register(log),
            });
            Ok(dma_heap::init_and_add(module, chosen))
        })
    }
}
