//! A page of `docs/` with tables that a command renews: each between `<!-- NAME -->` and `<!-- /NAME -->`.

use crate::Result;

/// `page` with `table` between the markers `name`.
pub(crate) fn with_table(page: &str, name: &str, table: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let missing = || format!("no place for the table {name}");
    let (before, rest) = page.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    // Without the empty lines Markdown would take the marker into the table.
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", table.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::with_table;

    #[test]
    fn a_table_takes_the_place_of_the_one_before_and_leaves_the_rest() {
        let page = "a\n<!-- t -->\n<!-- /t -->\nb\n";
        let once = with_table(page, "t", "| 1 |\n").unwrap();
        assert_eq!(once, "a\n<!-- t -->\n\n| 1 |\n\n<!-- /t -->\nb\n");
        assert_eq!(with_table(&once, "t", "| 1 |\n").unwrap(), once);
        assert!(with_table(page, "u", "").is_err());
    }
}
