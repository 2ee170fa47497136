//! Owns the page: one HTML file that needs nothing else, with its style, script and plots in it.

use super::bars::bars;
use super::capacities::{facts, headline, named};
use super::charts::{Chart, cpu_breakdown, latency_by_percentile, rate_and_latency, time_series};
use super::compared::Comparison;
use super::groups::{Group, runs_table};
use super::results::{Loaded, Results};
use super::samples::samples;
use super::shares::shares_table;
use super::units;
use crate::figures::Host;
use crate::soak::whole as whole_soak;

/// What results look like.
pub fn page(name: &str, results: &Results) -> String {
    let document = &results.document;
    let groups = Group::all(&document.runs);
    let mut body = String::new();
    for capacity in &results.capacity {
        let facts: Vec<(String, String)> =
            facts(capacity, results).into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
        let what = format!("{}, {}", named(capacity), capacity.limit.objective);
        body += &section(&what, &format!("{}{}", tile(&headline(capacity)), list(&facts)));
    }
    if let Some(soak) = &results.soak {
        body += &section("Drift", &preformatted(&soak.table()));
    }
    if let Some(plan) = &results.plan {
        body += &section("Plan", &preformatted(&plan.text()));
    }
    if let Some(calibration) = &results.calibration {
        body += &section("Calibration", &preformatted(&calibration.text()));
    }
    let mut charts: Vec<Chart> = Vec::new();
    for capacity in &results.capacity {
        let quantile = capacity
            .limit
            .objective
            .parse()
            .map_or(0.99, |of: crate::judge::Objective| of.quantile());
        charts.push(rate_and_latency(capacity, &document.runs, quantile));
    }
    charts.extend(latency_by_percentile(&groups.iter().collect::<Vec<_>>()));
    charts.extend(cpu_breakdown(&groups));
    let loaded = Loaded::Results(Box::new(results.clone()));
    charts.extend(bars(&samples(&loaded)));
    charts.extend(over_time(results));
    body += &plots(&charts);
    for of in &groups {
        let table = shares_table(&of.runs);
        if !table.is_empty() {
            body += &section(&format!("Groups of {}", of.load()), &preformatted(&table));
        }
    }
    if !document.runs.is_empty() {
        body += &section("Runs", &preformatted(&runs_table(&document.runs)));
    }
    let mut about = vec![
        ("command".to_owned(), document.command.join(" ")),
        ("written by".to_owned(), document.tool.clone()),
    ];
    about.extend(host_facts(&document.host));
    body += &section("Measured on", &list(&about));
    body += &details("Kernel settings", &pairs(&document.host.sysctls));
    for (of, text) in &document.host.configurations {
        body += &details(&format!("Configuration: {of}"), text);
    }
    whole(name, &body)
}

/// The longest run by its seconds, or a soak by its windows.
fn over_time(results: &Results) -> Vec<Chart> {
    let runs = &results.document.runs;
    let longest = runs.iter().max_by_key(|run| run.series.len()).cloned();
    let (run, each, marks) = match &results.soak {
        Some(soak) if soak.windows == runs.len() => {
            (whole_soak(runs, soak.step()), "window", soak.marks())
        }
        // Older files have a soak as one run, whose seconds are its windows.
        Some(soak) => (longest, "window", soak.marks()),
        None => (longest, "second", Vec::new()),
    };
    run.map_or(Vec::new(), |run| time_series(&run, each, &marks))
}

/// What a comparison looks like.
pub fn comparison_page(name: &str, comparison: &Comparison) -> String {
    let (host, groups) = (&comparison.host, Group::all(&comparison.runs));
    let mut about = vec![
        ("command".to_owned(), comparison.command.join(" ")),
        ("written by".to_owned(), comparison.tool.clone()),
    ];
    about.extend(host_facts(&host.survey));
    about.extend([
        ("proxy on CPU".to_owned(), host.proxy_cpu.to_string()),
        ("load on CPU".to_owned(), host.load_cpu.to_string()),
        ("congestion control".to_owned(), host.congestion.clone()),
        ("rounds".to_owned(), comparison.rounds.to_string()),
    ]);
    // Older files know less.
    about.retain(|(_, value)| !value.is_empty());
    let contestants = &comparison.contestants;
    let versions: Vec<(String, String)> =
        contestants.iter().map(|of| (of.candidate.clone(), of.version.clone())).collect();
    let mut charts = bars(&super::samples::of_comparison(comparison));
    charts.extend(latencies(&groups));
    let mut body = plots(&charts)
        + &section("Measured on", &list(&about))
        + &section("Candidates", &list(&versions))
        + &details("Kernel settings", &pairs(&host.survey.sysctls));
    for of in contestants.iter().filter(|of| !of.configuration.is_empty()) {
        body += &details(&format!("Configuration: {}", of.candidate), &of.configuration);
    }
    whole(name, &body)
}

