//! What the service promises, kept to programs that know nothing of it: they open, map and ioctl.
//!
//! The service and the programs are processes of their own, this very binary started again: see
//! [`service`] and [`program`]. Where FUSE cannot be used, a test says so and passes.

mod program;
mod service;
mod sys;

mod bad_input_gets_the_kernels_errno;
mod brackets_are_coherent;
mod capability_never_changes;
mod checked_reports_what_is_wrong;
mod costs;
mod differs_from_a_kernel_dma_buf;
mod files_live_as_long_as_they_are_used;
mod nobody_waits_for_the_dead;
mod permissions_are_enforced;
mod quotas_are_given_back;
mod starts_and_ends_cleanly;
mod stress;
mod waits_for_devices;
