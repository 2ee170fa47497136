//! Owns the plots of runs, as options of Apache ECharts; colours and the writing of figures are the
//! page's own.

use serde_json::{Value, json};

use super::capacities::named;
use super::groups::Group;
use super::results::Capacity;
use super::units;
use crate::figures::{Cost, Latency, Moment, Run};
use crate::judge::Point;

/// One plot. Axes with a "unit" have their figures written by the page's script.
pub struct Chart {
    pub title: String,
    /// How it is to be read.
    pub note: String,
    /// Pixels.
    pub height: u32,
    pub option: Value,
}

/// A line between two points, for an interval.
pub fn whisker(from: Value, to: Value) -> Value {
    json!([{"coord": from}, {"coord": to}])
}

/// Latency by percentile, a line for each of a few groups: the more nines, the further right.
pub fn latency_by_percentile(groups: &[&Group]) -> Option<Chart> {
    let answered = groups.iter().copied().filter(|group| group.latency().count() > 0);
    let answered: Vec<&Group> = answered.collect();
    let shown = spread_out(&answered, MOST_LINES);
    if shown.is_empty() {
        return None;
    }
    let series: Vec<Value> = shown
        .iter()
        .zip(Group::labels(&shown))
        .map(|(group, name)| {
            let points = percentiles(&group.latency());
            json!({"type": "line", "name": name, "data": points, "showSymbol": false})
        })
        .collect();
    Some(Chart {
        title: "Latency by percentile".to_owned(),
        note: "From the time a unit was to begin. The further right, the rarer: the line at p99.9 \
               is what one unit in a thousand waits for or longer. The end of a line is its \
               maximum."
            .to_owned(),
        height: 360,
        option: json!({
            "legend": {},
            "tooltip": {"trigger": "axis"},
            "xAxis": {"type": "log", "unit": "nines", "name": "percentile", "min": 1},
            "yAxis": {"type": "log", "unit": "ns", "name": "latency"},
            "series": series,
        }),
    })
}

/// Pairs of 1 / (1 - share) and nanoseconds, four for each halving of what is left.
fn percentiles(latency: &Latency) -> Vec<[f64; 2]> {
    let count = latency.count() as f64;
    let steps = (0..).map(|step| 2.0_f64.powf(f64::from(step) / 4.0));
    let inner = steps.take_while(|at| *at < count);
    let mut points: Vec<[f64; 2]> =
        inner.map(|at| [at, latency.quantile(1.0 - 1.0 / at).max(1) as f64]).collect();
    points.push([count.max(1.0), latency.max().max(1) as f64]);
    points
}

/// By protocol, then by rate; repeats of a rate keep the order of their candidates.
fn in_order<'a, 'b>(mut groups: Vec<&'b Group<'a>>) -> Vec<&'b Group<'a>> {
    let key = |group: &Group| (group.runs[0].protocol.clone(), group.offered().unwrap_or(f64::MAX));
    groups.sort_by(|a, b| {
        let ((protocol, rate), (other, than)) = (key(a), key(b));
        protocol.cmp(&other).then(rate.total_cmp(&than))
    });
    groups
}

/// At most so many, first and last among them.
fn spread_out<T: Copy>(all: &[T], most: usize) -> Vec<T> {
    if all.len() <= most {
        return all.to_vec();
    }
    (0..most).map(|index| all[index * (all.len() - 1) / (most - 1)]).collect()
}