/// A plot for each work, with a line for each candidate.
fn latencies(groups: &[Group]) -> Vec<Chart> {
    let mut works: Vec<&str> = groups.iter().map(|group| group.protocol()).collect();
    works.dedup();
    let chart = |work: &str| {
        let of_work: Vec<&Group> = groups.iter().filter(|of| of.protocol() == work).collect();
        let mut chart = latency_by_percentile(&of_work)?;
        chart.title = format!("{work}: latency by percentile");
        Some(chart)
    };
    works.into_iter().filter_map(chart).collect()
}

fn host_facts(host: &Host) -> Vec<(String, String)> {
    let mut facts = vec![
        ("CPU".to_owned(), format!("{} x {}", host.cpus, host.cpu_model)),
        ("kernel".to_owned(), format!("Linux {}", host.kernel)),
        ("memory".to_owned(), units::bytes(host.memory as f64)),
        ("hypervisor".to_owned(), host.hypervisor.clone()),
    ];
    facts.extend(host.versions.iter().map(|(name, version)| (name.clone(), version.clone())));
    facts
}

fn pairs(map: &std::collections::BTreeMap<String, String>) -> String {
    map.iter().map(|(name, value)| format!("{name} = {value}\n")).collect()
}

fn plots(charts: &[Chart]) -> String {
    let plot = |chart: &Chart| {
        // In JSON `<` can be written so, and nothing in it can end the script.
        let option = chart.option.to_string().replace('<', "\\u003c");
        format!(
            "<figure><figcaption>{}</figcaption>\
             <div class=\"plot\" style=\"height:{}px\" role=\"img\" aria-label=\"{}\"></div>\
             <script type=\"application/json\">{option}</script><p>{}</p></figure>\n",
            escaped(&chart.title),
            chart.height,
            escaped(&chart.title),
            escaped(&chart.note)
        )
    };
    let plots: String = charts.iter().map(plot).collect();
    format!("<div class=\"plots\">{plots}</div>\n")
}

fn section(title: &str, inner: &str) -> String {
    format!("<section><h2>{}</h2>{inner}</section>\n", escaped(title))
}

fn details(title: &str, text: &str) -> String {
    let inner = preformatted(text);
    format!("<details><summary>{}</summary>{inner}</details>\n", escaped(title))
}

fn tile(text: &str) -> String {
    format!("<p class=\"tile\">{}</p>", escaped(text))
}

fn list(facts: &[(String, String)]) -> String {
    let row = |(name, value): &(String, String)| {
        format!("<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value))
    };
    format!("<dl>{}</dl>", facts.iter().map(row).collect::<String>())
}

fn preformatted(text: &str) -> String {
    format!("<pre tabindex=\"0\">{}</pre>", escaped(text))
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '&' => safe += "&amp;",
            '"' => safe += "&quot;",
            other => safe.push(other),
        }
    }
    safe
}

fn whole(name: &str, body: &str) -> String {
    let title = escaped(name);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title} - ringmain-bench</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>{title}</h1><p>ringmain-bench</p></header>\n<main>\n{body}</main>\n\
         <script>{ECHARTS}</script>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

