//! Owns what is said below a table of the runs that failed.

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
    fn failed_runs_are_counted_among_all_and_each_is_told() {
        assert_eq!(faults("nginx", &[], 5), "");
        let two = ["lost", "closed"].map(str::to_owned);
        assert_eq!(faults("nginx", &two, 3), "nginx: 2 of 5 runs failed: lost, closed\n");
    }
}
