//! `lrlab schema`: the JSON schema of experiment files, for editors.

use super::print_line;
use crate::Exit;

pub(crate) fn schema() -> anyhow::Result<Exit> {
    print_line(&serde_json::to_string_pretty(&lrlab_spec::schema())?);
    Ok(Exit::Done)
}
