#[path = "../floors/mod.rs"]
mod floors;
mod paired;

use floors::{SMALL, USUAL, send};
use paired::{Contender, Rounds};

fn main() {
    for shape in [SMALL, USUAL] {
        let requests = shape.requests();
        let r = &requests;
        let mut bare = floors::Bare;
        let mut st = floors::static_header(shape);
        let mut re = floors::retry(shape);
        let mut nm = floors::naive_mutex(shape);
        let mut us = floors::fresh(shape);
        let us2 = floors::fresh(shape);
        let st2 = floors::static_header(shape);
        let re2 = floors::retry(shape);
        let rounds = Rounds::run(vec![
            Contender::new("bare", move || send(&mut bare, r())),
            Contender::new("static", move || send(&mut st, r())),
            Contender::new("retry", move || send(&mut re, r())),
            Contender::new("mutex", move || send(&mut nm, r())),
            Contender::new("ours", move || send(&mut us, r())),
            Contender::new("ours-cl", move || send(&mut us2.clone(), r())),
            Contender::new("static-cl", move || send(&mut st2.clone(), r())),
            Contender::new("retry-cl", move || send(&mut re2.clone(), r())),
        ], 301);
        for n in ["bare", "static", "retry", "mutex", "ours", "ours-cl", "static-cl", "retry-cl"] {
            let ns = rounds.median(|of| of(n) - of("bare"));
            let x = rounds.median(|of| (of(n) - of("bare"))/(of("static") - of("bare")));
            let y = rounds.median(|of| (of(n) - of("bare"))/(of("retry") - of("bare")));
            println!("{} {n:10} {ns:6.1} {x:5.2} {y:5.2}", shape.name);
        }
    }
}
