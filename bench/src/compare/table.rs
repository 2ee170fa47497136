//! Owns how tables are laid out as text; what is in them is not its own.

pub fn cell(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// Columns as wide as their widest cell; the first is a name, the others are figures.
pub fn aligned<const COLUMNS: usize>(lines: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let mut text = String::new();
    for line in lines {
        text += &format!("{:<1$}", line[0], widths[0]);
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            text += &format!("  {cell:>width$}");
        }
        text.push('\n');
    }
    text
}

/// One line on the runs that failed, if any did.
pub fn faults(name: &str, faults: &[String], succeeded: usize) -> String {
    if faults.is_empty() {
        return String::new();
    }
    let (failed, runs) = (faults.len(), faults.len() + succeeded);
    format!("{name}: {failed} of {runs} runs failed: {}\n", faults.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_to_the_left_and_figures_to_the_right() {
        let line = |cells: [&str; 3]| cells.map(str::to_owned);
        let text = aligned(&[line(["name", "a", "b"]), line(["x", "12345", "-"])]);
        assert_eq!(text, "name      a  b\nx     12345  -\n");
    }

    #[test]
    fn failed_runs_are_counted_among_all_and_each_is_told() {
        assert_eq!(faults("nginx", &[], 5), "");
        let two = ["lost", "closed"].map(str::to_owned);
        assert_eq!(faults("nginx", &two, 3), "nginx: 2 of 5 runs failed: lost, closed\n");
    }
}
