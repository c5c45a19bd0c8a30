//! The behaviours, group by group.

mod create;
mod fence;
mod file;
mod life;
mod mmap;
mod name;
mod poll;
mod range;
mod sync;
mod visible;

pub use self::poll::polled;
pub use self::sync::FIRST_END;
use super::row::Row;

/// All of them, in the order in which they are looked at and shown.
pub fn all() -> impl Iterator<Item = &'static Row> {
    [
        create::ROWS,
        file::ROWS,
        mmap::ROWS,
        sync::ROWS,
        range::ROWS,
        visible::ROWS,
        poll::ROWS,
        fence::ROWS,
        name::ROWS,
        life::ROWS,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_can_be_named_read_and_looked_up() {
        let mut ids = BTreeSet::new();
        for row in all() {
            assert!(ids.insert(row.id), "{} is there twice", row.id);
            let is_id =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
            assert!(row.id.chars().all(is_id) && row.id.matches('.').count() == 1, "{}", row.id);
            assert!(row.says.ends_with('.'), "{}: a sentence", row.id);
            assert!(!row.from.is_empty(), "{}: a reference", row.id);
        }
        assert!(ids.len() >= 100, "{} rows", ids.len());
    }
}
