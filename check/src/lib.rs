//! Finds CPU accesses to dma-bufs outside of brackets, and mistakes in bracketing, in programs as
//! they are.
//!
//! | module | what it holds |
//! |---|---|
//! | [`elf`] | which programs it can be preloaded into |
//! | [`rules`] | what can be found: ids, explanations, fixes |
//! | `engine` | what runs inside of the program: it guards mappings and writes records |
//! | [`record`] | the file that it writes |
//! | `report` | what is made of that: findings with places in the code |
//!
//! The engine is for x86-64 alone: it decodes the processor's page faults and has it step single
//! instructions.

#![cfg_attr(not(any(test, feature = "report")), no_std)]

pub mod elf;
pub mod record;
pub mod rules;

#[cfg(target_arch = "x86_64")]
pub mod engine;

#[cfg(feature = "report")]
pub mod report;
