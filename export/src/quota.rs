//! How much memory a user may have in buffers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};

/// What one user may have at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of buffers; a buffer with two memories counts twice.
    pub bytes: u64,
    /// Buffers.
    pub buffers: u64,
}

impl Quota {
    /// No limit but the machine's.
    pub const UNLIMITED: Quota = Quota { bytes: u64::MAX, buffers: u64::MAX };
}

/// What each user has; shared by the heaps that count together.
#[derive(Debug)]
pub struct Accounts {
    quota: Quota,
    used: Mutex<HashMap<u32, Quota>>,
}

impl Accounts {
    /// Accounts in which each user may have `quota`.
    pub fn new(quota: Quota) -> Arc<Accounts> {
        Arc::new(Accounts { quota, used: Mutex::default() })
    }

    /// What user `uid` has now.
    pub fn used(&self, uid: u32) -> Quota {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.get(&uid).copied().unwrap_or(Quota { bytes: 0, buffers: 0 })
    }

    /// Charges one buffer to `uid`, without bytes yet.
    pub(crate) fn charge(self: &Arc<Self>, uid: u32) -> Result<Charge> {
        let mut charge = Charge { accounts: Arc::clone(self), uid, bytes: 0, buffers: 0 };
        charge.add(Quota { bytes: 0, buffers: 1 })?;
        Ok(charge)
    }

    fn change(&self, uid: u32, f: impl FnOnce(&mut Quota) -> Result<()>) -> Result<()> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let account = used.entry(uid).or_insert(Quota { bytes: 0, buffers: 0 });
        let result = f(account);
        if *account == (Quota { bytes: 0, buffers: 0 }) {
            used.remove(&uid);
        }
        result
    }
}

/// What a buffer is charged for; given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    accounts: Arc<Accounts>,
    uid: u32,
    bytes: u64,
    buffers: u64,
}

impl Charge {
    /// Charges `bytes` more.
    pub(crate) fn add_bytes(&mut self, bytes: u64) -> Result<()> {
        self.add(Quota { bytes, buffers: 0 })
    }

    /// Gives back `bytes` that turned out not to be there.
    pub(crate) fn return_bytes(&mut self, bytes: u64) {
        self.give_back(Quota { bytes, buffers: 0 });
    }

    fn give_back(&mut self, less: Quota) {
        let returned = self.accounts.change(self.uid, |used| {
            used.bytes -= less.bytes;
            used.buffers -= less.buffers;
            Ok(())
        });
        debug_assert!(returned.is_ok(), "giving back is never refused");
        self.bytes -= less.bytes;
        self.buffers -= less.buffers;
    }

    fn add(&mut self, more: Quota) -> Result<()> {
        let quota = self.accounts.quota;
        self.accounts.change(self.uid, |used| {
            let within = |used: u64, more: u64, limit: u64, what| {
                let sum = used.checked_add(more).filter(|&sum| sum <= limit);
                sum.ok_or(Error::Quota { what })
            };
            let bytes = within(used.bytes, more.bytes, quota.bytes, "bytes")?;
            let buffers = within(used.buffers, more.buffers, quota.buffers, "buffers")?;
            *used = Quota { bytes, buffers };
            Ok(())
        })?;
        self.bytes += more.bytes;
        self.buffers += more.buffers;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.give_back(Quota { bytes: self.bytes, buffers: self.buffers });
    }
}