/// Rate against latency, with the knee, the limit, and the runs that held or missed.
pub fn rate_and_latency(capacity: &Capacity, runs: &[Run], quantile: f64) -> Chart {
    let limit = &capacity.limit;
    let trials = |held: bool| -> Vec<[f64; 2]> {
        let trials = limit.trials.iter().filter(|trial| trial.held() == held);
        let latency = |run: &Run| run.latency.quantile(quantile) as f64;
        let points = trials.filter_map(|trial| Some([trial.rate, latency(runs.get(trial.run)?)]));
        points.filter(|point| point[1] > 0.0).collect()
    };
    let line: Vec<[f64; 2]> =
        limit.curve.iter().map(|Point { rate, latency }| [*rate, latency.median]).collect();
    let mut marks = Vec::new();
    let highest = limit.trials.iter().map(|trial| trial.rate).fold(0.0, f64::max);
    // A text at the right edge would be cut off there.
    let is_far = |rate: f64| rate > highest * 0.7;
    if let Some(knee) = &limit.knee {
        let name = format!("knee {}/s", units::number(knee.rate));
        // The texts of two marks point away from each other.
        let is_left = limit.limit.is_none_or(|of| knee.rate <= of.median);
        let align = if is_left { "right" } else { "left" };
        marks.push(json!({"xAxis": knee.rate, "name": name, "label": {"align": align}}));
    }
    if let Some(of) = &limit.limit {
        let name = format!("limit {}/s", units::number(of.median));
        let is_left = match limit.knee {
            Some(knee) => of.median < knee.rate,
            None => is_far(of.median),
        };
        let align = if is_left { "right" } else { "left" };
        marks.push(json!({"xAxis": of.median, "name": name, "label": {"align": align}}));
    }
    let name = format!("p{}", units_of_percent(quantile));
    Chart {
        title: format!("{}: rate and {name}", named(capacity)),
        note: format!(
            "Each dot is a run; the line is the median at a rate. Beyond the knee more load costs \
             more latency than it is worth; the limit is where {} begins to be missed.",
            limit.objective
        ),
        height: 360,
        option: json!({
            "legend": {},
            "tooltip": {"trigger": "item"},
            "xAxis": {"type": "value", "unit": "rate", "name": "offered, units/s", "min": 0},
            "yAxis": {"type": "log", "unit": "ns", "name": name},
            "series": [
                {"type": "line", "name": "median", "data": line, "showSymbol": false,
                 "markLine": {"data": marks, "symbol": "none", "labelled": true}},
                {"type": "scatter", "name": "held", "data": trials(true), "symbolSize": 9},
                {"type": "scatter", "name": "missed", "data": trials(false), "symbolSize": 9,
                 "symbol": "diamond"},
            ],
        }),
    }
}

