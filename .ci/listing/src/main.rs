//! Prints the public API that a file of rustdoc's JSON describes, an item a line. Implementations
//! that the compiler or a derive makes are left out, as are blanket ones: they say nothing that is
//! not in the line of their type.

use std::{env, error::Error};

fn main() -> Result<(), Box<dyn Error>> {
    let json = env::args_os().nth(1).ok_or("name the file of rustdoc's JSON")?;
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    for item in api.items() {
        println!("{item}");
    }
    Ok(())
}
