// SPDX-License-Identifier: GPL-2.0

//! A module parameter that is a string. `module!` takes numbers and truth values only.
//!
//! C header: `include/linux/moduleparam.h`.

use core::cell::UnsafeCell;

use kernel::prelude::*;

/// A parameter that was given as text, or not at all.
#[repr(transparent)]
pub(crate) struct StringParam(UnsafeCell<*const c_char>);

// SAFETY: The kernel writes it while it loads the module, before any code of the module runs, and
// nobody writes it afterwards, since it does not appear in sysfs.
unsafe impl Sync for StringParam {}

impl StringParam {
    /// One that was not given.
    pub(crate) const fn new() -> Self {
        StringParam(UnsafeCell::new(core::ptr::null()))
    }

    /// The text, as long as the module is loaded.
    pub(crate) fn value(&'static self) -> Option<&'static CStr> {
        // SAFETY: Nobody writes any more, as said above.
        let text = unsafe { *self.0.get() };
        if text.is_null() {
            return None;
        }
        // SAFETY: `param_ops_charp` stores a string that ends with NUL, and keeps it as long as the
        // module is loaded.
        Some(unsafe { CStr::from_char_ptr(text) })
    }

    /// Where the kernel stores the pointer.
    #[doc(hidden)]
    pub(crate) const fn slot(&'static self) -> *mut c_void {
        self.0.get().cast()
    }
}

/// Declares a string parameter: its name, the static that holds it, and what `modinfo` says of it.
macro_rules! string_param {
    ($name:literal, $holder:ident, $description:literal) => {
        pub(crate) static $holder: $crate::abstractions::param::StringParam =
            $crate::abstractions::param::StringParam::new();

        const _: () = {
            const NAME: &::kernel::str::CStr = $name;

            #[link_section = "__param"]
            #[used]
            static PARAM: ::kernel::module_param::KernelParam =
                ::kernel::module_param::KernelParam::new(::kernel::bindings::kernel_param {
                    name: ::kernel::str::as_char_ptr_in_const_context(NAME),
                    mod_: <$crate::LocalModule as ::kernel::ModuleMetadata>::THIS_MODULE.as_ptr(),
                    ops: &raw const ::kernel::bindings::param_ops_charp,
                    perm: 0,
                    level: -1,
                    flags: 0,
                    __bindgen_anon_1: ::kernel::bindings::kernel_param__bindgen_ty_1 {
                        arg: $holder.slot(),
                    },
                });

            const DESCRIPTION: &[u8] = $description;

            #[link_section = ".modinfo"]
            #[used]
            static MODINFO: [u8; DESCRIPTION.len()] = {
                let mut bytes = [0; DESCRIPTION.len()];
                let mut index = 0;
                while index < bytes.len() {
                    bytes[index] = DESCRIPTION[index];
                    index += 1;
                }
                bytes
            };
        };
    };
}
pub(crate) use string_param;