/// 0.999 is "99.9".
fn units_of_percent(quantile: f64) -> String {
    let text = format!("{:.4}", quantile * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// CPU per unit by where it was spent, for each group that was looked at.
pub fn cpu_breakdown(groups: &[Group]) -> Option<Chart> {
    let is_measured = |group: &&Group| group.runs.iter().any(|run| run.cost.is_some());
    let measured = in_order(groups.iter().filter(is_measured).collect());
    let shown = spread_out(&measured, MOST_BARS);
    if shown.is_empty() {
        return None;
    }
    let names = Group::labels(&shown);
    let part = |name: &str, seconds: fn(&Cost) -> f64| {
        let per_unit = |run: &Run| {
            let cost = run.cost.as_ref().filter(|_| run.units() > 0.0)?;
            Some(seconds(cost) * 1e9 / run.units())
        };
        let medians: Vec<f64> = shown
            .iter()
            .map(|group| group.estimate(per_unit).map_or(0.0, |of| of.median))
            .collect();
        json!({"type": "bar", "name": name, "stack": "cpu", "data": medians, "barMaxWidth": 18})
    };
    Some(Chart {
        title: "CPU per unit".to_owned(),
        note: "Time of the proxy's CPUs: in its own code, in the kernel, and there in softirqs, \
               which take packets in, whoever they are for."
            .to_owned(),
        height: 110 + 30 * shown.len() as u32,
        option: json!({
            "legend": {},
            "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
            "xAxis": {"type": "value", "unit": "ns"},
            "yAxis": {"type": "category", "inverse": true, "data": names},
            "series": [
                part("user", |cost| cost.user),
                part("system", system),
                part("softirq", |cost| cost.softirq),
            ],
        }),
    })
}

/// Seconds in the kernel beside softirqs. A process is charged for those that come while it runs,
/// so they are in its own time already; what its CPUs did beyond both was for somebody else.
fn system(cost: &Cost) -> f64 {
    let own = cost.user + cost.system;
    let all = cost.busy.map_or(own, |busy| busy.min(own + cost.softirq));
    (all - cost.user - cost.softirq).max(0.0)
}

/// What happened in one run over its time: plots that share it. `each` is what a point stands for,
/// and `marks` are seconds at which something was done to the proxy.
pub fn time_series(run: &Run, each: &str, marks: &[f64]) -> Vec<Chart> {
    if run.series.len() < FEWEST_MOMENTS {
        return Vec::new();
    }
    let of = OverTime { run, marks };
    let mut charts = vec![
        of.chart(
            "units per second",
            &format!("What ended in each {each}."),
            json!({"type": "value", "unit": "rate", "min": 0}),
            vec![of.line("carried", &|moment| Some(moment.achieved))],
        ),
        of.chart(
            &format!("latency by {each}"),
            "A stall stands out as a spike of the maximum, as wide as it lasted.",
            json!({"type": "log", "unit": "ns"}),
            vec![
                of.line("p50", &|moment| (moment.p50 > 0).then_some(moment.p50 as f64)),
                of.line("p99", &|moment| (moment.p99 > 0).then_some(moment.p99 as f64)),
                of.line("max", &|moment| (moment.max > 0).then_some(moment.max as f64)),
            ],
        ),
    ];
    let figures: [(&str, &str, &str, Figure); 3] = [
        ("memory", "Of the proxy, by PSS. It should become level.", "bytes", &|moment| {
            Some(moment.memory? as f64)
        }),
        ("CPU", "CPUs that the proxy used.", "number", &|moment| moment.cpu),
        ("descriptors", "Open in the proxy. It should become level.", "number", &|moment| {
            Some(f64::from(moment.descriptors?))
        }),
    ];
    for (name, note, unit, figure) in figures {
        if run.series.iter().any(|moment| figure(moment).is_some()) {
            let axis = json!({"type": "value", "unit": unit, "min": 0});
            let title = format!("{name} by {each}");
            charts.push(of.chart(&title, note, axis, vec![of.line(name, figure)]));
        }
    }
    charts
}

type Figure<'a> = &'a dyn Fn(&Moment) -> Option<f64>;

/// A run whose moments are drawn.
struct OverTime<'a> {
    run: &'a Run,
    marks: &'a [f64],
}

impl OverTime<'_> {
    fn line(&self, name: &str, figure: Figure) -> Value {
        let points = self.run.series.iter().map(|moment| json!([moment.at, figure(moment)]));
        let points: Vec<Value> = points.collect();
        json!({"type": "line", "name": name, "data": points, "showSymbol": false})
    }

    fn chart(&self, title: &str, note: &str, axis: Value, mut series: Vec<Value>) -> Chart {
        let mut note = note.to_owned();
        if let (Some(first), false) = (series.first_mut(), self.marks.is_empty()) {
            let marks: Vec<Value> = self.marks.iter().map(|at| json!({"xAxis": at})).collect();
            first["markLine"] = json!({"data": marks, "symbol": "none", "unlabelled": true});
            note += " Dashed: a fault was made.";
        }
        Chart {
            title: format!("{}: {title}", self.run.protocol),
            note,
            height: 300,
            option: json!({
                "legend": {},
                "tooltip": {"trigger": "axis"},
                "xAxis": {"type": "value", "unit": "seconds", "max": "dataMax"},
                "yAxis": axis,
                "series": series,
            }),
        }
    }
}

/// As many as there are candidates of a comparison.
const MOST_LINES: usize = 7;
const MOST_BARS: usize = 12;
const FEWEST_MOMENTS: usize = 3;

#[cfg(test)]
mod tests {
    use super::super::results::capacity_sample;
    use super::*;
    use crate::figures::sample;
    use crate::judge::{Estimate, Knee, Stage, Trial};

    #[test]
    fn percentiles_rise_to_the_maximum() {
        let mut latency = Latency::new();
        (1..=10_000).for_each(|step| latency.record(step * 1_000));
        let points = percentiles(&latency);
        assert!(points.is_sorted_by(|a, b| a[0] < b[0] && a[1] <= b[1]));
        let near = points.iter().find(|point| point[0] >= 100.0).unwrap();
        assert!((near[1] / 9.9e6 - 1.0).abs() < 0.01, "{near:?}");
        assert_eq!(points.last().unwrap(), &[10_000.0, latency.max() as f64]);
    }

