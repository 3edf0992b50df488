//! The experiments, one file each.

pub(crate) mod contention;
pub(crate) mod failure;
pub(crate) mod recovery;
mod rush;
pub(crate) mod stampede;
pub(crate) mod steady;

/// The middle one.
fn median<T: PartialOrd>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).expect("a number"));
    values.swap_remove(values.len() / 2)
}
