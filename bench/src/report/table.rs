//! Owns how tables are laid out as text; what is in them is not its own.

/// Columns as wide as their widest cell; the first `names` are names, the others are figures.
pub fn aligned<L: AsRef<[String]>>(names: usize, lines: &[L]) -> String {
    let lines = || lines.iter().map(AsRef::as_ref);
    let columns = lines().map(<[String]>::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines() {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column < names { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

pub fn row<const COLUMNS: usize>(cells: [&str; COLUMNS]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

pub fn cell(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_begin_and_figures_end_where_their_column_does() {
        let lines = [row(["name", "x"]), row(["a", "100"]), row(["long name", "5"])];
        assert_eq!(aligned(1, &lines), "name         x\na          100\nlong name    5\n");
    }
}