    #[test]
    fn knee_and_limit_stand_in_the_plot_of_rate_and_latency() {
        let mut capacity = capacity_sample([1000.0, 980.0, 1030.0]);
        let (low, high) = (600.0, 800.0);
        capacity.limit.knee = Some(Knee { rate: 700.0, latency: 2e5, low, high });
        let trial = |rate, miss: &[&str], run| Trial {
            stage: Stage::Curve,
            rate,
            misses: miss.iter().map(|&miss| miss.to_owned()).collect(),
            run,
        };
        capacity.limit.trials = vec![trial(700.0, &[], 0), trial(1100.0, &["p99"], 1)];
        let runs = [sample("ringmain", 700.0), sample("ringmain", 1100.0)];
        let chart = rate_and_latency(&capacity, &runs, 0.999);
        let [median, held, missed] = [0, 1, 2].map(|at| chart.option["series"][at].clone());
        let marks = median["markLine"]["data"].as_array().unwrap();
        let places: Vec<f64> = marks.iter().map(|mark| mark["xAxis"].as_f64().unwrap()).collect();
        assert_eq!(places, [700.0, 1000.0]);
        assert_eq!(marks[0]["name"], "knee 700/s");
        assert_eq!(marks[0]["label"]["align"], "right");
        assert_eq!(
            (held["data"][0][0].as_f64(), missed["data"][0][0].as_f64()),
            (Some(700.0), Some(1100.0),)
        );
        assert!(held["data"].as_array().unwrap().len() == 1 && chart.title.ends_with("p99.9"));
        capacity.limit.knee = None;
        let without = rate_and_latency(&capacity, &runs, 0.999);
        let marks = without.option["series"][0]["markLine"]["data"].as_array().unwrap().clone();
        assert!(marks.len() == 1 && marks[0]["name"] == "limit 1000/s", "{marks:?}");
    }

    #[test]
    fn a_few_of_many_are_first_and_last_too() {
        let all: Vec<u32> = (0..100).collect();
        assert_eq!(spread_out(&all, 4), [0, 33, 66, 99]);
        assert_eq!(spread_out(&all[..3], 4), [0, 1, 2]);
    }

    #[test]
    fn what_was_not_measured_is_not_drawn() {
        let run = Run { latency: Latency::new(), cost: None, ..sample("direct", 10.0) };
        let groups = Group::all(std::slice::from_ref(&run));
        assert!(latency_by_percentile(&groups.iter().collect::<Vec<_>>()).is_none());
        assert!(cpu_breakdown(&groups).is_none());
        assert!(time_series(&run, "second", &[]).is_empty());
    }

    #[test]
    fn parts_of_the_cpu_add_up_to_what_was_busy() {
        // 30 us of which the process is charged 28, and 11 of it are softirqs.
        let cost = Cost {
            cpu_seconds: 28e-6,
            user: 3e-6,
            system: 25e-6,
            softirq: 11e-6,
            busy: Some(30e-6),
            ..Cost::default()
        };
        assert!((system(&cost) - 16e-6).abs() < 1e-12);
        // What somebody else did there is not among them.
        let crowded = Cost { busy: Some(0.9), ..cost.clone() };
        assert!((system(&crowded) - 25e-6).abs() < 1e-12);
        let older = Cost { busy: None, ..cost };
        assert!((system(&older) - 14e-6).abs() < 1e-12);
    }

    #[test]
    fn faults_stand_in_the_plots_of_the_time() {
        let mut run = sample("ringmain", 10.0);
        let moment = |second: u32| Moment {
            at: f64::from(second),
            achieved: 10.0,
            p50: 1,
            p99: 2,
            max: 3,
            cpu: Some(0.1),
            memory: Some(4096),
            descriptors: Some(10),
            open: 1,
        };
        run.series = (0..10).map(moment).collect();
        let charts = time_series(&run, "window", &[4.0]);
        assert_eq!(charts.len(), 5);
        for chart in &charts {
            assert!(chart.note.ends_with("Dashed: a fault was made."), "{}", chart.note);
            assert_eq!(chart.option["series"][0]["markLine"]["data"][0]["xAxis"], 4.0);
        }
        assert!(charts[1].title.ends_with("latency by window"));
        assert!(time_series(&run, "second", &[])[0].option["series"][0]["markLine"].is_null());
    }

    #[test]
    fn a_mark_points_away_from_the_other_one_and_from_the_edge() {
        let mut capacity = capacity_sample([1000.0, 980.0, 1030.0]);
        let trial = |rate| Trial { stage: Stage::Curve, rate, misses: Vec::new(), run: 0 };
        let aligned = |capacity: &Capacity| {
            let chart = rate_and_latency(capacity, &[sample("ringmain", 700.0)], 0.999);
            let marks = chart.option["series"][0]["markLine"]["data"].as_array().unwrap().clone();
            let align = |mark: &Value| mark["label"]["align"].as_str().unwrap().to_owned();
            marks.iter().map(align).collect::<Vec<_>>()
        };
        capacity.limit.trials = vec![trial(1100.0)];
        assert_eq!(aligned(&capacity), ["right"]);
        capacity.limit.trials = vec![trial(9000.0)];
        assert_eq!(aligned(&capacity), ["left"]);
        let knee = |rate| Some(Knee { rate, latency: 2e5, low: rate, high: rate });
        capacity.limit.knee = knee(700.0);
        assert_eq!(aligned(&capacity), ["right", "left"]);
        capacity.limit.knee = knee(1200.0);
        assert_eq!(aligned(&capacity), ["left", "right"]);
    }

