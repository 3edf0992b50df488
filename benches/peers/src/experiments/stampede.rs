//! Many callers and no token, at an endpoint that works.

use super::rush::{DELAY, rush};
use crate::{
    BoxError, FEW, Scale,
    contenders::{Azure, Contender, Google, TowerRefresh, Yup},
    endpoint::Answer,
    table::{self, Table},
};

pub(crate) fn run(scale: &Scale) -> Result<Table, BoxError> {
    let columns = ["contender", "callers", "calls", "last answer after", "callers that failed"];
    let mut table = Table::new("Everybody wants a token", columns);
    for callers in [FEW, scale.many] {
        row::<TowerRefresh>(&mut table, callers, scale)?;
        row::<Yup>(&mut table, callers, scale)?;
        row::<Google>(&mut table, callers, scale)?;
        row::<Azure>(&mut table, callers, scale)?;
    }
    Ok(table.note(format!(
        "Nobody has a token yet, and the endpoint takes {} over each. yup-oauth2 signs an RSA \
         assertion for each call besides.",
        table::time(DELAY)
    )))
}

fn row<C: Contender>(table: &mut Table, callers: usize, scale: &Scale) -> Result<(), BoxError> {
    let outcome = rush::<C>(callers, Answer::Token, scale.patience)?;
    table.row([
        C::NAME.to_owned(),
        callers.to_string(),
        outcome.calls(),
        outcome.last(callers, scale.patience),
        outcome.failed().to_string(),
    ]);
    Ok(())
}
