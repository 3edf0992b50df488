//! Many callers and no token, at an endpoint that fails.

use super::rush::{DELAY, rush};
use crate::{
    BoxError, FEW, Scale,
    contenders::{Azure, Contender, Google, TowerRefresh, Yup},
    endpoint::Answer,
    table::{self, Table},
};

pub(crate) fn run(scale: &Scale) -> Result<Table, BoxError> {
    let columns = ["contender", "the endpoint says", "calls", "last error after"];
    let mut table = Table::new("Everybody wants a token, and there is none", columns);
    for (answer, says) in
        [(Answer::Refused, "`invalid_grant` (400)"), (Answer::Unavailable, "unavailable (503)")]
    {
        row::<TowerRefresh>(&mut table, answer, says, scale)?;
        row::<Yup>(&mut table, answer, says, scale)?;
        row::<Google>(&mut table, answer, says, scale)?;
        row::<Azure>(&mut table, answer, says, scale)?;
    }
    Ok(table.note(format!(
        "{FEW} callers, and the endpoint takes {} over each answer.",
        table::time(DELAY)
    )))
}

fn row<C: Contender>(
    table: &mut Table,
    answer: Answer,
    says: &str,
    scale: &Scale,
) -> Result<(), BoxError> {
    let outcome = rush::<C>(FEW, answer, scale.patience)?;
    table.row([
        C::NAME.to_owned(),
        says.to_owned(),
        outcome.calls(),
        outcome.last(FEW, scale.patience),
    ]);
    Ok(())
}