/// Apache ECharts 6.1.0, Apache-2.0, as its package has it.
const ECHARTS: &str = include_str!("../../assets/echarts/echarts.common.min.js");
const SCRIPT: &str = include_str!("../../assets/report/plots.js");
const STYLE: &str = include_str!("../../assets/report/page.css");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Document, sample};
    use crate::soak::Soak;

    fn results() -> Results {
        let mut evil = sample("<script>alert(1)</script>", 1000.0);
        evil.protocol = "a\"b".to_owned();
        let runs = vec![sample("ringmain", 1000.0), evil];
        Results::new(Document::new(vec!["ringmain-bench".to_owned()], 0, Host::default(), runs))
    }

    #[test]
    fn nothing_that_was_measured_can_be_markup() {
        let html = page("a<b", &results());
        assert!(!html.contains("<script>alert"), "a name became a script");
        assert!(html.contains("<title>a&lt;b"));
        assert!(html.contains("\\u003cscript>alert"));
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let html = page("run", &results()).replace(ECHARTS, "");
        for reference in ["src=", "href=", "@import", "url(", "fetch("] {
            assert!(!html.contains(reference), "{reference}");
        }
        assert_eq!(ECHARTS.matches("</script").count(), 0);
    }

    #[test]
    fn a_soak_is_drawn_by_its_windows() {
        let mut results = results();
        results.document.runs = vec![sample("ringmain", 1000.0); 5];
        assert!(!page("soak", &results).contains("by window"));
        results.soak = Some(Soak {
            seed: 1,
            length: 50.0,
            windows: 5,
            drifts: Vec::new(),
            tricks: Vec::new(),
            limited: 0,
            failed_quiet: 0,
            failed_disturbed: 0,
            ended: None,
            left_out: Vec::new(),
        });
        assert!(page("soak", &results).contains("latency by window"));
    }

    #[test]
    fn the_page_says_where_and_how_it_was_measured() {
        let mut results = results();
        results.document.host.kernel = "6.18.1".to_owned();
        results.document.host.sysctls.insert("net.core.somaxconn".to_owned(), "4096".to_owned());
        results.document.command.push("--seconds 5".to_owned());
        let html = page("run", &results);
        for fact in ["Linux 6.18.1", "net.core.somaxconn = 4096", "ringmain-bench --seconds 5"] {
            assert!(html.contains(fact), "{fact}");
        }
    }

    /// Of everything that a file may hold.
    fn everything() -> Results {
        let mut results = super::super::results::everything();
        let host = &mut results.document.host;
        (host.cpus, host.memory) = (6, 3 << 30);
        (host.cpu_model, host.hypervisor) = ("Model 7".to_owned(), "virtual machine".to_owned());
        host.versions.insert("ringmain".to_owned(), "0.9.1".to_owned());
        host.configurations.insert("ringmain.toml, x".to_owned(), "workers = 3".to_owned());
        results.document.tool = "ringmain-bench 7.7".to_owned();
        results
    }

    #[test]
    fn the_page_has_a_section_for_each_finding_and_names_what_it_was_found_on() {
        let html = page("all", &everything());
        for part in [
            "<h2>tcp-echo, 1 worker, 64 connections, p99=5ms</h2>",
            "<p class=\"tile\">980/s</p>",
            "<h2>Drift</h2>",
            "<h2>Plan</h2>",
            "<h2>Calibration</h2>",
            "tcp-echo, 1 worker, 64 connections: rate and p99</figcaption>",
            "Latency by percentile</figcaption>",
            "CPU per unit</figcaption>",
            "latency by window</figcaption>",
            "<h2>Groups of tcp-echo, 64 connections, 980/s</h2>",
            "<h2>Runs</h2>",
            "<dd>ringmain-bench 7.7</dd>",
            "<dd>6 x Model 7</dd>",
            "<dd>3.00 GiB</dd>",
            "<dd>virtual machine</dd>",
            "<dt>ringmain</dt><dd>0.9.1</dd>",
            "<summary>Configuration: ringmain.toml, x</summary><pre tabindex=\"0\">workers = 3",
        ] {
            assert!(html.contains(part), "{part}");
        }
        let nothing = Document::new(Vec::new(), 0, Host::default(), Vec::new());
        let empty = page("nothing", &Results::new(nothing));
        for part in ["<h2>Drift", "<h2>Plan", "<h2>Calibration", "<h2>Runs", "<figure>"] {
            assert!(!empty.contains(part), "{part}");
        }
    }

    #[test]
    fn the_plot_of_a_limit_is_at_the_quantile_of_its_objective() {
        let mut results = everything();
        results.capacity[0].limit.objective = "p99.9=5ms".to_owned();
        assert!(page("all", &results).contains("rate and p99.9</figcaption>"));
    }

    #[test]
    fn candidates_have_bars_beside_each_other() {
        let mut results = results();
        results.document.runs = ["ringmain", "haproxy"].map(|of| sample(of, 1000.0)).to_vec();
        let html = page("run", &results);
        assert!(html.contains("tcp-echo, 64 connections, 1000/s: CPU per unit</figcaption>"));
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        assert_eq!(escaped("a & b < c > \"d\""), "a &amp; b &lt; c &gt; &quot;d&quot;");
    }
}
