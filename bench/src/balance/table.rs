//! Owns how figures are printed: as a table in Markdown, a policy to each row.

/// A heading over each column of figures.
pub fn print(title: &str, headings: &[String], rows: &[(&str, Vec<String>)]) {
    println!("\n{title}\n");
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|(_, cells)| cells.get(column));
            cells.chain([&headings[column]]).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let line = |name: &str, cells: &[String]| {
        print!("| {name:width$} |");
        for (cell, width) in cells.iter().zip(&widths) {
            print!(" {cell:>width$} |");
        }
        println!();
    };
    line("", headings);
    println!("|{}", "---|".repeat(headings.len() + 1));
    for (name, cells) in rows {
        line(name, cells);
    }
}