    #[test]
    fn dots_are_runs_at_the_quantile_of_the_objective_and_the_line_is_their_median() {
        let mut capacity = capacity_sample([1000.0, 980.0, 1030.0]);
        let latency = Estimate::of([4e5, 2e5, 9e5]).unwrap();
        capacity.limit.curve = vec![Point { rate: 700.0, latency }];
        let trial = |run| Trial { stage: Stage::Curve, rate: 700.0, misses: Vec::new(), run };
        capacity.limit.trials = vec![trial(0), trial(1)];
        let mut run = sample("ringmain", 700.0);
        run.latency.record_n(8_000_000, 70);
        // Nothing ended in the other: there is no place for it where latencies grow by tens.
        let runs = [run, Run { latency: Latency::new(), ..sample("ringmain", 700.0) }];
        let series =
            |quantile| rate_and_latency(&capacity, &runs, quantile).option["series"].clone();
        assert_eq!(series(0.5)[0]["data"], json!([[700.0, 4e5]]));
        let dots = |quantile| {
            let dots = series(quantile)[1]["data"].as_array().unwrap().clone();
            assert_eq!(dots.len(), 1, "{dots:?}");
            dots[0][1].as_f64().unwrap()
        };
        assert!((dots(0.5) / 1e5 - 1.0).abs() < 0.01 && (dots(0.999) / 8e6 - 1.0).abs() < 0.01);
    }

    #[test]
    fn cpu_is_broken_down_by_unit_in_the_order_of_rates() {
        let mut runs = [2000.0, 1000.0].map(|rate| sample("ringmain", rate));
        for run in &mut runs {
            run.cost.as_mut().unwrap().busy = Some(run.units() * 10.5e-6);
        }
        let chart = cpu_breakdown(&Group::all(&runs)).unwrap();
        assert_eq!(chart.option["yAxis"]["data"], json!(["1000/s", "2000/s"]));
        // Of 10.5 us that a CPU was busy for a unit.
        for (number, (name, micros)) in
            [("user", 2.0), ("system", 7.5), ("softirq", 1.0)].into_iter().enumerate()
        {
            let series = &chart.option["series"][number];
            assert_eq!(series["name"], name);
            for value in series["data"].as_array().unwrap() {
                let value = value.as_f64().unwrap();
                assert!((value - micros * 1e3).abs() < 1.0, "{name}: {value}");
            }
        }
    }

    #[test]
    fn each_plot_of_the_time_has_its_own_figures() {
        let moment = |at: u32| Moment {
            at: f64::from(at),
            achieved: 10.0,
            p50: 1,
            p99: 2,
            max: 3,
            cpu: Some(0.25),
            memory: Some(4096),
            descriptors: Some(20),
            open: 1,
        };
        let mut run = sample("ringmain", 10.0);
        run.series = (0..3).map(moment).collect();
        let charts = time_series(&run, "second", &[]);
        let lines = charts.iter().flat_map(|chart| chart.option["series"].as_array().unwrap());
        let last = |line: &Value| {
            let name = line["name"].as_str().unwrap().to_owned();
            assert_eq!(line["data"][2][0], 2.0);
            (name, line["data"][2][1].as_f64().unwrap())
        };
        let last: Vec<(String, f64)> = lines.map(last).collect();
        let known = [
            ("carried", 10.0),
            ("p50", 1.0),
            ("p99", 2.0),
            ("max", 3.0),
            ("memory", 4096.0),
            ("CPU", 0.25),
            ("descriptors", 20.0),
        ];
        assert_eq!(last, known.map(|(name, value)| (name.to_owned(), value)));
        // A proxy that is not ours has no figures of its own.
        for moment in &mut run.series {
            (moment.cpu, moment.memory, moment.descriptors) = (None, None, None);
        }
        assert_eq!(time_series(&run, "second", &[]).len(), 2);
    }
}
